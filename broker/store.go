package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// stream is one of the log's streams.
//
//	LOG   l            accepted events, several per message; a message is removed when
//	                   the deliveries of its events and their replies are finished or
//	                   have records in HELD or DEAD
//	HELD  r.<trigger>  one event for one Trigger: it waits for a retry or for room
//	                   in memory, or is a replayed dead letter
//	DEAD  d.<trigger>  dead letters
type stream byte

const (
	inLog stream = iota
	inHeld
	inDead
	streams
)

const logSubject, heldPrefix, deadPrefix = "l", "r.", "d."

var streamNames = [streams]string{"LOG", "HELD", "DEAD"}
var streamSubjects = [streams]string{logSubject, heldPrefix + ">", deadPrefix + ">"}

func (s stream) String() string { return streamNames[s] }

// store is the embedded JetStream, with one in-process connection and no listener.
type store struct {
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	streams [streams]jetstream.Stream
}

func openStore(cfg Config) (_ *store, err error) {
	s := &store{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.server, err = server.NewServer(&server.Options{
		ServerName: "pitboss", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: cfg.DataDir, SyncAlways: cfg.Fsync,
		JetStreamMaxStore: cfg.MaxStore, JetStreamMaxMemory: 64 << 20,
		MaxPayload: int32(cfg.MaxBody + groupBytes + 256<<10), MaxPending: 256 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: log: %w", err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(30 * time.Second) {
		return nil, errors.New("broker: log: the embedded NATS server did not start in 30 s")
	}
	s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, fmt.Errorf("broker: log: %w", err)
	}
	return s, s.openStreams(cfg.DataDir)
}

func (s *store) openStreams(folder string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	names := s.js.StreamNames(ctx)
	for name := range names.Name() {
		if name != streamNames[inLog] && name != streamNames[inHeld] && name != streamNames[inDead] {
			return fmt.Errorf("broker: log: %s was written by another version of Pitboss (it has a stream %s): "+
				"let that version deliver what it holds and remove the folder, or name another one (PITBOSS_STATE_DIR, --data)", folder, name)
		}
	}
	if names.Err() != nil {
		return fmt.Errorf("broker: log: %w", names.Err())
	}
	for i := range s.streams {
		if s.streams[i], err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: streamNames[i], Subjects: []string{streamSubjects[i]}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		}); err != nil {
			return fmt.Errorf("broker: log: stream %s: %w", streamNames[i], err)
		}
	}
	return nil
}

func (s *store) close() {
	if s.conn != nil {
		_ = s.conn.FlushTimeout(time.Second)
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
}

// ErrFull is wrapped by the log's errors while it cannot be written: the disk or
// MaxStore is full, or the disk fails. [eventLog.mend] keeps trying to recover.
var ErrFull = errors.New("broker: the log takes nothing now")

// publish stores a message that holds the given number of events, and adds it to the
// ledger. When it returns, the message survives a kill of this process.
func (l *eventLog) publish(ctx context.Context, in stream, msg *nats.Msg, events int) (seq uint64, err error) {
	if err := l.trouble(); err != nil {
		return 0, err
	}
	seq, err = l.put(ctx, in, msg, events)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		err = l.fail(err)
	}
	return seq, err
}

// slowAck is the time after which put checks the disk while it waits for an
// acknowledgement: JetStream does not answer if its write failed.
const slowAck = 250 * time.Millisecond

func (l *eventLog) put(ctx context.Context, in stream, msg *nats.Msg, events int) (seq uint64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	look := time.AfterFunc(slowAck, func() {
		if err := roomOn(l.dir); err != nil {
			cancel(err)
		}
	})
	defer cancel(nil)
	defer look.Stop()
	ack, err := l.store.Load().js.PublishMsg(ctx, msg)
	switch {
	case err == nil:
		err = l.ledger.add(in, ack.Sequence, known{checksum(msg.Data), uint16(events)})
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("broker: log: append: %w", err)
	}
	return ack.Sequence, nil
}

// get reads a message. It returns [jetstream.ErrMsgNotFound] if the message was
// removed.
func (l *eventLog) get(ctx context.Context, in stream, seq uint64) (*jetstream.RawStreamMsg, error) {
	return l.store.Load().streams[in].GetMsg(ctx, seq)
}

// remove deletes a message. If that fails, the message can be back after a restart.
func (l *eventLog) remove(ctx context.Context, in stream, seq uint64) error {
	l.ledger.gone(entryGone, in, seq)
	return l.store.Load().streams[in].DeleteMsg(ctx, seq)
}

// trouble returns the error that keeps the log from being written now, or nil.
func (l *eventLog) trouble() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// fail records that the log cannot be written, and wakes mend.
func (l *eventLog) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFull, err)
	if l.failed.CompareAndSwap(nil, &err) {
		l.zap.Error("no events are taken until the log can be written again", zap.Error(err))
		select {
		case l.broken <- struct{}{}:
		default:
		}
	}
	return err
}

const mendFirst, mendLast = 100 * time.Millisecond, time.Second // shortest and longest wait between two tries

// mend recovers the log after a failed write, and tries until that succeeds. After
// one failed write JetStream refuses all further ones, so mend closes and reopens it
// when the disk has room.
func (l *eventLog) mend(cfg Config) {
	defer close(l.mended)
	for {
		select {
		case <-l.quit:
			return
		case <-l.broken:
		}
		for wait := mendFirst; l.trouble() != nil; wait = min(2*wait, mendLast) {
			select {
			case <-l.quit:
				return
			case <-time.After(wait):
			}
			if err := l.tryAgain(cfg); err != nil {
				err = fmt.Errorf("%w: %w", ErrFull, err)
				l.failed.Store(&err) // the newest reason
				continue
			}
			l.failed.Store(nil)
			l.zap.Warn("the log can be written again: events are taken")
		}
	}
}

// probeBytes must fit on the disk before mend reopens the log: a group of events and
// JetStream's own data beside it.
const probeBytes = 2*groupBytes + 256<<10

func (l *eventLog) tryAgain(cfg Config) error {
	if err := l.ledger.catchUp(); err != nil {
		return err
	}
	if answered(l.trouble()) { // JetStream works, but MaxStore is reached
		if err := l.probe(); err == nil || answered(err) {
			return err
		}
	}
	if err := roomOn(cfg.DataDir); err != nil {
		return err
	}
	l.store.Load().close()
	s, err := openStore(cfg)
	if err != nil {
		return err
	}
	l.store.Store(s)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := l.raise(ctx); err != nil {
		return err
	}
	return l.probe()
}

// probe appends a message without events, which the next purge removes.
func (l *eventLog) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	l.ordering.Lock()
	defer l.ordering.Unlock()
	seq, err := l.put(ctx, inLog, &nats.Msg{Subject: logSubject}, 0)
	if err == nil {
		l.begin(seq, 0)
	}
	return err
}

// answered reports whether the error is a refusal by JetStream, which is then alive.
func answered(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, jetstream.ErrMsgNotFound) || errors.As(err, &refused)
}

var probe [probeBytes]byte

// roomOn checks that the disk has room for the log's next write: it writes a file of
// that size and removes it.
func roomOn(dir string) error {
	path := filepath.Join(dir, "probe")
	defer os.Remove(path)
	if err := os.WriteFile(path, probe[:], 0o600); err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	return nil
}

// raise moves each stream's next sequence number above the highest that was ever
// acknowledged. After damage or a failed write JetStream continues with a lower
// number, but a number must not be used twice.
func (l *eventLog) raise(ctx context.Context) error {
	s := l.store.Load()
	for i, subject := range [streams]string{logSubject, heldPrefix + "none", deadPrefix + "none"} {
		info, err := s.streams[i].Info(ctx)
		if err != nil {
			return fmt.Errorf("broker: log: %w", err)
		}
		for last := info.State.LastSeq; last < l.ledger.highest(stream(i)); {
			ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: subject})
			if err != nil {
				return fmt.Errorf("broker: log: %w", err)
			}
			last = ack.Sequence
			_ = s.streams[i].DeleteMsg(ctx, last)
		}
	}
	return nil
}
