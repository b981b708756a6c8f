package search

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/repeat"
)

// Index is the index of a journal. It is safe for concurrent use.
//
// Invariant: only the goroutine that holds updating changes the index. It holds mu only
// while it inserts rows, never while it reads the journal, so that queries don't wait for
// Redis or files.
type Index struct {
	journal  *journal.Journal
	segments journal.Segments

	updating chan struct{}         // capacity 1: a lock that can be waited for with a time-out
	upTo     [player.Shards]uint64 // by shard: the last indexed entry
	written  [player.Shards]uint64 // by shard: the last entry in segments
	reader   *reader               // of the entries in Redis
	updated  time.Time

	mu    sync.RWMutex
	files []*segment
	tail  columns // the entries that only Redis has
	whole bool
	ready bool // everything was indexed once
}

// New returns an index of the entries in j and s. It is empty until it is updated.
func New(j *journal.Journal, s journal.Segments) *Index {
	x := &Index{journal: j, segments: s, updating: make(chan struct{}, 1), whole: true}
	x.newTail()
	return x
}

func (x *Index) newTail() {
	x.reader = newReader()
	x.tail = columns{ids: map[uint64]uint32{}, texts: map[string]string{}}
}

// Close unmaps the segments' indexes. The Index must not be used afterwards.
func (x *Index) Close() error {
	x.updating <- struct{}{}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.files {
		s.close()
	}
	x.files = nil
	return nil
}

// updateEvery is how often Run updates, so that a query has little to catch up with.
const updateEvery = 5 * time.Second

// Run updates the index until ctx ends.
func (x *Index) Run(ctx context.Context, log *zap.Logger) {
	failed := false
	for range repeat.Now(ctx, updateEvery) {
		err := x.Update(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			log.Warn("the index of decisions is behind", zap.Error(err))
		}
		failed = err != nil
	}
}

// Update indexes the entries that were added since the last update.
func (x *Index) Update(ctx context.Context) error {
	select {
	case x.updating <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-x.updating }()
	return x.update(ctx)
}

// updateFor bounds how long a query waits for another update, and freshFor is how old the
// index may be without an update.
const (
	updateFor = 500 * time.Millisecond
	freshFor  = time.Second
)

// catchUp updates the index before a query, unless another update takes too long.
func (x *Index) catchUp(ctx context.Context) (behind bool, err error) {
	timer := time.NewTimer(updateFor)
	defer timer.Stop()
	select {
	case x.updating <- struct{}{}:
		defer func() { <-x.updating }()
		if time.Since(x.updated) < freshFor {
			return false, nil
		}
		return false, x.update(ctx)
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

func (x *Index) update(ctx context.Context) error {
	if err := x.addSegments(); err != nil {
		return err
	}
	whole, err := x.journal.Since(ctx, &x.upTo, func(e *journal.Entry) error {
		x.reader.take(e, 0)
		if len(x.reader.rows) >= 1<<16 {
			x.flush()
		}
		return nil
	})
	x.flush()
	if err != nil {
		return err
	}
	x.updated = time.Now()
	x.mu.Lock()
	x.ready, x.whole = true, x.whole && whole
	x.mu.Unlock()
	return nil
}

// flush inserts the entries that were read from Redis.
func (x *Index) flush() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tail.push(x.reader.rows)
	x.tail.profiles = x.reader.profiles
	maps.Copy(x.tail.texts, x.reader.texts)
	x.settle(x.reader.abouts)
	x.reader.rows, x.reader.abouts = nil, nil
	clear(x.reader.texts)
}

// settle records outcomes of decisions, most of which are among the newest. x.mu must be
// held.
func (x *Index) settle(abouts []about) {
next:
	for _, a := range abouts {
		if x.tail.settle(a) {
			continue
		}
		for _, s := range slices.Backward(x.files) {
			if s.settle(a) {
				continue next
			}
		}
	}
}

// addSegments adds the indexes of new segments.
func (x *Index) addSegments() error {
	files, err := x.segments.Files()
	if err != nil {
		return err
	}
	if len(files) < len(x.files) {
		return fmt.Errorf("search: there are %d segments, but there were %d before", len(files), len(x.files))
	}
	for _, file := range files[len(x.files):] {
		ends, err := journal.Ends(file)
		if err != nil {
			return err
		}
		s, err := open(file)
		if err != nil {
			return err
		}
		for shard, seq := range ends {
			if shard >= 0 && shard < player.Shards {
				x.written[shard], x.upTo[shard] = seq, max(seq, x.upTo[shard])
			}
		}
		x.mu.Lock()
		x.files = append(x.files, s)
		x.dropWritten()
		x.settle(s.abouts)
		x.mu.Unlock()
		s.abouts = nil
	}
	return nil
}

// dropWritten removes the entries from the tail that a segment has. x.mu must be held.
func (x *Index) dropWritten() {
	old := x.tail
	profiles, known := x.reader.profiles, x.reader.known
	x.newTail()
	x.reader.profiles, x.reader.known = profiles, known
	var rows []row
	var abouts []about
	for i := range old.at {
		if at := placed(old.place[i]); at.Seq > x.written[at.Shard] {
			rows = append(rows, old.row(i))
		}
		abouts = append(abouts, about{old.id[i], old.outcome[i]})
	}
	x.tail.push(rows)
	x.tail.profiles, x.tail.texts = profiles, old.texts
	x.settle(abouts)
}
