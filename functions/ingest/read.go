package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// read decodes the request into events. batch reports whether it is a batch. The error
// lists everything in it that is no CloudEvent 1.0.
func (f *Function) read(r *http.Request, body []byte) (events []*ce.Event, batch bool, err error) {
	mode, err := cehttp.ModeOf(r.Header)
	if err != nil {
		return nil, false, err
	}
	list := make([]*cehttp.Message, 1)
	if batch = mode == cehttp.Batch; batch {
		list, err = cehttp.ReadBatch(body, f.cfg.MaxBatch)
	} else {
		list[0], err = cehttp.Read(r.Header, body)
	}
	if err != nil {
		return nil, batch, err
	}
	for _, m := range list {
		e := m.Event()
		telemetry.Adopt(e, r.Header.Get("Traceparent"))
		events = append(events, e)
	}
	return events, batch, nil
}

// fieldErrors splits read's error by field.
func fieldErrors(err error) (out []fieldError) {
	var all cehttp.Problems
	var one *event.Problem
	switch {
	case errors.As(err, &all):
	case errors.As(err, &one):
		all = cehttp.Problems{one}
	}
	for _, p := range all {
		out = append(out, fieldError{Pointer: p.Pointer, Code: p.Code, Detail: p.Detail})
	}
	return out
}

// reserved refuses an event whose source only Pitboss may use.
func reserved(e *ce.Event) *event.Problem {
	if strings.HasPrefix(event.Source(e), event.ReservedSource) || event.Source(e)+"/" == event.ReservedSource {
		return &event.Problem{Code: event.CodeReserved, Pointer: "/source",
			Detail: fmt.Sprintf("sources that begin with %s are reserved for Pitboss", event.ReservedSource)}
	}
	return nil
}

// maxTracestate is the longest tracestate that is kept. A longer one may be dropped
// (W3C Trace Context, section 3.3.1.5).
const maxTracestate = 512
