package functions

import (
	"bytes"
	"context"
	"net/http"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"pitboss/internal/cehttp"
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
				h := http.Header{}
				cehttp.WriteHeader(h, reply)
				for name := range h {
					ctx.Response.Header.Set(name, h.Get(name))
				}
				ctx.Response.SetBodyRaw(reply.Data())
			}
		},
		Unreadable: func(ctx *fasthttp.RequestCtx, status int, reason string) {
			(&failure{status, short(reason)}).write(ctx)
		},
		Log: func() *zap.Logger { return setup.Logger("function") },
	})
}

// decodeFast is decode for what fasthttp read.
func decodeFast(r *fasthttp.Request) (e *ce.Event, traceparent string, err error) {
	h := http.Header{}
	for name, value := range r.Header.All() {
		h[string(name)] = append(h[string(name)], string(value))
	}
	m, err := cehttp.Read(h, bytes.Clone(r.Body()))
	if err != nil {
		return nil, "", err
	}
	return m.Event(), h.Get("Traceparent"), nil
}

func (f *failure) write(ctx *fasthttp.RequestCtx) { ctx.Error(f.reason, f.status) }
