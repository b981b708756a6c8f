package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Pitboss' path on Kafka Streams, in one sub-topology, as an engineer would write it: what comes of topic events goes
 * through profile (1.1 KB of state for each player), score and decide (a player's last decisions) to topic results;
 * topic folds changes the state alone. Exactly-once is exactly_once_v2, which does not know that a producer sent an
 * event twice, so profile keeps the hashes of a player's last 128 ids.
 *
 * <p>Arguments: bootstrap server, state folder, name=value for Kafka Streams…
 */
public final class StreamsApp {
  static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) {
    Properties p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, "peers");
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    p.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
    for (int i = 2; i < args.length; i++) {
      String[] pair = args[i].split("=", 2);
      p.put(pair[0], pair[1]);
    }
    KafkaStreams streams = new KafkaStreams(topology(), p);
    // An instance that ends tells the group, so that the next one does not wait for it.
    CloseOptions leave = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(leave.withTimeout(Duration.ofSeconds(10)))));
    streams.start();
  }

  static Topology topology() {
    Serde<String> text = Serdes.String();
    Serde<byte[]> bytes = Serdes.ByteArray();
    return new Topology()
        .addSource("source", text.deserializer(), bytes.deserializer(), "events", "folds")
        .addProcessor("profile", (ProcessorSupplier<String, byte[], String, byte[]>) Profile::new, "source")
        .addProcessor("score", (ProcessorSupplier<String, byte[], String, byte[]>) Score::new, "profile")
        .addProcessor("decide", (ProcessorSupplier<String, byte[], String, byte[]>) Decide::new, "score")
        .addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("players"), text, bytes), "profile")
        .addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("contacts"), text, text), "decide")
        .addSink("sink", "results", text.serializer(), bytes.serializer(), "profile", "decide");
  }

  /** One step of the path, with a store or none. */
  abstract static class Step<V> implements Processor<String, byte[], String, byte[]> {
    private final String storeName;
    protected ProcessorContext<String, byte[]> context;
    protected KeyValueStore<String, V> store;

    Step(String storeName) {
      this.storeName = storeName;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
      this.context = context;
      store = storeName == null ? null : context.getStateStore(storeName);
    }

    @Override
    public void process(Record<String, byte[]> in) {
      try {
        process(in, JSON.readTree(in.value()));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    abstract void process(Record<String, byte[]> in, JsonNode event) throws IOException;
  }

  /** State: rounds, stakes, wins, rounds lost in a row, time of the last; then a ring of hashes. 8 bytes each. */
  static final class Profile extends Step<byte[]> {
    static final int RING = 128, HEAD = 40;
    static final String REST = "x".repeat(800); // stands for what Pitboss knows of a player besides

    Profile() {
      super("players");
    }

    @Override
    void process(Record<String, byte[]> in, JsonNode event) throws IOException {
      byte[] stored = store.get(in.key());
      ByteBuffer s = ByteBuffer.wrap(stored != null ? stored : new byte[HEAD + 8 * RING]);
      String id = event.get("id").textValue();
      long hash = hash(id), n = s.getLong(0), stake = event.get("stake").longValue(), win = event.get("win").longValue();
      for (int i = HEAD; i < s.capacity(); i += 8) {
        if (s.getLong(i) == hash) {
          return; // it came before
        }
      }
      s.putLong(HEAD + 8 * (int) (n % RING), hash);
      s.putLong(0, n + 1).putLong(8, s.getLong(8) + stake).putLong(16, s.getLong(16) + win);
      s.putLong(24, win > stake ? 0 : s.getLong(24) + 1).putLong(32, Math.max(s.getLong(32), event.get("ts").longValue()));
      store.put(in.key(), s.array());
      ObjectNode out = JSON.createObjectNode().put("id", id).put("player", in.key()).put("n", n + 1);
      if (context.recordMetadata().get().topic().equals("folds")) {
        context.forward(in.withValue(JSON.writeValueAsBytes(out)), "sink");
        return;
      }
      out.put("stake", s.getLong(8)).put("win", s.getLong(16)).put("losing", s.getLong(24)).put("rest", REST);
      context.forward(in.withValue(JSON.writeValueAsBytes(out)), "score");
    }

    /** FNV-1a, 64 bits; 0 is an empty place. */
    static long hash(String s) {
      long h = 0xcbf29ce484222325L;
      for (int i = 0; i < s.length(); i++) {
        h = (h ^ s.charAt(i)) * 0x100000001b3L;
      }
      return h == 0 ? 1 : h;
    }
  }

  /** A logistic regression, the least that a model can be. */
  static final class Score extends Step<Void> {
    Score() {
      super(null);
    }

    @Override
    void process(Record<String, byte[]> in, JsonNode m) throws IOException {
      double z = 0.1 * m.get("losing").longValue() + 1e-4 * (m.get("stake").longValue() - m.get("win").longValue()) - 2;
      context.forward(in.withValue(JSON.writeValueAsBytes(((ObjectNode) m).put("score", 1 / (1 + Math.exp(-z))))));
    }
  }

  /** Chooses an action and keeps a player's last 16. */
  static final class Decide extends Step<String> {
    Decide() {
      super("contacts");
    }

    @Override
    void process(Record<String, byte[]> in, JsonNode m) throws IOException {
      String id = m.get("id").textValue(), action = m.get("score").doubleValue() > 0.5 ? "break" : "none";
      String last = store.get(in.key());
      last = (last == null ? "" : last + ",") + id + ":" + action;
      if (last.chars().filter(c -> c == ',').count() == 16) {
        last = last.substring(last.indexOf(',') + 1);
      }
      store.put(in.key(), last);
      ObjectNode out = JSON.createObjectNode().put("id", id).put("player", in.key()).put("n", m.get("n").longValue());
      context.forward(in.withValue(JSON.writeValueAsBytes(out.put("action", action))));
    }
  }
}
