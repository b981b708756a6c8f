// Package ingest takes CloudEvents from platforms outside the cluster. It
// authenticates the sender, checks the events and forwards them to the Broker.
//
// HTTP POST in (one event, binary or structured, or a batch) → the same events, each
// POSTed to the Broker → 202, once the Broker has answered 2xx to every one. State
// touched: none. Errors: an RFC 9457 problem that names the field. 400: no CloudEvent,
// or one against the contract. 401, 413, 415, 429. 503: the Broker cannot take it now,
// or a token's issuer does not answer. What the Broker refuses has the Broker's status.
// GET /schemas lists the contract; GET /asyncapi gives it as an AsyncAPI document.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
	"pitboss/internal/openid"
	"pitboss/internal/setup"
	"pitboss/internal/sink"
	"pitboss/internal/telemetry"
)

const name = "ingest"

type config struct {
	Sink         string        `env:"K_SINK"`
	MaxBody      int64         `env:"INGEST_MAX_BODY,default=1048576"`   // bytes
	MaxBatch     int           `env:"INGEST_MAX_BATCH,default=1000"`     // events
	MaxEvent     int           `env:"INGEST_MAX_EVENT,default=131072"`   // bytes of one event as the Broker gets it; keep it below the Broker's own limit
	InFlight     int64         `env:"INGEST_IN_FLIGHT,default=33554432"` // bytes of bodies in work at once; they take about four times that in memory
	Rate         float64       `env:"INGEST_RATE,default=5000"`          // events/s for each producer; 0: no limit
	Burst        int           `env:"INGEST_BURST,default=10000"`        // events
	OIDCIssuer   string        `env:"INGEST_OIDC_ISSUER"`
	OIDCAudience string        `env:"INGEST_OIDC_AUDIENCE,default=pitboss"`
	HMACKeysFile string        `env:"INGEST_HMAC_KEYS_FILE"` // lines of "producer secret"
	Timeout      time.Duration `env:"INGEST_TIMEOUT,default=10s"`
	KnativeName  string        `env:"K_SERVICE"` // Knative Serving sets it; its queue-proxy makes every caller look like loopback
}

// Function is ingest. The zero value answers 503 until Start has run.
type Function struct {
	*setup.Edge
	cfg       config
	auth      authenticator
	rates     *limiter
	room      *semaphore.Weighted // of cfg.InFlight
	admission *admission
	broker    *sink.Client
	now       func() time.Time

	patience time.Duration // how long a body waits for room
}

// New returns ingest, not yet started.
func New() *Function {
	return &Function{Edge: setup.NewEdge(name), now: time.Now, patience: 5 * time.Second}
}

// Start reads the configuration. It does not call the OIDC issuer; the first token does.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(context.Context) (err error) {
	if f.auth, err = newAuthenticator(f.cfg, f.now); err != nil {
		return err
	}
	if f.cfg.InFlight < f.cfg.MaxBody {
		return fmt.Errorf("ingest: INGEST_IN_FLIGHT is %d: a body of INGEST_MAX_BODY (%d bytes) would wait for ever", f.cfg.InFlight, f.cfg.MaxBody)
	}
	if err := setup.Sink(name, f.cfg.Sink); err != nil {
		return err
	}
	f.rates, f.room = newLimiter(f.cfg.Rate, f.cfg.Burst), semaphore.NewWeighted(f.cfg.InFlight)
	f.admission = newAdmission(f.cfg.Timeout / slowShare)
	f.broker = sink.New(f.cfg.Sink, f.cfg.Timeout, maxWaiting)
	f.AtEnd(func() error { f.broker.Close(); return nil })
	return nil
}

// Handle answers one HTTP request.
func (f *Function) Handle(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/schemas"):
		serveSchemas(w, r)
	case r.Method == http.MethodGet && (r.URL.Path == "/asyncapi" || r.URL.Path == "/asyncapi.json"):
		writeJSON(w, "application/vnd.aai.asyncapi+json;version=3.0.0", event.AsyncAPI())
	case !f.Started():
		writeProblem(w, http.StatusServiceUnavailable, "not-ready", "ingest is starting; try again", nil)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		writeProblem(w, http.StatusMethodNotAllowed, "method-not-allowed", "POST a CloudEvent, or GET /schemas or /asyncapi", nil)
	default:
		f.post(w, r)
	}
}

// answer is the answer to a POST that was not accepted.
type answer struct {
	status       int
	code, detail string
	wrong        []fieldError
	retryAfter   string
	counted      bool // its events were counted one by one
}

func refuse(status int, code, detail string, wrong ...fieldError) *answer {
	return &answer{status: status, code: code, detail: detail, wrong: wrong}
}

func later(code, detail string) *answer {
	return &answer{status: http.StatusServiceUnavailable, code: code, detail: detail + "; POST the same again", retryAfter: retryAfter(rand.N(3 * time.Second))}
}

// behind turns away a request of that many events (0: its body was not read), since
// the Broker can't take it now.
func (f *Function) behind(code, detail string, events int) *answer {
	a := later(code, detail)
	a.retryAfter = retryAfter(f.admission.turnedAway(time.Now(), events))
	return a
}

func (f *Function) post(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	a := f.take(w, r)
	if a == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	switch {
	case a.counted:
	case a.status == http.StatusServiceUnavailable:
		telemetry.Failed(name, "", time.Since(began))
	default:
		telemetry.Refused(name, "", time.Since(began))
	}
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pitboss"`)
	}
	writeProblem(w, a.status, a.code, a.detail, a.wrong)
}

// take hands the request's events to the Broker. It returns nil once the Broker has
// acknowledged all of them.
func (f *Function) take(w http.ResponseWriter, r *http.Request) *answer {
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		return refuse(http.StatusUnsupportedMediaType, "unsupported-encoding", fmt.Sprintf("Content-Encoding %q is not understood: send the body as it is", c))
	}
	if f.admission.full() { // before the body takes memory
		return f.behind("overloaded", "the Broker is behind", 0)
	}
	body, err := event.ReadBody(w, r, f.cfg.MaxBody)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return refuse(http.StatusRequestEntityTooLarge, event.CodeTooLarge, fmt.Sprintf("the body must have at most %d bytes", tooLarge.Limit))
		}
		if malformed := new(event.Problem); errors.As(err, &malformed) {
			return refuse(http.StatusBadRequest, malformed.Code, malformed.Detail)
		}
		return refuse(http.StatusRequestTimeout, "interrupted", err.Error()+"; POST the same again")
	}
	producer, err := f.auth.authenticate(r, body, f.now())
	if errors.Is(err, openid.ErrUnreachable) {
		f.Log.Warn("token not checked", zap.Error(err))
		return later("issuer-unavailable", "the bearer token could not be checked")
	}
	if err != nil {
		return refuse(http.StatusUnauthorized, "unauthenticated", err.Error())
	}
	leave, ok := f.enter(r.Context(), int64(len(body)))
	if !ok {
		return later("busy", "too many bodies are in work")
	}
	defer leave()
	events, batch, err := f.read(r, body)
	if err != nil {
		wrong := fieldErrors(err)
		return refuse(cehttp.Status(err), wrong[0].Code, wrong[0].Detail, wrong...)
	}
	if wait := f.rates.take(producer, len(events), f.now()); wait > 0 {
		a := refuse(http.StatusTooManyRequests, "rate-exceeded", fmt.Sprintf("producer %q is over its rate of %g events/s", producer, f.cfg.Rate))
		a.retryAfter = fmt.Sprint(int(wait.Seconds()) + 1)
		return a
	}
	if wrong := f.check(events, batch, producer); len(wrong) > 0 {
		return &answer{status: http.StatusBadRequest, code: wrong[0].Code, detail: wrong[0].Detail, wrong: wrong, counted: true}
	}
	return f.deliver(r.Context(), events, batch)
}

// deliver forwards events that passed the checks, if the Broker is not behind.
func (f *Function) deliver(ctx context.Context, events []*ce.Event, batch bool) *answer {
	if !f.admission.enter(ctx, len(events)) {
		return f.behind("overloaded", "the Broker is behind", len(events))
	}
	err := f.forward(ctx, events)
	f.admission.leave()
	var no *refusedByBroker
	switch {
	case errors.As(err, &no):
		wrong := fieldError{Code: "broker-refused", Detail: no.Error(), Pointer: no.pointer()}
		if batch {
			wrong.Pointer = fmt.Sprintf("/%d%s", no.index, wrong.Pointer)
		}
		return &answer{status: no.Status, code: wrong.Code, detail: wrong.Detail, wrong: []fieldError{wrong}, counted: true}
	case err != nil:
		a := f.behind("broker-unavailable", "the Broker did not acknowledge", len(events))
		a.counted, a.detail = true, a.detail+" (events are deduplicated by source and id)"
		return a
	}
	return nil
}

// enter waits until a body of n bytes may be decoded. A body that waits takes its own
// size; one that is decoded and waits for the Broker takes four times that. Without
// the bound, 200 batches of 1 MB at once took 740 MB.
func (f *Function) enter(ctx context.Context, n int64) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	if f.room.Acquire(ctx, n) != nil {
		return nil, false
	}
	return func() { f.room.Release(n) }, true
}

// check returns what is wrong with each event. One bad event refuses its whole batch,
// so that a producer never has to guess which events were accepted.
func (f *Function) check(events []*ce.Event, batch bool, producer string) (wrong []fieldError) {
	now := f.now()
	for i, e := range events {
		began := time.Now()
		p := f.checkOne(e, now)
		if p == nil {
			continue
		}
		telemetry.Refused(name, e.Type(), time.Since(began))
		f.Log.Warn("event refused", append(telemetry.Fields(e), zap.String("producer", producer),
			zap.String("code", p.Code), zap.String("pointer", p.Pointer))...) // not the detail, which may quote the player
		if batch {
			p.Pointer = fmt.Sprintf("/%d%s", i, p.Pointer)
		}
		wrong = append(wrong, *p)
	}
	return wrong
}

func (f *Function) checkOne(e *ce.Event, now time.Time) *fieldError {
	rec, err := event.Parse(e, now)
	if err == nil {
		if p := reserved(e); p != nil {
			err = p
		}
	}
	var p *event.Problem
	switch {
	case errors.As(err, &p):
		return &fieldError{Pointer: p.Pointer, Code: p.Code, Detail: p.Detail}
	case rec.Info.Direction != event.In:
		return &fieldError{Pointer: "/type", Code: event.CodeUnknownType,
			Detail: fmt.Sprintf("type %q is sent by Pitboss only, not by platforms", rec.Type)}
	}
	stamp(e, now)
	if n := eventSize(e); n > f.cfg.MaxEvent {
		return &fieldError{Pointer: "/data", Code: event.CodeTooLarge,
			Detail: fmt.Sprintf("an event must have at most %d bytes, data and attributes together, this one has %d", f.cfg.MaxEvent, n)}
	}
	return nil
}

// eventSize is how many bytes the Broker gets, headers and data together.
func eventSize(e *ce.Event) (n int) {
	m := cehttp.MessageOf(e)
	for i := 0; i < len(m.Attributes); i += 2 {
		n += event.HeaderSize(m.Attributes[i], m.Attributes[i+1])
	}
	return n + len(m.Data)
}

// forward POSTs the events to the Broker, 16 players at a time. A player's events go
// one after another in order of their time: a batch may span hours, and the first
// event would be late if the last one overtook it. Any failure fails the request. The
// producer then POSTs it again, and functions drop the duplicates. A *refusedByBroker
// is about an event that the Broker will never accept.
func (f *Function) forward(ctx context.Context, events []*ce.Event) error {
	if len(events) == 1 {
		return f.send(ctx, events[0], 0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, indexes := range byPlayer(events) {
		g.Go(func() error {
			for _, i := range indexes {
				if err := f.send(ctx, events[i], i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// byPlayer returns the indexes of each player's events in order of their time.
func byPlayer(events []*ce.Event) (players [][]int) {
	of := map[string]int{}
	for i, e := range events {
		n, known := of[e.Subject()]
		if !known {
			n = len(players)
			of[e.Subject()], players = n, append(players, nil)
		}
		players[n] = append(players[n], i)
	}
	for _, indexes := range players {
		slices.SortStableFunc(indexes, func(a, b int) int { return events[a].Time().Compare(events[b].Time()) })
	}
	return players
}

func (f *Function) send(ctx context.Context, e *ce.Event, i int) error {
	ctx, end := telemetry.Send(ctx, name, f.Log, e)
	began := time.Now()
	err := f.broker.Post(ctx, e)
	end(err)
	f.admission.answered(began, time.Now(), err == nil)
	var no *sink.Refused
	if errors.As(err, &no) && no.AboutTheEvent() {
		return &refusedByBroker{no, i}
	}
	return err
}

type refusedByBroker struct {
	*sink.Refused
	index int // of the event in the batch
}

func (e *refusedByBroker) Error() string {
	return fmt.Sprintf("the Broker refused the event with %d: %s", e.Status, e.Body)
}

// pointer names the part that the Broker refused, if the status tells it.
func (e *refusedByBroker) pointer() string {
	if e.Status == http.StatusRequestEntityTooLarge {
		return "/data"
	}
	return ""
}

// stamp sets the attributes that every event carries inside: the time of receipt, and
// the player as the partition key, since a player's events keep their order by it. It
// removes attributes that a Broker stamps: an event that passed through a Broker of
// the platform would bring that one's.
func stamp(e *ce.Event, now time.Time) {
	for name, v := range e.Extensions() {
		if text, _ := v.(string); strings.HasPrefix(name, "knative") || name == event.ExtTracestate && len(text) > maxTracestate {
			e.SetExtension(name, nil)
		}
	}
	e.SetExtension(event.ExtPartitionKey, e.Subject())
	e.SetExtension(event.ExtReceived, now.UTC().Format(time.RFC3339Nano))
}
