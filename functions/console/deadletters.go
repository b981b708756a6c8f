package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
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
	"pitboss/internal/sink"
	"pitboss/internal/telemetry"
)

// deadLetter: the one-machine Broker keeps its own; on a cluster they are POSTed
// here by the dead-letter sink and kept in Redis.
type deadLetter = journal.DeadLetter

// The attributes that Knative adds to a dead letter.
var knativeError = struct{ dest, code, data string }{"knativeerrordest", "knativeerrorcode", "knativeerrordata"}

// keptDeadLetters bounds what is kept in memory of dead letters that came by POST.
const keptDeadLetters = 10_000

type deadLetters struct {
	broker  *brokerClient
	store   *store
	kept    atomic.Int64 // of those that came by POST
	refused *refusals
	learned int64 // dead letters of the local Broker that refused knows; only watch reads it

	mu     sync.Mutex
	memory map[string]deadLetter // without Redis
	last   int64
	before int64 // how many there were when last observed; -1: not yet
	fresh  []arrival
}

func newDeadLetters(b *brokerClient, s *store) *deadLetters {
	return &deadLetters{broker: b, store: s, memory: map[string]deadLetter{}, before: -1, refused: newRefusals()}
}

func (l *deadLetters) count() int64 {
	if l.broker.known() {
		return int64(l.broker.status().DeadLetters)
	}
	return l.kept.Load()
}

// receiveDeadLetter keeps a dead letter; it answers 2xx once it is kept.
func (f *Function) receiveDeadLetter(w http.ResponseWriter, r *http.Request) {
	e, err := readDeadLetter(w, r)
	if err != nil {
		http.Error(w, "console: dead letter: "+err.Error(), cehttp.Status(err))
		return
	}
	d := deadLetterOf(e, f.now())
	if !f.broker.known() { // the local Broker keeps its own, and is asked for them
		kept, err := f.deadLetters.keep(r.Context(), d)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if kept {
			f.deadLetters.refused.note(&d)
		} else {
			f.Log.Info("a dead letter is not kept: its player was erased after it", telemetry.Fields(e)...)
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// readDeadLetter reads what no function could, too: where it is no event by the
// contract, as sdk-go understands it.
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
	if err != nil { // it was cut to fit: what can be read of it
		data := text(knativeError.data)
		reason, _ = base64.StdEncoding.DecodeString(data[:len(data)/4*4])
	}
	return journal.NewDeadLetter(e, text(knativeError.dest), code, string(reason), now)
}

// keep is false for a dead letter that an erasure has overtaken. Without Redis there
// is nothing that remembers erasures.
func (l *deadLetters) keep(ctx context.Context, d deadLetter) (kept bool, err error) {
	if l.store.rdb == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.memory) >= keptDeadLetters { // the Broker keeps it and comes again
			return false, fmt.Errorf("console: %d dead letters are kept already, and there is no Redis for more: replay or discard some", keptDeadLetters)
		}
		l.last++
		d.ID = strconv.FormatInt(l.last, 10)
		l.memory[d.ID] = d
		l.kept.Store(int64(len(l.memory)))
		return true, nil
	}
	if kept, err = l.store.journal.KeepDeadLetter(ctx, d); err != nil {
		return false, err
	}
	if kept {
		l.kept.Add(1)
	} else {
		overtaken.Inc()
	}
	return kept, nil
}

// pageSize is how many dead letters are asked for at once.
const pageSize = 500

// list returns up to max dead letters before the id given ("": from the
// newest), newest first. Only after the oldest it returns none.
func (l *deadLetters) list(ctx context.Context, before string, max int) ([]deadLetter, error) {
	if l.broker.known() {
		out := []deadLetter{}
		path := fmt.Sprintf("/admin/deadletters?order=newest&limit=%d&before=%s", max, url.QueryEscape(before))
		return out, l.broker.call(ctx, http.MethodGet, path, &out)
	}
	all, err := l.all(ctx)
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

// all is what came by POST.
func (l *deadLetters) all(ctx context.Context) ([]deadLetter, error) {
	out := []deadLetter{}
	if l.store.rdb == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, d := range l.memory {
			out = append(out, d)
		}
		return out, nil
	}
	kept, err := l.store.all(ctx, journal.DeadLettersKey)
	if err != nil {
		return nil, err
	}
	for id, body := range kept {
		var d deadLetter
		if err := json.Unmarshal(body, &d); err != nil {
			d = unreadable(id, body, err)
		}
		out = append(out, d)
	}
	l.kept.Store(int64(len(out)))
	return out, nil
}

// unreadable shows what is kept and is no dead letter, so that it does not hide
// the others, and can be removed.
func unreadable(id string, body []byte, why error) deadLetter {
	e := ce.New()
	e.SetID("unreadable-" + id)
	e.SetType("unreadable")
	e.SetSource("/console/deadletters/" + id)
	e.DataEncoded, e.DataBase64 = body, true
	return deadLetter{ID: id, Reason: "it cannot be read: " + why.Error(), Event: e}
}

// each calls do with every dead letter, newest first, until it fails.
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

// replay delivers one dead letter (or all: id "") again and returns how many.
// On a cluster it goes to the Broker, that is to every Trigger: what was
// handled already is recognised by source and id.
func (l *deadLetters) replay(ctx context.Context, to *sink.Client, id string) (int, error) {
	if l.broker.known() {
		return l.replayLocal(ctx, id)
	}
	if to == nil {
		return 0, errNoSink
	}
	n := 0
	var refused error // none that is refused again holds up those behind it
	err := l.each(ctx, func(d deadLetter) error {
		if id != "" && d.ID != id || d.Event.Type() == "unreadable" {
			return nil
		}
		for _, ext := range []string{knativeError.dest, knativeError.code, knativeError.data} {
			d.Event.SetExtension(ext, nil)
		}
		restore := l.refused.again(&d.Event)
		if err := to.Post(ctx, &d.Event); err != nil {
			restore()
			var no *sink.Refused
			if errors.As(err, &no) && no.AboutTheEvent() {
				refused = err
				return nil
			}
			return err
		}
		if err := l.remove(ctx, d.ID); err != nil {
			return err
		}
		n++
		return nil
	})
	if err = errors.Join(err, refused); err == nil && n == 0 && id != "" {
		return 0, errNotFound
	}
	return n, err
}

// replayLocal has the local Broker deliver one dead letter (or all) again.
func (l *deadLetters) replayLocal(ctx context.Context, id string) (int, error) {
	var restore []func()
	again := func(d deadLetter) error {
		restore = append(restore, l.refused.again(&d.Event))
		return nil
	}
	path := "/admin/deadletters"
	var err error
	if id == "" {
		err = l.each(ctx, again)
	} else {
		var d deadLetter
		path += "/" + url.PathEscape(id)
		if err = l.broker.call(ctx, http.MethodGet, path, &d); err == nil {
			err = again(d)
		}
	}
	var done struct {
		Replayed int `json:"replayed"`
	}
	if err == nil {
		err = l.broker.call(ctx, http.MethodPost, path+"/replay", &done)
	}
	if err != nil {
		for _, undo := range restore {
			undo()
		}
	}
	return done.Replayed, err
}

// forget removes an erased player's dead letters where privacy, which removes
// those in Redis, does not come: from the local Broker, and from memory.
func (l *deadLetters) forget(ctx context.Context, player string) error {
	l.refused.forget(player)
	if l.store.rdb != nil && !l.broker.known() {
		return nil
	}
	return l.each(ctx, func(d deadLetter) error {
		if d.Event.Subject() != player || event.Outlives(d.Event.Type()) {
			return nil
		}
		return l.remove(ctx, d.ID)
	})
}

// forgetDeadLetters takes long where there are many, and an event does not wait.
func (f *Function) forgetDeadLetters(player string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.deadLetters.forget(ctx, player); err != nil {
		f.Log.Error("an erased player's dead letters are not all removed", zap.String("player", event.HashPlayer(player)), zap.Error(err))
	}
}

func (l *deadLetters) remove(ctx context.Context, id string) error {
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
	_, err := l.store.command(ctx, "HDEL", journal.DeadLettersKey, id)
	return err
}
