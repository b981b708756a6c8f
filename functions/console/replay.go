package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"pitboss/internal/sink"
)

// replay delivers one dead letter again, or all of them if id is empty, and returns
// how many. On a cluster it POSTs them to the Broker, which delivers to every
// Trigger; a function that handled one before recognises its source and id.
func (l *deadLetters) replay(ctx context.Context, to *sink.Client, id string) (int, error) {
	if l.broker.known() {
		return l.replayLocal(ctx, id)
	}
	if to == nil {
		return 0, errNoSink
	}
	n := 0
	var refused error // one that the Broker refuses does not hold up the others
	err := l.each(ctx, func(d deadLetter) error {
		if id != "" && d.ID != id || d.Event.Type() == typeUnreadable {
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

// replayLocal has the local Broker deliver one dead letter again, or all of them.
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
