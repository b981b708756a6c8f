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

// Only compliance sees a player's birth date, and the markers of harm with their
// numbers. Other people see that something is hidden.

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

// maskData removes from an event's data what only compliance may see.
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

// maskRefusals removes the reasons why an event was refused if they may quote hidden
// data.
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

// masked returns d without the markers of harm among its reasons.
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

// readFor is how long reading the same player again counts as one reading.
const readFor = 10 * time.Minute

// reads remembers the readings that were journaled lately. An open page reads every
// two seconds, and all of that is one reading.
type reads struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// fresh reports whether a reading is new, and remembers it.
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

// mayRead refuses a person who may not see the player. It journals who else reads
// the player's data, when, and from which page (header Pitboss-From, or ?why=). A
// reading that cannot be journaled is refused, as changes are.
func (f *Function) mayRead(r *http.Request, player, jurisdiction, brand string) error {
	p := personOf(r)
	if !p.Sees(jurisdiction, brand) {
		return forbidden("this player is of a place that " + p.Name + " may not see")
	}
	if f.access.Open() || player == "" { // open on this machine only: there are no people to tell apart
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

// mayAct refuses a person who lacks the role at the player's place.
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
