package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pitboss/test/system"
)

// kafka is one broker, which is its own controller, and StreamsApp, each in a JVM. The
// loader produces with acks=all and reads committed records.
type kafka struct {
	o     options
	tuned bool

	servers
	ledger *ledger
	addr   string
	client *kgo.Client // produces
	reader *kgo.Client
}

// tunedKafka is set for latency and a quick takeover: it commits every 20 ms instead of
// 100, and notices a dead member after 6 s instead of 45.
var tunedKafka = []string{"commit.interval.ms=20", "session.timeout.ms=6000", "heartbeat.interval.ms=2000"}

// topics: events take the whole path, folds take the state path, and both lead to results.
var topics = map[path]string{whole: "events", state: "folds"}

const (
	results    = "results"
	partitions = 4
)

func (k *kafka) start(ctx context.Context, l *ledger) (err error) {
	k.ledger, k.all = l, map[string]*system.Process{}
	if k.dir, err = os.MkdirTemp("", "kafka-"); err != nil {
		return err
	}
	if err := k.startBroker(ctx); err != nil {
		return err
	}
	if err := k.connect(ctx); err != nil {
		return err
	}
	args := []string{"peers.StreamsApp", k.addr, filepath.Join(k.dir, "streams")}
	if k.tuned {
		args = append(args, tunedKafka...)
	}
	_, err = k.java("app", "512m", args...)
	return err
}

func (k *kafka) java(name, heap string, args ...string) (*system.Process, error) {
	return k.run(name, nil, append([]string{"java", "-Xmx" + heap, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(k.o.streams, "*")}, args...)...)
}

// startBroker formats the broker's folder and starts it.
func (k *kafka) startBroker(ctx context.Context) error {
	addrs, err := freeAddrs(2)
	if err != nil {
		return err
	}
	k.addr = addrs[0]
	config := filepath.Join(k.dir, "server.properties")
	if err := os.WriteFile(config, brokerProperties(addrs[0], addrs[1], filepath.Join(k.dir, "log")), 0o600); err != nil {
		return err
	}
	format, err := k.java("format", "256m", "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config)
	if err != nil {
		return err
	}
	<-format.Ended()
	delete(k.all, "format")
	if !format.Succeeded() {
		return fmt.Errorf("kafka: format: %s", format.LogTail())
	}
	broker, err := k.java("broker", "1g", "kafka.Kafka", config)
	if err != nil {
		return err
	}
	return listening(ctx, broker, k.addr, 90*time.Second)
}

func brokerProperties(addr, controller, log string) []byte {
	return fmt.Appendf(nil, `node.id=1
process.roles=broker,controller
controller.quorum.voters=1@%[2]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
`, addr, controller, log)
}

// connect makes the topics and starts to consume results.
func (k *kafka) connect(ctx context.Context) (err error) {
	k.client, err = kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	if err := k.makeTopics(ctx); err != nil {
		return err
	}
	k.reader, err = kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.ConsumeTopics(results), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	go k.consume()
	return nil
}

// makeTopics retries until the broker, which already listens, is registered as one.
func (k *kafka) makeTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		made, err := kadm.NewClient(k.client).CreateTopics(ctx, partitions, 1, nil, topics[whole], topics[state], results)
		for _, t := range made {
			if !errors.Is(t.Err, kerr.TopicAlreadyExists) {
				err = errors.Join(err, t.Err)
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kafka: topics: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// consume reads results until the reader is closed.
func (k *kafka) consume() {
	for {
		fetched := k.reader.PollFetches(context.Background())
		if fetched.IsClientClosed() {
			return
		}
		fetched.EachRecord(func(r *kgo.Record) { _ = k.ledger.outcome(r.Value) }) // one that cannot be read counts as lost
	}
}

// producer is the sender.
type producer struct {
	client *kgo.Client
	topic  string
}

func (k *kafka) open(what path) sender { return producer{k.client, topics[what]} }

func (p producer) send(e event) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.client.ProduceSync(ctx, &kgo.Record{Topic: p.topic, Key: []byte(e.player), Value: plain(nil, e)}).FirstErr()
}

func (producer) close() {}

// Ready returns at once: the application does not listen, so only its first result shows that it is ready.
func (k *kafka) Ready(context.Context) error { return nil }

func (k *kafka) result(_ path, e event) string          { return e.id }
func (k *kafka) first() []kind                          { return []kind{round} }
func (k *kafka) applied(context.Context) (int64, error) { return k.ledger.applied(), nil }
func (k *kafka) Application() []*system.Process         { return []*system.Process{k.all["app"]} }

func (k *kafka) stop() {
	for _, c := range []*kgo.Client{k.reader, k.client} {
		if c != nil {
			c.Close()
		}
	}
	k.servers.stop("app")
	_ = os.RemoveAll(k.dir)
}
