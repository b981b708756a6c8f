package console

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/access"
	"pitboss/internal/event"
)

// What only compliance sees of a player: the birth date, and the markers of harm
// with their numbers. Others are told that something is hidden.

func maskFacts(f *event.Facts) {
	f.BirthDate, f.Indicators, f.Cleared, f.Affordability = "", nil, nil, ""
}

func (v *playerView) mask() {
	v.Masked = true
	maskFacts(&v.Facts)
	for _, s := range v.Scorings {
		s.mask()
	}
	for i, d := range v.Decisions {
		v.Decisions[i] = d.masked()
	}
	for i := range v.Events {
		m := &v.Events[i]
		if m.Decision != nil {
			m.Decision = m.Decision.masked()
		}
		m.Data = maskData(m.Type, m.Data)
		m.Refused = maskRefusals(m.Type, m.Refused)
	}
}

// maskData takes out of an event's data what is hidden.
func maskData(typ string, data jsontext.Value) jsontext.Value {
	switch typ {
	case event.TypeIndicatorRaised:
		return jsontext.Value(`{"hidden":true}`)
	case event.TypeAccountRegistered, event.TypeAccountUpdated:
		var members map[string]jsontext.Value
		if json.Unmarshal(data, &members) != nil || members["birth_date"] == nil {
			return data
		}
		delete(members, "birth_date")
		out, err := json.Marshal(members, json.Deterministic(true))
		if err != nil {
			return nil
		}
		return out
	}
	return data
}

// maskRefusals takes out why an event was refused, where the reason may quote what
// is hidden.
func maskRefusals(typ string, list []refusal) []refusal {
	switch typ {
	case event.TypeIndicatorRaised, event.TypeAccountRegistered, event.TypeAccountUpdated:
		list = slices.Clone(list)
		for i := range list {
			list[i].Reason = ""
		}
	}
	return list
}

func (s *scoring) mask() {
	if s != nil {
		maskFacts(&s.Facts)
	}
}

const markerCode = "marker:"

// masked is d without the markers of harm it rests on.
func (d *decision) masked() *decision {
	c := *d // others may be reading d
	c.Reasons = nil
	hidden := false
	for _, r := range d.Reasons {
		if strings.HasPrefix(r.Code, markerCode) {
			hidden = true
			continue
		}
		c.Reasons = append(c.Reasons, r)
	}
	if !hidden {
		return d
	}
	c.Reasons = append(c.Reasons, event.Reason{Code: markerCode + "hidden", Text: "Markers of harm, which compliance sees."})
	c.Words = words(&c)
	return &c
}

func (j *journaled) mask() {
	if j != nil {
		j.Record, j.Personal = nil, nil
	}
}

// readFor is how long a person who looks at a player goes on looking: one entry.
const readFor = 10 * time.Minute

// reads remembers what was journaled of late, so that a page that asks again
// every two seconds is one reading.
type reads struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// fresh reports whether the reading is new, and notes it.
func (r *reads) fresh(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || len(r.last) > 10_000 {
		r.last = map[string]time.Time{}
	}
	if now.Sub(r.last[key]) < readFor {
		return false
	}
	r.last[key] = now
	return true
}

// mayRead refuses a person who may not look at the player, and journals that the
// others do: who, when, and from where (header Pitboss-From, or ?why=). A reading
// that cannot be journaled is refused, as changes are.
func (f *Function) mayRead(r *http.Request, player, jurisdiction, brand string) error {
	p := personOf(r)
	if !p.Sees(jurisdiction, brand) {
		return forbidden("this player is of a place that " + p.Name + " may not see")
	}
	if f.access.Open() || player == "" { // one's own machine: nobody to tell apart
		return nil
	}
	why := clip(r.FormValue("why"), 128)
	if why == "" {
		why = clip(r.Header.Get("Pitboss-From"), 128)
	}
	if !f.reads.fresh(p.Name+"\x00"+p.ID+"\x00"+player+"\x00"+why, f.now()) {
		return nil
	}
	return f.journal(r, whatRead, event.HashPlayer(player), why)
}

// mayAct refuses a person who does not have the role where the player is.
func (f *Function) mayAct(r *http.Request, role access.Role, player string) error {
	p := personOf(r)
	if p.Everywhere(role) {
		return nil
	}
	v := playerView{}
	if err := f.readState(r.Context(), player, &v); err != nil {
		return err
	}
	if !p.MayAt(role, v.Facts.Jurisdiction, v.Facts.Brand) {
		return forbidden("this player is of a place where " + p.Name + " is not " + string(role))
	}
	return nil
}
