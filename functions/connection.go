package functions

import (
	"bytes"
	"context"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"pitboss/internal/setup"
	"pitboss/internal/takeover"
)

// pipeline is how many events of one connection are handled at once: the Broker
// sends what has come together in one write.
const pipeline = 32

// overFastHTTP answers the events of connections that a Broker keeps open:
// func-go's server accepts them and loses them with the first event.
func overFastHTTP(answer func(context.Context, *ce.Event, string) (*ce.Event, *failure)) *takeover.Connections {
	return takeover.New(takeover.Config{
		Path:    func(path string) bool { return path == "/" },
		MaxBody: maxBody, Pipeline: pipeline,
		Handle: func(ctx *fasthttp.RequestCtx) {
			e, traceparent, err := decodeFast(&ctx.Request)
			if err != nil {
				refused(err).write(ctx)
				return
			}
			reply, failed := answer(context.Background(), e, traceparent) // ctx is another request's soon
			switch {
			case failed != nil:
				failed.write(ctx)
			case reply != nil:
				headers(reply, ctx.Response.Header.Set)
				ctx.Response.SetBodyRaw(reply.Data())
			}
		},
		Unreadable: func(ctx *fasthttp.RequestCtx, status int, reason string) {
			(&failure{status, short(reason)}).write(ctx)
		},
		Log: func() *zap.Logger { return setup.Logger("function") },
	})
}

// decodeFast is decode for a request of version 1.0 in binary mode.
func decodeFast(r *fasthttp.Request) (e *ce.Event, traceparent string, err error) {
	size := 0
	for _, value := range r.Header.All() {
		size += len(value)
	}
	var joined strings.Builder // the values share one string
	joined.Grow(size)
	for _, value := range r.Header.All() {
		joined.Write(value)
	}
	values := joined.String()
	e, c := newEvent()
	for name, value := range r.Header.All() {
		v := values[:len(value)]
		values = values[len(value):]
		if string(name) == "Traceparent" {
			traceparent = v
		} else if err := attribute(c, headerName(name), v); err != nil {
			return nil, "", err
		}
	}
	if body := r.Body(); len(body) > 0 {
		e.DataEncoded = bytes.Clone(body)
	}
	return e, traceparent, validate(e, c)
}

func (f *failure) write(ctx *fasthttp.RequestCtx) { ctx.Error(f.reason, f.status) }
