package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Streams and subjects of the log.
//
//	EVENTS  e.t.<type>     an event, by its type
//	        e.h.<hash>     an event whose type cannot be a subject
//	        r.<trigger>    a replayed dead letter, for one Trigger
//	DEAD    d.<trigger>    dead letters
//
// EVENTS is kept by interest: an event is removed once every Trigger's
// consumer that wants its subject has acknowledged it.
const (
	eventsStream, deadStream      = "EVENTS", "DEAD"
	allEvents                     = "e.>"
	replayPrefix, deadPrefix      = "r.", "d."
	ackWait, beatEvery, beatAfter = 5 * time.Second, time.Second, time.Second
	recallTime                    = 200 * time.Millisecond // the log looks for overdue events 0.1 s after a change of the waiting time
)

// ErrInUse is returned by [Open] when another process has the log open.
var ErrInUse = errors.New("broker: the data folder is in use by another process")

// eventLog is the embedded JetStream: no listener, one in-process connection
// for publishing and one for delivering.
type eventLog struct {
	lock   *os.File
	server *server.Server
	pub    *nats.Conn
	sub    *nats.Conn
	js     jetstream.JetStream // on pub
	events jetstream.Stream    // on sub
	dead   jetstream.Stream    // on pub
	asking sync.Mutex          // held while info is asked for
}

func openLog(cfg Config) (_ *eventLog, err error) {
	l := &eventLog{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.lock, err = lockDir(cfg.DataDir); err != nil {
		return nil, err
	}
	l.server, err = server.NewServer(&server.Options{
		ServerName: "pitboss", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: cfg.DataDir, SyncAlways: cfg.Fsync,
		JetStreamMaxStore: cfg.MaxStore, JetStreamMaxMemory: 64 << 20,
		MaxPayload: int32(cfg.MaxBody + 256<<10), MaxPending: 256 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: log: %w", err)
	}
	l.server.Start()
	if !l.server.ReadyForConnections(30 * time.Second) {
		return nil, errors.New("broker: log: the embedded NATS server did not start in 30 s")
	}
	if l.pub, err = l.connect(); err != nil {
		return nil, err
	}
	if l.sub, err = l.connect(); err != nil {
		return nil, err
	}
	return l, l.openStreams()
}

func (l *eventLog) connect() (*nats.Conn, error) {
	c, err := nats.Connect("", nats.InProcessServer(l.server), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, fmt.Errorf("broker: log: %w", err)
	}
	return c, nil
}

func (l *eventLog) openStreams() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if l.js, err = jetstream.New(l.pub); err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	subJS, err := jetstream.New(l.sub)
	if err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	if l.dead, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: deadStream, Subjects: []string{deadPrefix + ">"}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew,
	}); err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	if l.events, err = subJS.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: eventsStream, Subjects: []string{allEvents, replayPrefix + ">"}, Storage: jetstream.FileStorage,
		Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardNew,
	}); err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	return nil
}

// append stores a record; when it returns nil the record survives a kill of
// this process.
func (l *eventLog) append(ctx context.Context, subject string, record []byte) error {
	msg := &nats.Msg{Subject: subject, Data: record}
	if _, err := l.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("broker: log: append: %w", err)
	}
	return nil
}

// consumer is a Trigger's place in the log. It begins at the log's end and
// from then on is remembered under the Trigger's name. What was handed out is
// handed out again when it is not acknowledged, or kept alive, within wait.
func (l *eventLog) consumer(ctx context.Context, trigger string, subjects []string, pending int, wait time.Duration) (jetstream.Consumer, error) {
	c, err := l.events.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: trigger, FilterSubjects: append([]string{replayPrefix + trigger}, subjects...),
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: wait, MaxAckPending: pending, MaxDeliver: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: log: consumer of Trigger %s: %w", trigger, err)
	}
	return c, nil
}

// recall makes the log hand out at once what was under way when the last
// process ended, instead of after what is left of its waiting time.
func (b *Broker) recall(ctx context.Context) error {
	under := false
	for _, t := range b.triggers {
		c, err := b.log.consumer(ctx, t.name, t.subjects, b.cfg.Pending, time.Millisecond)
		if err != nil {
			return err
		}
		under = under || c.CachedInfo().NumAckPending > 0
	}
	if under {
		time.Sleep(recallTime)
	}
	return nil
}

// forgetTriggers drops the consumers of Triggers that are gone: an event they
// would hold back could otherwise never leave the log.
func (l *eventLog) forgetTriggers(ctx context.Context, keep map[string]bool) error {
	names := l.events.ConsumerNames(ctx)
	for name := range names.Name() {
		if keep[name] {
			continue
		}
		if err := l.events.DeleteConsumer(ctx, name); err != nil {
			return fmt.Errorf("broker: log: %w", err)
		}
	}
	return names.Err()
}

// info asks for a stream's state. One at a time: nats.go's Info keeps its
// answer in the Stream without a lock.
func (l *eventLog) info(ctx context.Context, s jetstream.Stream) (*jetstream.StreamInfo, error) {
	l.asking.Lock()
	defer l.asking.Unlock()
	return s.Info(ctx)
}

// consumerInfo is info for a Trigger's place in the log.
func (l *eventLog) consumerInfo(ctx context.Context, c jetstream.Consumer) (*jetstream.ConsumerInfo, error) {
	l.asking.Lock()
	defer l.asking.Unlock()
	return c.Info(ctx)
}

// empty reports whether every event has left the log.
func (l *eventLog) empty(ctx context.Context) (bool, error) {
	info, err := l.info(ctx, l.events)
	if err != nil {
		return false, fmt.Errorf("broker: log: %w", err)
	}
	return info.State.Msgs == 0, nil
}

func (l *eventLog) close() {
	for _, c := range []*nats.Conn{l.sub, l.pub} {
		if c != nil {
			_ = c.FlushTimeout(time.Second) // the last acknowledgements
			c.Close()
		}
	}
	if l.server != nil {
		l.server.Shutdown()
		l.server.WaitForShutdown()
	}
	if l.lock != nil {
		l.lock.Close()
	}
}

// lockDir makes sure that one process at a time has the log open: two would
// write over each other's files. The lock goes when the process does.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("broker: Config.DataDir is empty")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return f, nil
}

// subjectOf is the subject of events of the type. A type that has characters
// a subject cannot have, or is too long, is hashed.
func subjectOf(typ string) string {
	if len(typ) <= 200 && typ != "" && !strings.Contains(typ, "..") && typ[0] != '.' && typ[len(typ)-1] != '.' &&
		strings.IndexFunc(typ, notSubject) < 0 {
		return "e.t." + typ
	}
	sum := sha256.Sum256([]byte(typ))
	return "e.h." + hex.EncodeToString(sum[:16])
}

func notSubject(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
}
