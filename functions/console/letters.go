package console

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/sink"
)

// letter is a dead letter: an event that a subscriber refused, or that no
// retry could deliver. The one-machine Broker keeps its own; on a cluster they
// are POSTed here by the dead-letter sink and kept in Redis.
type letter struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Trigger    string    `json:"trigger"`
	Subscriber string    `json:"subscriber"`
	Code       int       `json:"code"`
	Reason     string    `json:"reason"`
	Attempts   int       `json:"attempts"`
	Event      ce.Event  `json:"event"`
}

// The attributes that Knative adds to a dead letter.
var knativeError = struct{ dest, code, data string }{"knativeerrordest", "knativeerrorcode", "knativeerrordata"}

// keptLetters bounds what is kept in memory of dead letters that came by POST,
// and how many one replay of all takes.
const keptLetters = 10_000

type letters struct {
	broker *brokerClient
	store  *store
	kept   atomic.Int64 // of those that came by POST

	mu     sync.Mutex
	memory map[string]letter // without Redis
	last   int64
	before int64 // how many there were when last observed; -1: not yet
	fresh  []arrival
}

// arrival is how many dead letters came between two observations.
type arrival struct {
	at time.Time
	n  int64
}

// lettersFresh is how long a dead letter is news: trouble that goes on, not
// what somebody left lying.
const lettersFresh = 5 * time.Minute

func newLetters(b *brokerClient, s *store) *letters {
	return &letters{broker: b, store: s, memory: map[string]letter{}, before: -1}
}

// watch observes until the console stops.
func (l *letters) watch(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		l.observe(now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// observe counts what came since the last time.
func (l *letters) observe(now time.Time) {
	if s := l.broker.status(); l.broker.known() && (!s.Known || s.Error != "") {
		return // what it kept before this console began is no news
	}
	n := l.count()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before >= 0 && n > l.before {
		l.fresh = append(l.fresh, arrival{now, n - l.before})
	}
	l.before = n
	l.fresh = slices.DeleteFunc(l.fresh, func(a arrival) bool { return now.Sub(a.at) > lettersFresh })
}

// lately is how many dead letters came in the last five minutes.
func (l *letters) lately() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.fresh {
		n += a.n
	}
	return n
}

func (l *letters) count() int64 {
	if l.broker.known() {
		return int64(l.broker.status().DeadLetters)
	}
	return l.kept.Load()
}

// receiveDeadLetter keeps a dead letter; it answers 2xx once it is kept.
func (f *Function) receiveDeadLetter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<20)
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		http.Error(w, "console: not a CloudEvent", http.StatusBadRequest)
		return
	}
	if err := f.letters.keep(r.Context(), letterOf(e, f.now())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func letterOf(e *ce.Event, now time.Time) letter {
	text := func(name string) string { s, _ := e.Extensions()[name].(string); return s }
	out := letter{At: now, Subscriber: text(knativeError.dest), Event: *e}
	out.Code, _ = strconv.Atoi(text(knativeError.code))
	reason, err := base64.StdEncoding.DecodeString(text(knativeError.data))
	if err != nil { // it was cut to fit: what can be read of it
		data := text(knativeError.data)
		reason, _ = base64.StdEncoding.DecodeString(data[:len(data)/4*4])
	}
	out.Reason = string(reason)
	if u, err := url.Parse(out.Subscriber); err == nil {
		out.Trigger = u.Hostname()
	}
	return out
}

func (l *letters) keep(ctx context.Context, d letter) error {
	if l.store.rdb == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.memory) >= keptLetters { // the Broker keeps it and comes again
			return fmt.Errorf("console: %d dead letters are kept already, and there is no Redis for more: replay or discard some", keptLetters)
		}
		l.last++
		d.ID = strconv.FormatInt(l.last, 10)
		l.memory[d.ID] = d
		l.kept.Store(int64(len(l.memory)))
		return nil
	}
	n, err := l.store.command(ctx, "INCR", keyLetter)
	if err != nil {
		return err
	}
	d.ID = fmt.Sprint(n)
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("console: dead letter: %w", err)
	}
	if _, err = l.store.command(ctx, "HSET", keyLetters, d.ID, body); err == nil {
		l.kept.Add(1)
	}
	return err
}

// list returns dead letters, newest first.
func (l *letters) list(ctx context.Context, max int) ([]letter, error) {
	out := []letter{}
	switch {
	case l.broker.known():
		after := ""
		for len(out) < 20_000 { // oldest first there; the newest are wanted
			var part []letter
			if err := l.broker.call(ctx, http.MethodGet, "/admin/deadletters?limit=1000&after="+url.QueryEscape(after), &part); err != nil {
				return nil, err
			}
			out = append(out, part...)
			if len(part) < 1000 {
				break
			}
			after = part[len(part)-1].ID
		}
	case l.store.rdb != nil:
		all, err := l.store.all(ctx, keyLetters)
		if err != nil {
			return nil, err
		}
		for _, body := range all {
			var d letter
			if json.Unmarshal(body, &d) == nil {
				out = append(out, d)
			}
		}
		l.kept.Store(int64(len(out)))
	default:
		l.mu.Lock()
		for _, d := range l.memory {
			out = append(out, d)
		}
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b letter) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) })
	return out[:min(max, len(out))], nil
}

// replay delivers one dead letter (or all: id "") again and returns how many.
// On a cluster it goes to the Broker, that is to every Trigger: what was
// handled already is recognised by source and id.
func (l *letters) replay(ctx context.Context, to *sink.Client, id string) (int, error) {
	if l.broker.known() {
		var done struct {
			Replayed int `json:"replayed"`
		}
		path := "/admin/deadletters/replay"
		if id != "" {
			path = "/admin/deadletters/" + url.PathEscape(id) + "/replay"
		}
		err := l.broker.call(ctx, http.MethodPost, path, &done)
		return done.Replayed, err
	}
	if to == nil {
		return 0, errNoSink
	}
	list, err := l.list(ctx, keptLetters)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range list {
		if id != "" && d.ID != id {
			continue
		}
		for _, ext := range []string{knativeError.dest, knativeError.code, knativeError.data} {
			d.Event.SetExtension(ext, nil)
		}
		if err := to.Post(ctx, &d.Event); err != nil {
			return n, err
		}
		if err := l.remove(ctx, d.ID); err != nil {
			return n, err
		}
		n++
	}
	if n == 0 && id != "" {
		return 0, errNotFound
	}
	return n, nil
}

// forget removes an erased player's dead letters where privacy, which removes
// those in Redis, does not come: from the local Broker, and from memory.
func (l *letters) forget(ctx context.Context, player string) error {
	if l.store.rdb != nil && !l.broker.known() {
		return nil
	}
	list, err := l.list(ctx, math.MaxInt)
	for _, d := range list {
		if d.Event.Subject() == player && err == nil {
			err = l.remove(ctx, d.ID)
		}
	}
	return err
}

// forgetLetters takes long where there are many, and an event does not wait.
func (f *Function) forgetLetters(player string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.letters.forget(ctx, player); err != nil {
		f.Log.Error("an erased player's dead letters are not all removed", zap.String("player", event.HashPlayer(player)), zap.Error(err))
	}
}

func (l *letters) remove(ctx context.Context, id string) error {
	if l.broker.known() {
		var none struct{}
		req := "/admin/deadletters/" + url.PathEscape(id)
		return l.broker.call(ctx, http.MethodDelete, req, &none)
	}
	l.kept.Add(-1)
	if l.store.rdb == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.memory, id)
		return nil
	}
	_, err := l.store.command(ctx, "HDEL", keyLetters, id)
	return err
}
