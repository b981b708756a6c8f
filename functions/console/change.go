package console

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/access"
	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// What a person changes. Each change is journaled first; one that cannot be
// journaled is not made.

var (
	errNoSink     = errors.New("console: K_SINK is not set, so nothing can be sent to the Broker")
	errConflict   = errors.New("console: not possible now")
	errNotAllowed = errors.New("not allowed there")
	// errNotJournaled: a change that cannot be journaled is not made.
	errNotJournaled = errors.New("the change could not be journaled, so it was not made")
)

// journal records the change and answers the request if that failed.
func (f *Function) journal(w http.ResponseWriter, r *http.Request, what, subject, note string) bool {
	if err := f.audit.record(r.Context(), personOf(r), what, subject, note); err != nil {
		failed(w, fmt.Errorf("%w: %w", errNotJournaled, err))
		return false
	}
	return true
}

// send POSTs an event of the console's to the Broker.
func (f *Function) send(ctx context.Context, typ, subject, id string, data any) error {
	e, err := event.New(name, typ, subject, id, f.now(), data)
	if err != nil {
		return err
	}
	return f.post(ctx, e)
}

func (f *Function) post(ctx context.Context, e *ce.Event) error {
	if f.sink == nil {
		return errNoSink
	}
	ctx, end := telemetry.Send(ctx, name, f.Log, e)
	err := f.sink.Post(ctx, e)
	end(err)
	return err
}

func newID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func (f *Function) replayDeadLetters(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !f.journal(w, r, "dead-letter.replay", id, "") {
		return
	}
	n, err := f.deadLetters.replay(r.Context(), f.sink, id)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]int{"replayed": n})
}

func (f *Function) discardDeadLetter(w http.ResponseWriter, r *http.Request) {
	if !f.journal(w, r, "dead-letter.discard", r.PathValue("id"), "") {
		return
	}
	if err := f.deadLetters.remove(r.Context(), r.PathValue("id")); err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]bool{"ok": true})
}

// request is the body of an erasure or an export.
type request struct {
	Request string `json:"request"` // the operator's reference
	Confirm string `json:"confirm,omitzero"`
}

// erase asks for a player's erasure; the id typed again confirms it.
func (f *Function) erase(w http.ResponseWriter, r *http.Request) {
	var in request
	id := r.PathValue("id")
	if !body(w, r, &in) {
		return
	}
	if in.Confirm != id || in.Request == "" {
		refuse(w, http.StatusBadRequest, "type the player's id to confirm, and the reference of the request")
		return
	}
	f.askPrivacy(w, r, event.TypePrivacyErase, "player.erase", id, in.Request)
}

func (f *Function) export(w http.ResponseWriter, r *http.Request) {
	var in request
	if !body(w, r, &in) {
		return
	}
	if in.Request == "" {
		refuse(w, http.StatusBadRequest, "the reference of the request is missing")
		return
	}
	f.askPrivacy(w, r, event.TypePrivacyExport, "player.export", r.PathValue("id"), in.Request)
}

func (f *Function) askPrivacy(w http.ResponseWriter, r *http.Request, typ, what, player, reference string) {
	if f.sink == nil {
		failed(w, errNoSink)
		return
	}
	if !f.mayAct(w, r, access.Compliance, player) {
		return
	}
	// The journal keeps no player ids: the erased must be gone from here, too.
	if !f.journal(w, r, what, event.HashPlayer(player), reference) {
		return
	}
	id := newID()
	if err := f.send(r.Context(), typ, player, id, event.PrivacyRequest{Request: reference}); err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]string{"event": id})
}
