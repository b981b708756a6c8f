package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	sdkhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/telemetry"
)

type deadLetter = journal.DeadLetter

// The attributes that Knative adds to a dead letter.
var knativeError = struct{ dest, code, data string }{"knativeerrordest", "knativeerrorcode", "knativeerrordata"}

// keptDeadLetters bounds the dead letters that are kept in memory.
const keptDeadLetters = 10_000

// deadLetters lists, replays and removes dead letters. The one-machine Broker keeps
// its own and is asked for them. On a cluster the dead-letter sink POSTs them here;
// they are kept in Redis, or in memory without it.
type deadLetters struct {
	broker  *brokerClient
	store   *store
	posted  *hash        // those that came by POST, by id
	kept    atomic.Int64 // the size of posted
	refused *refusals
	learned int64 // dead letters of the local Broker that refused knows; only watch reads it

	mu     sync.Mutex
	last   int64                // the newest id in memory
	erased map[string]time.Time // without Redis: when a player was erased, by the player's hash
	before int64                // how many there were when last observed; -1: not yet
	fresh  []arrival
}

func newDeadLetters(b *brokerClient, s *store) *deadLetters {
	return &deadLetters{broker: b, store: s, posted: s.hash(journal.DeadLettersKey), erased: map[string]time.Time{}, before: -1, refused: newRefusals()}
}

func (l *deadLetters) count() int64 {
	if l.broker.known() {
		return int64(l.broker.status().DeadLetters)
	}
	return l.kept.Load()
}

// receiveDeadLetter keeps a dead letter and answers 2xx once it is kept.
func (f *Function) receiveDeadLetter(w http.ResponseWriter, r *http.Request) {
	e, err := readDeadLetter(w, r)
	if err != nil {
		http.Error(w, "console: dead letter: "+err.Error(), cehttp.Status(err))
		return
	}
	d := deadLetterOf(e, f.now())
	if !f.broker.known() {
		kept, err := f.deadLetters.keep(r.Context(), d)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if kept {
			f.deadLetters.refused.note(&d)
		} else {
			f.Log.Info("dead letter dropped: its player was erased after the event", telemetry.Fields(e)...)
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// readDeadLetter also reads events that break the contract, since those are what
// functions refuse. It then reads them as sdk-go does.
func readDeadLetter(w http.ResponseWriter, r *http.Request) (*ce.Event, error) {
	body, err := event.ReadBody(w, r, 4<<20)
	if err != nil {
		return nil, err
	}
	if m, err := cehttp.Read(r.Header, body); err == nil {
		return m.Event(), nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return sdkhttp.NewEventFromHTTPRequest(r)
}

func deadLetterOf(e *ce.Event, now time.Time) deadLetter {
	text := func(name string) string { s, _ := e.Extensions()[name].(string); return s }
	code, _ := strconv.Atoi(text(knativeError.code))
	reason, err := base64.StdEncoding.DecodeString(text(knativeError.data))
	if err != nil { // Knative cut it to fit: decode the whole groups of four
		data := text(knativeError.data)
		reason, _ = base64.StdEncoding.DecodeString(data[:len(data)/4*4])
	}
	return journal.NewDeadLetter(e, text(knativeError.dest), code, string(reason), now)
}

// keep stores a dead letter that came by POST. kept is false if its player was
// erased after the event.
func (l *deadLetters) keep(ctx context.Context, d deadLetter) (kept bool, err error) {
	if l.store.journal != nil {
		kept, err = l.store.journal.KeepDeadLetter(ctx, d)
	} else {
		kept, err = l.keepInMemory(ctx, d)
	}
	switch {
	case err != nil:
		return false, err
	case kept:
		l.kept.Add(1)
	default:
		overtaken.Inc()
	}
	return kept, nil
}

// keepInMemory fails when memory is full: the Broker keeps the dead letter and
// delivers it again.
func (l *deadLetters) keepInMemory(ctx context.Context, d deadLetter) (kept bool, err error) {
	l.mu.Lock() // forgetBefore marks the player under it, so that of an erasure and a dead letter one sees the other
	defer l.mu.Unlock()
	if l.erasedAfter(&d.Event) {
		return false, nil
	}
	if n, _ := l.posted.size(ctx); n >= keptDeadLetters {
		return false, fmt.Errorf("console: %d dead letters are kept already, and there is no Redis for more: replay or discard some", keptDeadLetters)
	}
	l.last++
	d.ID = strconv.FormatInt(l.last, 10)
	body, err := json.Marshal(d)
	if err != nil {
		return false, fmt.Errorf("console: dead letter: %w", err)
	}
	return true, l.posted.set(ctx, d.ID, string(body))
}

// pageSize is how many dead letters are asked for at once.
const pageSize = 500

// list returns up to max dead letters older than the id before ("": from the
// newest), newest first. It returns none only when there is no older one.
func (l *deadLetters) list(ctx context.Context, before string, max int) ([]deadLetter, error) {
	if l.broker.known() {
		out := []deadLetter{}
		path := fmt.Sprintf("/admin/deadletters?order=newest&limit=%d&before=%s", max, url.QueryEscape(before))
		return out, l.broker.call(ctx, http.MethodGet, path, &out)
	}
	all, err := l.allPosted(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b deadLetter) int { return cmp.Compare(number(b.ID), number(a.ID)) })
	if before != "" {
		all = slices.DeleteFunc(all, func(d deadLetter) bool { return number(d.ID) >= number(before) })
	}
	return all[:min(max, len(all))], nil
}

func number(id string) int64 { n, _ := strconv.ParseInt(id, 10, 64); return n }

// allPosted returns the dead letters that came by POST, in no order.
func (l *deadLetters) allPosted(ctx context.Context) ([]deadLetter, error) {
	posted, err := l.posted.all(ctx)
	if err != nil {
		return nil, err
	}
	out := []deadLetter{}
	for id, body := range posted {
		var d deadLetter
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			d = unreadable(id, []byte(body), err)
		}
		out = append(out, d)
	}
	l.kept.Store(int64(len(out)))
	return out, nil
}

// typeUnreadable marks an entry that is no dead letter.
const typeUnreadable = "unreadable"

// unreadable shows an entry that is no dead letter as one, so that it can be
// removed and does not hide the others.
func unreadable(id string, body []byte, why error) deadLetter {
	e := ce.New()
	e.SetID("unreadable-" + id)
	e.SetType(typeUnreadable)
	e.SetSource("/console/deadletters/" + id)
	e.DataEncoded, e.DataBase64 = body, true
	return deadLetter{ID: id, Reason: "it cannot be read: " + why.Error(), Event: e}
}

// each calls do with every dead letter, newest first, until do fails.
func (l *deadLetters) each(ctx context.Context, do func(deadLetter) error) error {
	for before := ""; ; {
		list, err := l.list(ctx, before, pageSize)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			if err := do(d); err != nil {
				return err
			}
		}
		before = list[len(list)-1].ID
	}
}

func (l *deadLetters) remove(ctx context.Context, id string) error {
	if l.broker.known() {
		var none struct{}
		req := "/admin/deadletters/" + url.PathEscape(id)
		return l.broker.call(ctx, http.MethodDelete, req, &none)
	}
	l.kept.Add(-1)
	return l.posted.remove(ctx, id)
}

// markFor is how long an erasure is remembered without Redis. It is what the mark
// in Redis lasts, unless PRIVACY_REFUSE_FOR says otherwise.
const markFor = 48 * time.Hour

// forgetBefore removes the dead letters that a player's erasure at a time has
// overtaken. In Redis privacy removes them; this is for the local Broker's and
// those in memory, and it leaves a mark in memory for those that still come.
func (l *deadLetters) forgetBefore(ctx context.Context, player string, at, now time.Time) error {
	l.refused.forget(player)
	if l.store.journal == nil {
		l.mark(player, at, now)
	} else if !l.broker.known() {
		return nil
	}
	return l.each(ctx, func(d deadLetter) error {
		if d.Event.Subject() != player || event.Outlives(d.Event.Type()) || d.Event.Time().UnixMilli() > at.UnixMilli() {
			return nil
		}
		return l.remove(ctx, d.ID)
	})
}

func (l *deadLetters) mark(player string, at, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, at := range l.erased {
		if now.Sub(at) > markFor {
			delete(l.erased, hash)
		}
	}
	if hash := event.HashPlayer(player); at.After(l.erased[hash]) {
		l.erased[hash] = at
	}
}

// erasedAfter reports whether the event's player was erased after the event, so
// that it has no effect any more. l.mu is held.
func (l *deadLetters) erasedAfter(e *ce.Event) bool {
	at, marked := l.erased[event.HashPlayer(e.Subject())]
	return marked && e.Subject() != "" && !event.Outlives(e.Type()) && e.Time().UnixMilli() <= at.UnixMilli()
}

// forgetDeadLetters runs apart from the event that asks for it, since it takes long
// where there are many dead letters.
func (f *Function) forgetDeadLetters(player string, at time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.deadLetters.forgetBefore(ctx, player, at, f.now()); err != nil {
		f.Log.Error("some dead letters of an erased player remain", zap.String("player", event.HashPlayer(player)), zap.Error(err))
	}
}
