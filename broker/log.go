package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	groupRecords, groupBytes = 512, 512 << 10
	groupEvery               = 2 * time.Millisecond
	groupFrom                = 1.5 // at this many records per groupEvery they begin to wait for each other
	// purgeEvery bounds how many finished events are delivered again after a crash.
	// JetStream takes about a millisecond whether a purge removes tens of events or
	// hundreds (BenchmarkPurge), and appends wait for it.
	purgeEvery = 500 * time.Millisecond
	slowAfter  = time.Second // a finished message of this age is removed even behind unfinished ones
)

// ErrInUse is returned by [Open] when another process has the log open.
var ErrInUse = errors.New("broker: the data folder is in use by another process")

// eventLog stores acknowledged events in an embedded JetStream, beside a ledger that
// lists which messages must be in it.
//
// Invariants: a record's done is called with an origin only after JetStream and the
// ledger have the record. open lists the messages of LOG in its order. A message
// leaves LOG only when all origins in it are done.
type eventLog struct {
	dir    string
	lock   *os.File
	store  atomic.Pointer[store] // mend replaces it after a failure
	ledger *ledger
	zap    *zap.Logger

	failed atomic.Pointer[error] // why the log cannot be written; nil if it can
	broken chan struct{}         // wakes mend
	mended chan struct{}         // closed when mend has ended
	lost   []Lost                // the losses found when the log was opened, and before

	appending sync.Mutex
	pending   []entry       // records to write, oldest first
	writing   bool          // a writer is active
	closed    bool          // append refuses further records
	idle      chan struct{} // closed when the log is closed and nothing is pending
	pace      pace          // used by the writer only

	quit   chan struct{} // ends the purger
	purged chan struct{} // closed when it has ended

	// ordering is held from publishing a message of LOG until it is in open, so that
	// open keeps the order of LOG. Both the writer and mend's probe publish.
	ordering sync.Mutex

	mu   sync.Mutex
	open []group // the messages of LOG that are not purged, oldest first
}

// entry is a record to append. done is called when it is written or has failed.
type entry struct {
	record []byte
	done   func(*origin, error)
}

// group is a message of LOG.
type group struct {
	seq     uint64
	left    int // origins that are not done
	at      time.Time
	deleted bool // removed on its own, before older messages
}

// origin is an event in the log. It counts the unfinished deliveries of the event and
// of the replies to it. The event can leave the log when none is left. A reply
// therefore needs no record of its own: while the reply is being delivered, the event
// that it answers stays in the log, and after a crash that event is delivered and
// answered again. Rejected: a log record for each reply, which costs a further
// append for each event.
type origin struct {
	seq  uint64
	held *trigger // the Trigger whose record in HELD it is; nil: it is in LOG
	left atomic.Int32
}

func newOrigin(seq uint64, held *trigger) *origin {
	r := &origin{seq: seq, held: held}
	r.left.Store(1) // the caller's reference
	return r
}

func openLog(cfg Config) (_ *eventLog, err error) {
	l := &eventLog{dir: cfg.DataDir, zap: cfg.Logger, idle: make(chan struct{}), quit: make(chan struct{}), purged: make(chan struct{}),
		broken: make(chan struct{}, 1), mended: make(chan struct{})}
	defer func() {
		if err != nil {
			l.shutdown()
		}
	}()
	if l.lock, err = lockDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if l.ledger, err = openLedger(cfg.DataDir, cfg.Fsync); err != nil {
		return nil, err
	}
	s, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	l.store.Store(s)
	if err := l.check(cfg.DataDir); err != nil {
		return nil, err
	}
	return l, nil
}

// append adds a record to the log. When the record would survive a kill of this
// process, append calls done, in the order of the log, with an origin that the caller
// must end. If no writer is active, the caller becomes the writer of all pending
// records (group commit). Rejected: a writer goroutine of its own, because waking it
// would take longer than the write.
func (l *eventLog) append(record []byte, done func(*origin, error)) {
	l.appending.Lock()
	if l.closed {
		l.appending.Unlock()
		done(nil, errors.New("broker: log: closed"))
		return
	}
	l.pending = append(l.pending, entry{record, done})
	writes := !l.writing
	l.writing = true
	l.appending.Unlock()
	if writes && !l.write() {
		go func() { // the caller's own record is written
			for !l.write() {
			}
		}()
	}
}

// write writes the pending records as one group. It returns true if no more are
// pending; then no writer is active.
func (l *eventLog) write() (idle bool) {
	time.Sleep(l.pace.wait(time.Now()))
	entries := l.nextGroup()
	l.pace.add(len(entries), time.Now())
	l.writeGroup(entries)
	l.appending.Lock()
	defer l.appending.Unlock()
	l.writing = len(l.pending) > 0
	if !l.writing && l.closed {
		close(l.idle)
	}
	return !l.writing
}

// pace decides how long a record waits for others. At a low rate it does not wait, so
// that its latency is low. At a high rate it waits until groupEvery after the last
// group, because an append costs the same for one record and for hundreds.
type pace struct {
	last time.Time
	rate float64 // records in groupEvery, a moving average
}

func (p *pace) wait(now time.Time) time.Duration {
	if p.rate < groupFrom {
		return 0
	}
	return groupEvery - now.Sub(p.last)
}

func (p *pace) add(n int, now time.Time) {
	// The clock can stand still: without the bound, rate would become NaN (0/0) for good.
	since := max(now.Sub(p.last), time.Microsecond).Seconds() / groupEvery.Seconds()
	weight := math.Exp(-since / 25) // the weight of the old rate, with a time constant of 50 ms
	p.rate = weight*p.rate + (1-weight)*float64(n)/since
	p.last = now
}

// nextGroup takes the oldest pending records, as many as fit into a group.
func (l *eventLog) nextGroup() []entry {
	l.appending.Lock()
	defer l.appending.Unlock()
	n, size := 0, 0
	for n < len(l.pending) && n < groupRecords && size < groupBytes {
		size += len(l.pending[n].record)
		n++
	}
	entries := l.pending[:n:n]
	if l.pending = l.pending[n:]; len(l.pending) == 0 {
		l.pending = nil
	}
	return entries
}

func (l *eventLog) writeGroup(entries []entry) {
	size := 0
	for _, e := range entries {
		size += len(e.record) + binary.MaxVarintLen32
	}
	data := make([]byte, 0, size)
	for _, e := range entries {
		data = binary.AppendUvarint(data, uint64(len(e.record)))
		data = append(data, e.record...)
	}
	seq, err := l.publishGroup(data, len(entries))
	if err != nil {
		for _, e := range entries {
			e.done(nil, err)
		}
		return
	}
	for _, e := range entries {
		e.done(newOrigin(seq, nil), nil)
	}
}

func (l *eventLog) publishGroup(data []byte, events int) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.ordering.Lock()
	defer l.ordering.Unlock()
	if seq, err = l.publish(ctx, inLog, &nats.Msg{Subject: logSubject, Data: data}, events); err == nil {
		l.begin(seq, events)
	}
	return seq, err
}

// begin adds a message of LOG with n origins to open.
func (l *eventLog) begin(seq uint64, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, group{seq: seq, left: n, at: time.Now()})
}

// end ends one reference to an origin: a delivery, or that of the caller of newOrigin.
func (l *eventLog) end(r *origin) {
	if r.left.Add(-1) > 0 {
		return
	}
	if r.held != nil {
		r.held.unhold(r.seq)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[l.find(r.seq)].left--
}

// find returns the index of a message in open, where it is until it is done.
func (l *eventLog) find(seq uint64) int {
	return sort.Search(len(l.open), func(i int) bool { return l.open[i].seq >= seq })
}

// purge removes finished messages from LOG until the log is closed.
func (l *eventLog) purge() {
	defer close(l.purged)
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			<-l.idle
			l.release(0)
			return
		case <-tick.C:
			l.release(slowAfter)
		}
	}
}

// release removes finished messages: all those before the oldest unfinished one with
// one purge, and after it, one by one, those older than slow.
func (l *eventLog) release(slow time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	upTo, single := l.leaving(slow)
	if upTo > 0 {
		l.ledger.gone(entryUpTo, inLog, upTo)
		if err := l.store.Load().streams[inLog].Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
			l.warn("purge", err) // the next purge includes these messages
		}
	}
	for _, seq := range single {
		if err := l.remove(ctx, inLog, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			l.warn("delete", err) // the event is delivered again after a restart
		}
	}
}

// warn logs a failure, except while the log cannot be written, which fail has logged.
func (l *eventLog) warn(what string, err error) {
	if l.trouble() == nil {
		l.zap.Warn("broker: log: "+what, zap.Error(err))
	}
}

func (l *eventLog) leaving(slow time.Duration) (upTo uint64, single []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.open) && l.open[n].left == 0 {
		upTo = l.open[n].seq
		n++
	}
	l.open = append(l.open[:0], l.open[n:]...)
	now := time.Now()
	for i := range l.open {
		if g := &l.open[i]; g.left == 0 && !g.deleted && now.Sub(g.at) >= slow {
			g.deleted = true
			single = append(single, g.seq)
		}
	}
	return upTo, single
}

// waiting returns how many accepted events of LOG are not done.
func (l *eventLog) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.open {
		n += g.left
	}
	return n
}

// resume calls each with every record that the last process left in LOG.
func (l *eventLog) resume(ctx context.Context, each func(record []byte, r *origin)) error {
	for _, seq := range l.ledger.seqs(inLog) {
		msg, err := l.get(ctx, inLog, seq)
		if err != nil {
			return fmt.Errorf("broker: log: %w", err)
		}
		records, err := split(msg.Data)
		if err != nil {
			return err
		}
		l.begin(seq, len(records))
		for _, record := range records {
			each(record, newOrigin(seq, nil))
		}
	}
	return nil
}

// split returns the records in a message of LOG.
func split(b []byte) (records [][]byte, err error) {
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errRecord
		}
		records, b = append(records, b[w:w+int(n)]), b[w+int(n):]
	}
	return records, nil
}

// close refuses further records, waits for the pending ones and for purge and mend,
// and stops the server.
func (l *eventLog) close() {
	l.appending.Lock()
	l.closed = true
	if !l.writing {
		close(l.idle)
	}
	l.appending.Unlock()
	close(l.quit)
	<-l.purged
	<-l.mended
	l.shutdown()
}

func (l *eventLog) shutdown() {
	if s := l.store.Load(); s != nil {
		s.close()
	}
	if l.ledger != nil {
		l.ledger.close()
	}
	if l.lock != nil {
		l.lock.Close()
	}
}

// lockDir lets only one process open the log, because two would overwrite each
// other's files. The lock ends with the process.
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
