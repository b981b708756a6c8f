package console

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/access"
	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// What a player may ask the operator for: to be excluded, and a copy of their data.

// exclusion is the body of a self-exclusion.
type exclusion struct {
	Scheme  string `json:"scheme"`
	Until   string `json:"until"` // a day; empty: it has no end
	Note    string `json:"note"`
	Confirm string `json:"confirm"` // the player's id
}

// exclude enters a self-exclusion that the player asked for. It sends
// protection.excluded to the Broker, as a platform would, and holds from then on.
func (f *Function) exclude(_ http.ResponseWriter, r *http.Request, in exclusion) (any, error) {
	id, data := r.PathValue("id"), event.Excluded{Scheme: cmp.Or(in.Scheme, "operator")}
	var err error
	if in.Until != "" {
		data.Until, err = time.Parse(time.DateOnly, in.Until)
	}
	switch {
	case err != nil || !data.Until.IsZero() && data.Until.Before(f.now()):
		return nil, bad("until is a future day, like 2027-01-02, or empty for an exclusion without end")
	case in.Confirm != id || in.Note == "" || len(in.Note) > 256 || len(data.Scheme) > 32:
		return nil, bad("type the player's id to confirm; the note says how the player asked, in at most 256 characters; scheme has at most 32")
	case f.sink == nil:
		return nil, errNoSink
	}
	if err := f.mayAct(r, access.Compliance, id); err != nil {
		return nil, err
	}
	if err := f.journal(r, "player.exclude", event.HashPlayer(id), in.Note); err != nil {
		return nil, err
	}
	sent := newID()
	return map[string]string{"event": sent}, f.send(r.Context(), event.TypeExcluded, id, sent, data)
}

// exportView is the part of privacy's copy that the readable copy shows.
type exportView struct {
	Player  string      `json:"player"`
	Request string      `json:"request"`
	Made    time.Time   `json:"made"`
	AsOf    time.Time   `json:"as_of"`
	Facts   event.Facts `json:"facts"`
	// Consents repeats the consents of the facts with when and where each was given.
	Consents []struct {
		About   string    `json:"about"`
		Granted bool      `json:"granted"`
		At      time.Time `json:"at"`
		Origin  string    `json:"origin"`
	} `json:"consents"`
	Features []struct {
		Name  string  `json:"name"`
		Means string  `json:"means"`
		Value float64 `json:"value"`
	} `json:"features"`
	Reminders []struct {
		Name string    `json:"name"`
		Due  time.Time `json:"due"`
	} `json:"reminders"`
	Contacts *struct {
		Sent []struct {
			Decision string    `json:"decision"`
			Kind     string    `json:"kind"`
			At       time.Time `json:"at"`
			Status   string    `json:"status"`
		} `json:"sent"`
	} `json:"contacts"`
	Journal []struct {
		Kind     string         `json:"kind"`
		Time     time.Time      `json:"time"`
		Open     jsontext.Value `json:"open"`
		Personal jsontext.Value `json:"personal"`
	} `json:"journal"`
	Missing string `json:"missing"`

	Decisions []*decision `json:"-"`
}

// showExport answers with a copy that privacy made: as JSON, or as a page for the
// player with ?as=html&language=de.
func (f *Function) showExport(w http.ResponseWriter, r *http.Request) (any, error) {
	request := r.PathValue("request")
	doc, err := f.store.journal.Export(r.Context(), request)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, &problem{http.StatusNotFound, "there is no copy for this request: it was not made yet, or it has expired"}
	}
	if err != nil {
		return nil, err
	}
	var v exportView
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	if !personOf(r).MayAt(access.Compliance, v.Facts.Jurisdiction, v.Facts.Brand) {
		return nil, errNotAllowed
	}
	if r.Method == http.MethodHead { // the page asks whether it is there yet
		return nil, nil
	}
	if err := f.journal(r, "player.export.read", event.HashPlayer(v.Player), request); err != nil {
		return nil, err
	}
	if r.FormValue("as") != "html" {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", `attachment; filename="export.json"`)
		_, _ = w.Write(doc)
		return nil, nil
	}
	for _, e := range v.Journal {
		if e.Kind != journal.KindDecision {
			continue
		}
		if d, err := decisionFrom(&journal.Entry{Open: e.Open, Personal: e.Personal}); err == nil {
			v.Decisions = append(v.Decisions, d)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := writeCopy(w, r.FormValue("language"), v); err != nil {
		f.Log.Warn("an export was cut short: " + err.Error())
	}
	return nil, nil
}
