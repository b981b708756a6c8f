package console

import (
	"net/http"
	"time"

	"pitboss/internal/search"
)

// pastDecisions are a player's decisions from the journal, newest first, with their
// outcomes. The console's own memory has only the newest since it started.
type pastDecisions struct {
	Decisions []*decision `json:"decisions"`
	Whole     bool        `json:"whole"`  // false: some were written out to segments that this console does not have
	Behind    bool        `json:"behind"` // the journal is still being indexed
	Next      string      `json:"next,omitzero"`
}

// listPast answers GET /api/players/{id}/decisions?until=TIME&before=CURSOR.
func (f *Function) listPast(w http.ResponseWriter, r *http.Request) (any, error) {
	// The search leaves out players whom the person may not see. GET /api/players/{id} journals the reading.
	q := search.Query{Player: r.PathValue("id"), Before: r.FormValue("before"), HitsOnly: true}
	if text := r.FormValue("until"); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, bad("until is a time like 2026-01-02T15:04:05Z, not " + clip(text, 40))
		}
		q.To = until.Add(time.Millisecond) // includes those of that moment
	}
	found, err := f.search(r, q)
	if err != nil {
		return nil, err
	}
	decisions, err := shownAll(r, found.Hits)
	return pastDecisions{Decisions: decisions, Whole: found.Whole, Behind: found.Behind, Next: found.Next}, err
}
