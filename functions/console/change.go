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

// The changes that a person may make. Each is journaled before it is made, and not
// made if it cannot be journaled.

var (
	errNoSink       = errors.New("console: K_SINK is not set, so nothing can be sent to the Broker")
	errConflict     = errors.New("console: not possible now")
	errNotAllowed   = errors.New("not allowed there")
	errNotJournaled = errors.New("the change could not be journaled, so it was not made")
)

// journal records a change that is about to be made.
func (f *Function) journal(r *http.Request, what, subject, note string) error {
	return f.journalFor(r.Context(), personOf(r), what, subject, note)
}

func (f *Function) journalFor(ctx context.Context, who *access.Person, what, subject, note string) error {
	if err := f.audit.record(ctx, who, what, subject, note); err != nil {
		return fmt.Errorf("%w: %w", errNotJournaled, err)
	}
	return nil
}

// send POSTs an event to the Broker, with the console as its source.
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

func (f *Function) replayDeadLetters(_ http.ResponseWriter, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if err := f.journal(r, "dead-letter.replay", id, ""); err != nil {
		return nil, err
	}
	n, err := f.deadLetters.replay(r.Context(), f.sink, id)
	return map[string]int{"replayed": n}, err
}

func (f *Function) discardDeadLetter(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := f.journal(r, "dead-letter.discard", r.PathValue("id"), ""); err != nil {
		return nil, err
	}
	return map[string]bool{"ok": true}, f.deadLetters.remove(r.Context(), r.PathValue("id"))
}

// request is the body of an erasure or an export.
type request struct {
	Request string `json:"request"` // the operator's reference
	Confirm string `json:"confirm,omitzero"`
}

// erase requests a player's erasure. The person confirms it by typing the id again.
func (f *Function) erase(_ http.ResponseWriter, r *http.Request, in request) (any, error) {
	id := r.PathValue("id")
	if in.Confirm != id || in.Request == "" {
		return nil, bad("type the player's id to confirm, and the reference of the request")
	}
	return f.askPrivacy(r, event.TypePrivacyErase, "player.erase", id, in.Request)
}

func (f *Function) export(_ http.ResponseWriter, r *http.Request, in request) (any, error) {
	if in.Request == "" {
		return nil, bad("the reference of the request is missing")
	}
	return f.askPrivacy(r, event.TypePrivacyExport, "player.export", r.PathValue("id"), in.Request)
}

func (f *Function) askPrivacy(r *http.Request, typ, what, player, reference string) (any, error) {
	if f.sink == nil {
		return nil, errNoSink
	}
	if err := f.mayAct(r, access.Compliance, player); err != nil {
		return nil, err
	}
	// The chain of operations never holds a player's id, so an erasure has nothing to remove from it.
	if err := f.journal(r, what, event.HashPlayer(player), reference); err != nil {
		return nil, err
	}
	id := newID()
	return map[string]string{"event": id}, f.send(r.Context(), typ, player, id, event.PrivacyRequest{Request: reference})
}
