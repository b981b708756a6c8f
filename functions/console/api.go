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
)

type personKey struct{}

// api lays out what the page asks for. Whatever changes something is a POST
// with a JSON body, and names the role it needs.
func (f *Function) api() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /api/me", f.me)
	m.HandleFunc("POST /api/login", f.login)
	m.HandleFunc("POST /api/logout", f.logout)
	// What is about players is held against the places that the person may see;
	// what is about all of them at once needs a role without limits.
	look := func(pattern string, h http.HandlerFunc) { m.Handle(pattern, f.needs(access.Viewer, h)) }
	all := func(pattern string, role access.Role, h http.HandlerFunc) {
		m.Handle(pattern, f.needs(role, everywhere(role, h)))
	}
	look("GET /api/stream", f.hub.ServeHTTP)
	look("GET /api/live", f.live)
	look("GET /api/players", f.searchPlayers)
	look("GET /api/players/{id}", f.onePlayer)
	look("GET /api/players/{id}/decisions", f.listPast)
	look("GET /api/decisions", f.listDecisions)
	look("GET /api/decisions.csv", f.exportDecisions)
	look("GET /api/history", f.showHistory)
	look("GET /api/decisions/{id}", f.oneDecision)
	look("GET /api/reviews", f.listReviews)
	look("GET /api/models", f.listModels)
	all("GET /api/experiments", access.Viewer, f.listExperiments)
	all("GET /api/effects", access.Viewer, f.listEffects)
	all("GET /api/report", access.Viewer, f.showReport)
	all("GET /api/deadletters", access.Viewer, f.listDeadLetters)
	all("GET /api/keptout", access.Viewer, f.listKeptOut)
	look("GET /api/rules", f.listRules)
	all("GET /api/changes", access.Viewer, f.listChanges)
	all("POST /api/deadletters/replay", access.Operator, f.replayDeadLetters)
	all("POST /api/deadletters/{id}/replay", access.Operator, f.replayDeadLetters)
	all("POST /api/deadletters/{id}/discard", access.Operator, f.discardDeadLetter)
	all("POST /api/models/{name}/promote", access.Operator, f.promote)
	all("POST /api/models/{name}/rollback", access.Operator, f.promote)
	m.Handle("POST /api/reviews", f.needs(access.Compliance, f.reviewMany))
	m.Handle("POST /api/reviews/assign", f.needs(access.Compliance, f.assign))
	m.Handle("POST /api/reviews/{id}", f.needs(access.Compliance, f.review))
	m.Handle("POST /api/players/{id}/erase", f.needs(access.Compliance, f.erase))
	m.Handle("POST /api/players/{id}/export", f.needs(access.Compliance, f.export))
	m.Handle("POST /api/players/{id}/exclude", f.needs(access.Compliance, f.exclude))
	m.Handle("POST /api/players/{id}/kept", f.needs(access.Compliance, everywhere(access.Compliance, f.openKept)))
	m.Handle("GET /api/exports/{request}", f.needs(access.Compliance, f.showExport))
	m.Handle("POST /api/switches", f.needs(access.Compliance, f.turnSwitch))
	all("GET /api/proposals", access.Viewer, f.listProposals)
	all("POST /api/proposals/{id}/approve", access.Viewer, f.settle(journal.Approved)) // the role depends on what is proposed
	all("POST /api/proposals/{id}/withdraw", access.Viewer, f.settle(journal.Withdrawn))
	all("GET /api/policy", access.Viewer, f.showPolicy)
	all("POST /api/policy", access.Compliance, f.changePolicy)
	all("POST /api/policy/backtest", access.Viewer, f.tryPolicy)
	return m
}

// needs lets a person with the role through.
func (f *Function) needs(role access.Role, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			refuse(w, http.StatusForbidden, "only the console's own page may ask for this") // reads too, streams too
			return
		}
		p, err := f.access.Who(r)
		if err != nil {
			refuse(w, unknownPerson(err), err.Error())
			return
		}
		if !p.May(role) {
			refuse(w, http.StatusForbidden, "this needs the role "+string(role)+"; "+p.Name+" has "+join(p.Roles))
			return
		}
		if r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			refuse(w, http.StatusUnsupportedMediaType, "a change is sent as application/json") // a form of another site cannot
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		ctx := context.WithValue(r.Context(), personKey{}, p)
		if !p.Until.IsZero() { // a stream ends with what lets it be seen
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, p.Until.Sub(f.now()))
			defer end()
		}
		next(w, r.WithContext(ctx))
	})
}

// everywhere refuses who has the role at some places only.
func everywhere(role access.Role, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := personOf(r); !p.Everywhere(role) {
			refuse(w, http.StatusForbidden, "this is about every place; "+p.Name+" has "+p.Key())
			return
		}
		next(w, r)
	}
}

func personOf(r *http.Request) *access.Person {
	p, _ := r.Context().Value(personKey{}).(*access.Person)
	return p
}

func join(roles []access.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

func answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)) // an event's attribute may hold any byte
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the answer cannot be written as JSON: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// refuse answers with a problem document (RFC 9457).
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func failed(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNotFound):
		refuse(w, http.StatusNotFound, "there is none of this id any more")
	case errors.Is(err, errConflict), errors.Is(err, errNoSink), errors.Is(err, errNoStore):
		refuse(w, http.StatusConflict, err.Error())
	case errors.Is(err, errNotAllowed):
		refuse(w, http.StatusForbidden, err.Error())
	case errors.Is(err, errNotJournaled):
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		refuse(w, http.StatusBadGateway, err.Error())
	}
}

// body reads a small JSON body into v.
func body(w http.ResponseWriter, r *http.Request, v any) bool { return bodyUpTo(w, r, v, 64<<10) }

func bodyUpTo(w http.ResponseWriter, r *http.Request, v any, most int64) bool {
	err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, most), v, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(false))
	if err != nil {
		refuse(w, http.StatusBadRequest, "body: "+err.Error())
	}
	return err == nil
}

// unknownPerson is the status where err keeps somebody out: a token that nobody
// could check may be good.
func unknownPerson(err error) int {
	if errors.Is(err, openid.ErrUnreachable) {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// me tells the page who asks and how to sign in.
func (f *Function) me(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
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
	answer(w, out)
}

// login exchanges a token for a session.
func (f *Function) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	w.Header().Set("Cache-Control", "no-store")
	if !body(w, r, &in) {
		return
	}
	p, err := f.access.Verify(r.Context(), strings.TrimSpace(in.Token))
	if err == nil {
		err = f.access.Begin(w, r, p)
	}
	if err != nil {
		f.Log.Warn("sign-in refused")
		refuse(w, unknownPerson(err), err.Error())
		return
	}
	answer(w, map[string]any{"person": p})
}

// logout ends the session here and says where to end it at the provider.
func (f *Function) logout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	p, _ := f.access.Who(r)
	f.access.End(w, r)
	answer(w, map[string]string{"next": f.access.SignOutURL(r.Context(), p)})
}

// live is what a page that just opened needs before the stream begins.
func (f *Function) live(w http.ResponseWriter, r *http.Request) {
	fr, _ := f.frame(-1)
	fr.erased = nil // a page that opens has nothing of them
	now, who := f.now(), personOf(r)
	series := f.flow.series(now)
	if !who.Everywhere(access.Viewer) {
		f.flow.limitSeries(series, now, who.Sees)
	}
	answer(w, map[string]any{"frame": fr.forPerson(who), "series": series})
}

func (f *Function) searchPlayers(w http.ResponseWriter, r *http.Request) {
	n, bytes := f.players.kept()
	answer(w, map[string]any{"players": f.players.search(r.FormValue("q"), 30, personOf(r).Sees), "kept": n, "bytes": bytes})
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
	Masked    bool        `json:"masked,omitzero"` // birth date and markers of harm
}

func (f *Function) onePlayer(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	events, scored, count, known := f.players.snapshot(id)
	v := playerView{Player: id, Seen: count, Events: []moment{}, Scorings: []*scoring{}, Decisions: []*decision{}}
	for i := len(events) - 1; i >= 0; i-- {
		m := momentOf(events[i], f.decisions)
		m.Refused = f.deadLetters.refused.of(events[i])
		v.Events = append(v.Events, m)
	}
	slices.SortStableFunc(v.Events, func(a, b moment) int { return b.Time.Compare(a.Time) })
	for _, s := range scored {
		if sc := scoringOf(s); sc != nil {
			v.Scorings = append(v.Scorings, sc)
			v.Facts = sc.Facts
		}
	}
	v.Decisions = f.decisions.find(query{Player: id, Max: 100}).Decisions
	if err := f.readState(r.Context(), id, &v); err != nil {
		v.StateNote = err.Error()
	}
	if !known && v.State == nil && len(v.Decisions) == 0 {
		refuse(w, http.StatusNotFound, "no event of this player came in lately, and there is no state of theirs")
		return
	}
	who := personOf(r)
	if !f.mayRead(w, r, id, v.Facts.Jurisdiction, v.Facts.Brand) {
		return
	}
	if !who.MayAt(access.Compliance, v.Facts.Jurisdiction, v.Facts.Brand) {
		v.mask()
	}
	answer(w, v)
}

// readState reads the player's state from Redis, without changing anything.
func (f *Function) readState(ctx context.Context, id string, v *playerView) error {
	if f.store.state == nil {
		return errNoStore
	}
	st, version, err := f.store.state.Read(ctx, id)
	if err != nil {
		return err
	}
	if version.String() == strings.Repeat("0", 16) {
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

// oneDecision is the whole why: what was known, what the models said and which
// features moved them, each rule.
func (f *Function) oneDecision(w http.ResponseWriter, r *http.Request) {
	d, err := f.decisionOf(r.Context(), r.PathValue("id"))
	if err != nil {
		failed(w, err)
		return
	}
	if !f.mayRead(w, r, d.Player, d.Jurisdiction, d.Brand) {
		return
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
	answer(w, out)
}

// inputsOf finds the player.scored that a decision was taken on.
func (f *Function) inputsOf(d *decision) *scoring {
	_, scored, _, _ := f.players.snapshot(d.Player)
	for i := len(scored) - 1; i >= 0; i-- {
		if sc := scoringOf(scored[i]); sc != nil && sc.Trigger.ID == d.Trigger.ID && sc.Trigger.Source == d.Trigger.Source {
			return sc
		}
	}
	return nil
}

// listDeadLetters answers with a page, newest first; ?before=ID gives the next.
func (f *Function) listDeadLetters(w http.ResponseWriter, r *http.Request) {
	list, err := f.deadLetters.list(r.Context(), r.FormValue("before"), 100)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]any{"dead_letters": list, "total": f.deadLetters.count()})
}

func (f *Function) listChanges(w http.ResponseWriter, r *http.Request) {
	list, err := f.audit.changes(r.Context(), 200, r.FormValue("reads") != "")
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]any{"changes": list, "chained": f.store.journal != nil})
}

// keptOutDays is how many days of events that did not count are shown.
const keptOutDays = 7

// listKeptOut tells which producers' events came and did not count.
func (f *Function) listKeptOut(w http.ResponseWriter, r *http.Request) {
	if f.store.rdb == nil {
		failed(w, errNoStore)
		return
	}
	list, err := player.ReadKeptOut(r.Context(), f.store.rdb, f.now(), keptOutDays)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]any{"kept_out": list})
}
