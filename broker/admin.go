package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"pitboss/internal/access"
)

// Stats holds the Broker's counts since it was opened.
type Stats struct {
	Accepted    int64          `json:"accepted"` // events accepted, including replies
	Refused     int64          `json:"refused"`  // answered 4xx
	Waiting     int64          `json:"waiting"`  // events with unfinished deliveries
	DeadLetters uint64         `json:"dead_letters"`
	Full        string         `json:"full,omitempty"` // why the Broker accepts no events now
	Lost        []Lost         `json:"lost,omitempty"` // events lost because the log was damaged
	Triggers    []TriggerStats `json:"triggers"`
}

// TriggerStats holds the counts of one Trigger's events.
type TriggerStats struct {
	Name         string `json:"name"`
	Subscriber   string `json:"subscriber"`
	Delivered    int64  `json:"delivered"`
	Replies      int64  `json:"replies"`
	Unmatched    int64  `json:"unmatched"` // of the Trigger's type, but its filter did not match
	Retried      int64  `json:"retried"`   // attempts after the first
	DeadLettered int64  `json:"dead_lettered"`
	InFlight     int    `json:"in_flight"` // in memory: queued, in an attempt or waiting for a retry
	Lag          int    `json:"lag"`       // in_flight plus the events held in the log for this Trigger
}

// Stats returns the counts.
func (b *Broker) Stats() Stats {
	s := Stats{Accepted: b.accepted.Load(), Refused: b.refused.Load(), Waiting: b.waiting(), DeadLetters: b.DeadLetters.Count(), Lost: b.Lost()}
	if err := b.Trouble(); err != nil {
		s.Full = err.Error()
	}
	for _, t := range b.triggers {
		now := t.stats()
		s.Triggers = append(s.Triggers, TriggerStats{Name: t.name, Subscriber: t.subscriber.address(),
			Delivered: t.delivered.Load(), Replies: t.replies.Load(), Unmatched: t.unmatched.Load(), Retried: t.retried.Load(),
			DeadLettered: t.deadLettered.Load(), InFlight: now.count, Lag: now.lag})
	}
	return s
}

// handler serves ingress, /healthz (200 once ready) and the admin API under /admin,
// which only this machine can use.
func (b *Broker) handler() http.Handler {
	admin := http.NewServeMux()
	admin.HandleFunc("GET /admin/stats", b.serveStats)
	admin.HandleFunc("GET /admin/deadletters", b.serveList)
	admin.HandleFunc("GET /admin/deadletters/{id}", b.serveGet)
	admin.HandleFunc("DELETE /admin/deadletters/{id}", b.serveRemove)
	admin.HandleFunc("POST /admin/deadletters/{id}/replay", b.serveReplay)
	admin.HandleFunc("POST /admin/deadletters/replay", b.serveReplayAll)

	mux := http.NewServeMux()
	mux.HandleFunc("/", b.serveIngress)
	mux.Handle("/admin/", loopbackOnly(http.NewCrossOriginProtection().Handler(admin)))
	mux.Handle("GET /healthz", b.healthz())
	for path, h := range b.cfg.Extra {
		mux.Handle(path, h)
	}
	return mux
}

func (b *Broker) healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := b.healthy(r.Context()); err != nil {
			problem(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "ready", "lost": b.Lost()})
	})
}

func (b *Broker) healthy(ctx context.Context) error {
	if !b.Ready() {
		return errors.New("the Broker is not ready")
	}
	if err := b.Trouble(); err != nil {
		return err
	}
	if check := b.health.Load(); check != nil {
		return (*check)(ctx)
	}
	return nil
}

// SetHealth adds check to /healthz, which answers 503 with check's error. Local mode
// uses it for the readiness of its functions. Without it only the Broker's own
// readiness counts.
func (b *Broker) SetHealth(check func(context.Context) error) { b.health.Store(&check) }

// loopbackOnly refuses requests from other machines, and requests for a host name
// other than localhost: a web page could make its name resolve to this machine.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !access.FromThisMachine(r) {
			problem(w, http.StatusForbidden, "the admin API serves this machine only, by a loopback address or as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *Broker) serveStats(w http.ResponseWriter, _ *http.Request) {
	respond(w, b.Stats(), nil)
}

func (b *Broker) serveList(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil || limit <= 0 || limit > 1000 {
		limit = 100
	}
	list, from := b.DeadLetters.List, r.FormValue("after")
	if r.FormValue("order") == "newest" {
		list, from = b.DeadLetters.Newest, r.FormValue("before")
	}
	letters, err := list(r.Context(), from, limit)
	if letters == nil {
		letters = []DeadLetter{}
	}
	respond(w, letters, err)
}

func (b *Broker) serveGet(w http.ResponseWriter, r *http.Request) {
	letter, err := b.DeadLetters.Get(r.Context(), r.PathValue("id"))
	respond(w, letter, err)
}

func (b *Broker) serveRemove(w http.ResponseWriter, r *http.Request) {
	respond(w, struct{}{}, b.DeadLetters.Remove(r.Context(), r.PathValue("id")))
}

func (b *Broker) serveReplay(w http.ResponseWriter, r *http.Request) {
	err := b.DeadLetters.Replay(r.Context(), r.PathValue("id"))
	respond(w, map[string]int{"replayed": 1}, err)
}

func (b *Broker) serveReplayAll(w http.ResponseWriter, r *http.Request) {
	n, err := b.DeadLetters.ReplayAll(r.Context())
	respond(w, map[string]int{"replayed": n}, err)
}

func respond(w http.ResponseWriter, v any, err error) {
	var body []byte
	if err == nil {
		body, err = json.Marshal(v)
	}
	switch {
	case errors.Is(err, ErrNoDeadLetter):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrUnreadable):
		problem(w, http.StatusConflict, err.Error())
	case err != nil:
		problem(w, http.StatusInternalServerError, err.Error())
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(bytes.ToValidUTF8(body, []byte("\ufffd")), '\n')) // an attribute can hold any byte
	}
}
