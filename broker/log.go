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
	groupFrom                = 1.5 // records in groupEvery from which on they wait for each other
	purgeEvery               = 100 * time.Millisecond
	slowAfter                = time.Second // what is done then leaves although older events are not
)

// ErrInUse is returned by [Open] when another process has the log open.
var ErrInUse = errors.New("broker: the data folder is in use by another process")

// eventLog keeps what was acknowledged: in an embedded JetStream, and in a
// ledger of what must be in it.
type eventLog struct {
	dir    string
	lock   *os.File
	store  atomic.Pointer[store] // another one after a failure
	ledger *ledger
	zap    *zap.Logger

	failed atomic.Pointer[error] // why nothing is taken; nil: all is well
	broken chan struct{}         // wakes mend
	mended chan struct{}         // closed when mend has ended
	lost   []Lost                // what the log had lost when it was opened

	appending sync.Mutex
	pending   []entry       // to be written, oldest first
	writing   bool          // a writer is active
	closed    bool          // nothing more is taken
	idle      chan struct{} // closed when closed and nothing is pending
	pace      pace          // of the writer

	quit   chan struct{} // ends the purger
	purged chan struct{} // closed when it has ended

	// ordering is held from the publishing of a message of LOG until it is in open,
	// so that open is in the order of the log: the writer and mend's probe publish.
	ordering sync.Mutex

	mu   sync.Mutex
	open []group // oldest first: what of the log is not done
}

// entry is an event to be appended; done is called when it is on the disk, or
// could not be put there.
type entry struct {
	record []byte
	done   func(*origin, error)
}

// group is a message of the log.
type group struct {
	seq     uint64
	left    int // origins that are not done
	at      time.Time
	deleted bool
}

// origin is an event that the log keeps. It counts the deliveries of the event,
// and of the replies that came of it, that are not done; the event may leave the
// log when none is left. So a reply needs no place of its own in the log: while it
// is being delivered, the event it answers is kept, and after a crash that event
// is delivered, and answered, again.
type origin struct {
	seq  uint64
	held *trigger // for whom it is held; nil: it is in the log
	left atomic.Int32
}

func newOrigin(seq uint64, held *trigger) *origin {
	r := &origin{seq: seq, held: held}
	r.left.Store(1) // the maker's own
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

// append puts a record into the log. When the record survives a kill of this
// process, done is called, in the order of the log, with an origin that the caller
// ends. If no writer is active, the caller becomes the writer and also writes what
// is appended meanwhile (group commit): waking another goroutine would take longer
// than the write.
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

// write writes the pending records as one group. It returns true when no more are
// pending: then nobody is the writer.
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

// pace says how long a record waits for others: not at all while few come, so
// that it goes on at once; until groupEvery after the last group when many do,
// since an append costs the same for one and for hundreds.
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
	// A clock may stand still: without a bound 0/0 would stay in rate for good.
	since := max(now.Sub(p.last), time.Microsecond).Seconds() / groupEvery.Seconds()
	weight := math.Exp(-since / 25) // of what was before: it fades in 50 ms
	p.rate = weight*p.rate + (1-weight)*float64(n)/since
	p.last = now
}

// nextGroup takes the first of the pending records, as many as fit into a group.
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

// begin notes a message of the log with n origins.
func (l *eventLog) begin(seq uint64, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, group{seq: seq, left: n, at: time.Now()})
}

// end ends one delivery of an origin.
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

// find is the place of a message in open; it has one until it is done.
func (l *eventLog) find(seq uint64) int {
	return sort.Search(len(l.open), func(i int) bool { return l.open[i].seq >= seq })
}

// purge lets what is done leave the log.
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

// release removes what is done: up to the oldest event that is not, at once,
// and behind it one by one what is older than slow.
func (l *eventLog) release(slow time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	upTo, single := l.leaving(slow)
	if upTo > 0 {
		l.ledger.gone(entryUpTo, inLog, upTo)
		if err := l.store.Load().streams[inLog].Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
			l.warn("purge", err) // it is done again with the next
		}
	}
	for _, seq := range single {
		if err := l.remove(ctx, inLog, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			l.warn("delete", err) // it is delivered again after a restart
		}
	}
}

// warn logs what failed, unless nothing can be written anyway, which is said once.
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

// waiting is how many accepted events are not done.
func (l *eventLog) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.open {
		n += g.left
	}
	return n
}

// resume calls each with every record that the last process left in the log.
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

// split takes a message of the log apart.
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

// close takes nothing more, and ends the purger and the server.
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
