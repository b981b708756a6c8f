package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/access"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/openid"
	"pitboss/internal/player"
	"pitboss/internal/search"
)

type personKey struct{}

// handler answers a request of the page. It returns a value to write as JSON, nil if
// it wrote the answer itself, or an error.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch v, err := h(w, r); {
	case err != nil:
		refuse(w, err)
	case v != nil:
		answer(w, v)
	}
}

// api routes the page's requests and names the role that each needs. Every change
// is a POST with a JSON body.
func (f *Function) api() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /api/me", handler(f.me))
	m.Handle("POST /api/login", taking(f.login))
	m.Handle("POST /api/logout", handler(f.logout))
	// A handler under some checks the places that the person may see. Those under all
	// answer about every place at once, so they need the role everywhere.
	some := func(role access.Role, pattern string, h handler) { m.Handle(pattern, f.needs(role, h)) }
	all := func(role access.Role, pattern string, h handler) {
		m.Handle(pattern, f.needs(role, everywhere(role, h)))
	}
	some(access.Viewer, "GET /api/stream", f.hub.stream)
	some(access.Viewer, "GET /api/live", f.live)
	some(access.Viewer, "GET /api/players", f.searchPlayers)
	some(access.Viewer, "GET /api/players/{id}", f.onePlayer)
	some(access.Viewer, "GET /api/players/{id}/decisions", f.stored(f.listPast))
	some(access.Viewer, "GET /api/decisions", f.listDecisions)
	some(access.Viewer, "GET /api/decisions.csv", f.stored(f.exportDecisions))
	some(access.Viewer, "GET /api/history", f.stored(f.showHistory))
	some(access.Viewer, "GET /api/decisions/{id}", f.oneDecision)
	some(access.Viewer, "GET /api/reviews", f.listReviews)
	some(access.Viewer, "GET /api/models", f.listModels)
	all(access.Viewer, "GET /api/experiments", f.listExperiments)
	all(access.Viewer, "GET /api/effects", f.listEffects)
	all(access.Viewer, "GET /api/report", f.stored(f.showReport))
	all(access.Viewer, "GET /api/deadletters", f.listDeadLetters)
	all(access.Viewer, "GET /api/keptout", f.stored(f.listKeptOut))
	some(access.Viewer, "GET /api/rules", f.listRules)
	all(access.Viewer, "GET /api/changes", f.listChanges)
	all(access.Operator, "POST /api/deadletters/replay", f.replayDeadLetters)
	all(access.Operator, "POST /api/deadletters/{id}/replay", f.replayDeadLetters)
	all(access.Operator, "POST /api/deadletters/{id}/discard", f.discardDeadLetter)
	all(access.Operator, "POST /api/models/{name}/promote", taking(f.promote))
	all(access.Operator, "POST /api/models/{name}/rollback", taking(f.promote))
	some(access.Compliance, "POST /api/reviews", taking(f.reviewMany))
	some(access.Compliance, "POST /api/reviews/assign", taking(f.assign))
	some(access.Compliance, "POST /api/reviews/{id}", taking(f.review))
	some(access.Compliance, "POST /api/players/{id}/erase", taking(f.erase))
	some(access.Compliance, "POST /api/players/{id}/export", taking(f.export))
	some(access.Compliance, "POST /api/players/{id}/exclude", taking(f.exclude))
	all(access.Compliance, "POST /api/players/{id}/kept", f.stored(taking(f.openKept)))
	some(access.Compliance, "GET /api/exports/{request}", f.stored(f.showExport))
	some(access.Compliance, "POST /api/switches", taking(f.turnSwitch))
	all(access.Viewer, "GET /api/proposals", f.listProposals)
	all(access.Viewer, "POST /api/proposals/{id}/approve", f.stored(f.settle(journal.Approved))) // settle checks the role that this kind of change needs
	all(access.Viewer, "POST /api/proposals/{id}/withdraw", f.stored(f.settle(journal.Withdrawn)))
	all(access.Viewer, "GET /api/policy", f.showPolicy)
	all(access.Compliance, "POST /api/policy", f.stored(takingUpTo(maxPolicyFile, f.changePolicy)))
	all(access.Viewer, "POST /api/policy/backtest", f.stored(takingUpTo(maxPolicyFile, f.tryPolicy)))
	return m
}

// The most bytes of the body of a change, and of one that holds a policy file.
const (
	maxChange     = 64 << 10
	maxPolicyFile = 1 << 20
)

// taking reads the JSON body of a change for h.
func taking[T any](h func(w http.ResponseWriter, r *http.Request, in T) (any, error)) handler {
	return takingUpTo(maxChange, h)
}

func takingUpTo[T any](most int64, h func(w http.ResponseWriter, r *http.Request, in T) (any, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		var in T
		if err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, most), &in, json.RejectUnknownMembers(true)); err != nil {
			return nil, bad("body: " + err.Error())
		}
		return h(w, r, in)
	}
}

// stored refuses what a console without Redis cannot answer.
func (f *Function) stored(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if f.store.journal == nil {
			return nil, errNoStore
		}
		return next(w, r)
	}
}

// needs refuses a person who has the role nowhere.
func (f *Function) needs(role access.Role, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			return nil, forbidden("only the console's own page may ask for this") // this holds for reads and streams, too
		}
		p, err := f.access.Who(r)
		if err != nil {
			return nil, &problem{unknownPerson(err), err.Error()}
		}
		if !p.May(role) {
			return nil, lacks(p, role)
		}
		if r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			return nil, &problem{http.StatusUnsupportedMediaType, "a change is sent as application/json"} // which a form of another site cannot send
		}
		ctx := context.WithValue(r.Context(), personKey{}, p)
		if !p.Until.IsZero() { // a stream ends with its session
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, p.Until.Sub(f.now()))
			defer end()
		}
		return next(w, r.WithContext(ctx))
	}
}

// everywhere refuses a person who has the role at some places only.
func everywhere(role access.Role, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if p := personOf(r); !p.Everywhere(role) {
			return nil, forbidden("this is about every place, and " + p.Name + " has only " + p.Key())
		}
		return next(w, r)
	}
}

func personOf(r *http.Request) *access.Person {
	p, _ := r.Context().Value(personKey{}).(*access.Person)
	return p
}

func answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)) // an event's attribute may hold any byte
	if err != nil {
		refuse(w, &problem{http.StatusInternalServerError, "the answer cannot be written as JSON: " + err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// problem is an error with its HTTP status.
type problem struct {
	status int
	detail string
}

func (p *problem) Error() string { return p.detail }

func bad(detail string) error       { return &problem{http.StatusBadRequest, detail} }
func forbidden(detail string) error { return &problem{http.StatusForbidden, detail} }

// lacks refuses a person without the role.
func lacks(p *access.Person, role access.Role) error {
	var has []string
	for _, r := range p.Roles {
		has = append(has, string(r))
	}
	return forbidden("this needs the role " + string(role) + "; " + p.Name + " has " + strings.Join(has, ", "))
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errConflict), errors.Is(err, errNoSink), errors.Is(err, errNoStore):
		return http.StatusConflict
	case errors.Is(err, errNotAllowed):
		return http.StatusForbidden
	case errors.Is(err, errNotJournaled):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// refuse answers with a problem document (RFC 9457).
func refuse(w http.ResponseWriter, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, errNotFound):
		p = &problem{http.StatusNotFound, "there is nothing with this id, or no longer"}
	default:
		p = &problem{statusOf(err), err.Error()}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.MarshalWrite(w, map[string]any{"title": http.StatusText(p.status), "status": p.status, "detail": p.detail})
}

// unknownPerson is the status for err of a sign-in. It is 503 if the token could not
// be checked, since it may be good.
func unknownPerson(err error) int {
	if errors.Is(err, openid.ErrUnreachable) {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// me tells the page who is signed in, or how to sign in.
func (f *Function) me(_ http.ResponseWriter, r *http.Request) (any, error) {
	a := f.access
	out := map[string]any{"person": nil, "login": !a.Open(), "sign_in": "", "token": a.TakesTokens()}
	if a.CanSignIn() {
		out["sign_in"] = access.SignInPath
	}
	if p, err := a.Who(r); err != nil {
		out["why"] = err.Error()
	} else {
		out["person"], out["broker"], out["sink"] = p, f.broker.known(), f.sink != nil
	}
	return out, nil
}

// bearer is the body of a sign-in.
type bearer struct {
	Token string `json:"token"`
}

// login exchanges a token for a session.
func (f *Function) login(w http.ResponseWriter, r *http.Request, in bearer) (any, error) {
	p, err := f.access.Verify(r.Context(), strings.TrimSpace(in.Token))
	if err == nil {
		err = f.access.Begin(w, r, p)
	}
	if err != nil {
		f.Log.Warn("sign-in refused")
		return nil, &problem{unknownPerson(err), err.Error()}
	}
	return map[string]any{"person": p}, nil
}

// logout ends the session here and answers with the address that ends it at the provider.
func (f *Function) logout(w http.ResponseWriter, r *http.Request) (any, error) {
	p, _ := f.access.Who(r)
	f.access.End(w, r)
	return map[string]string{"next": f.access.SignOutURL(r.Context(), p)}, nil
}

// live answers with what a page needs before its stream begins.
func (f *Function) live(w http.ResponseWriter, r *http.Request) (any, error) {
	fr, _ := f.frame(-1)
	fr.erased = nil // the new page shows none of their data yet
	now, who := f.now(), personOf(r)
	series := f.flow.series(now)
	if !who.Everywhere(access.Viewer) {
		f.flow.limitSeries(series, now, who.Sees)
	}
	return map[string]any{"frame": fr.forPerson(who), "series": series}, nil
}

func (f *Function) searchPlayers(w http.ResponseWriter, r *http.Request) (any, error) {
	n, bytes := f.players.kept()
	return map[string]any{"players": f.players.search(r.FormValue("q"), 30, personOf(r).Sees), "kept": n, "bytes": bytes}, nil
}

// playerView is one player as the page shows it.
type playerView struct {
	Player    string      `json:"player"`
	Seen      int64       `json:"seen"`
	Events    []moment    `json:"events"` // newest first
	Scorings  []*scoring  `json:"scorings"`
	Decisions []*decision `json:"decisions"`
	Facts     event.Facts `json:"facts"`
	State     *stateView  `json:"state"` // as Redis has it now
	StateNote string      `json:"state_note,omitzero"`
	Masked    bool        `json:"masked,omitzero"` // the birth date and the markers of harm are hidden
}

func (f *Function) onePlayer(w http.ResponseWriter, r *http.Request) (any, error) {
	id := r.PathValue("id")
	events, scored, count, known := f.players.snapshot(id)
	v := playerView{Player: id, Seen: count, Events: []moment{}, Scorings: []*scoring{}, Decisions: []*decision{}}
	for _, e := range slices.Backward(events) {
		m := momentOf(e, f.decisions)
		m.Refused = f.deadLetters.refused.of(e)
		v.Events = append(v.Events, m)
	}
	slices.SortStableFunc(v.Events, func(a, b moment) int { return b.Time.Compare(a.Time) })
	for _, s := range scored {
		if sc := scoringOf(s); sc != nil {
			v.Scorings = append(v.Scorings, sc)
			v.Facts = sc.Facts
		}
	}
	v.Decisions = f.decisions.find(search.Query{Player: id, Max: 100}).Decisions
	if err := f.readState(r.Context(), id, &v); err != nil {
		v.StateNote = err.Error()
	}
	if !known && v.State == nil && len(v.Decisions) == 0 {
		return nil, &problem{http.StatusNotFound, "there is no recent event of this player, and no state"}
	}
	who := personOf(r)
	if err := f.mayRead(r, id, v.Facts.Jurisdiction, v.Facts.Brand); err != nil {
		return nil, err
	}
	if !who.MayAt(access.Compliance, v.Facts.Jurisdiction, v.Facts.Brand) {
		v.mask()
	}
	return v, nil
}

// readState reads the player's state from Redis into v.
func (f *Function) readState(ctx context.Context, id string, v *playerView) error {
	if f.store.state == nil {
		return errNoStore
	}
	st, version, err := f.store.state.Read(ctx, id)
	if err != nil {
		return err
	}
	if version == (player.Version{}) {
		return nil // no such player
	}
	applied, late := st.Counts()
	now := f.now()
	if st.AsOf().After(now) {
		now = st.AsOf()
	}
	vector := f.store.set.Vector(nil, st, now)
	v.State = &stateView{Version: version.String(), AsOf: st.AsOf(), Applied: applied, Late: late, Features: map[string]float64{}}
	for i, n := range f.store.set.Names() {
		v.State.Features[n] = vector[i]
	}
	v.Facts = f.store.set.Facts(st)
	return nil
}

// oneDecision explains a decision: its inputs, what the models said and which
// features moved them, and the verdict of each rule.
func (f *Function) oneDecision(w http.ResponseWriter, r *http.Request) (any, error) {
	d, err := f.decisionOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := f.mayRead(r, d.Player, d.Jurisdiction, d.Brand); err != nil {
		return nil, err
	}
	record := f.journaled(r.Context(), d.Decision)
	inputs := f.inputsOf(d)
	if inputs == nil {
		inputs = f.inputsFrom(record)
	}
	if record != nil {
		c := *d // others may be reading d
		c.settledBy(record.about)
		d = &c
	}
	if !personOf(r).MayAt(access.Compliance, d.Jurisdiction, d.Brand) {
		d = d.masked()
		inputs.mask()
		record.mask()
	}
	out := map[string]any{"decision": d, "inputs": inputs, "journal": record}
	if v, ok := f.reviews()[d.Decision]; ok {
		out["review"] = v
	}
	return out, nil
}

// inputsOf finds the player.scored that a decision was made from, if it is in memory.
func (f *Function) inputsOf(d *decision) *scoring {
	_, scored, _, _ := f.players.snapshot(d.Player)
	for _, s := range slices.Backward(scored) {
		if sc := scoringOf(s); sc != nil && sc.Trigger.ID == d.Trigger.ID && sc.Trigger.Source == d.Trigger.Source {
			return sc
		}
	}
	return nil
}

// listDeadLetters answers with a page of dead letters, newest first. ?before=ID
// gives the next page.
func (f *Function) listDeadLetters(w http.ResponseWriter, r *http.Request) (any, error) {
	list, err := f.deadLetters.list(r.Context(), r.FormValue("before"), 100)
	return map[string]any{"dead_letters": list, "total": f.deadLetters.count()}, err
}

func (f *Function) listChanges(w http.ResponseWriter, r *http.Request) (any, error) {
	list, err := f.audit.changes(r.Context(), 200, r.FormValue("reads") != "")
	return map[string]any{"changes": list, "chained": f.store.journal != nil}, err
}

// keptOutDays is for how many days events that did not count are shown.
const keptOutDays = 7

// listKeptOut lists, by producer, the events that came in and did not count.
func (f *Function) listKeptOut(w http.ResponseWriter, r *http.Request) (any, error) {
	list, err := player.ReadKeptOut(r.Context(), f.store.rdb, f.now(), keptOutDays)
	return map[string]any{"kept_out": list}, err
}
