package console

import (
	"net/http"
	"strconv"
	"time"

	"pitboss/internal/journal"
)

// pastPage is how many decisions one look into the journal shows.
const pastPage = 50

// pastDecisions are a player's, out of the journal, the newest first: the
// console's own memory begins when it starts, and is short.
type pastDecisions struct {
	Decisions []*decision `json:"decisions"`
	Whole     bool        `json:"whole"`         // false: some were written out to segments that this console does not have
	Next      uint64      `json:"next,omitzero"` // there are older ones: ask for those before it
}

// listPast answers GET /api/players/{id}/decisions?until=TIME&before=NUMBER.
func (f *Function) listPast(w http.ResponseWriter, r *http.Request) {
	if f.store.journal == nil {
		failed(w, errNoStore)
		return
	}
	var up journal.Up
	var err error
	if text := r.FormValue("until"); text != "" {
		if up.Until, err = time.Parse(time.RFC3339, text); err != nil {
			refuse(w, http.StatusBadRequest, "until is a time like 2026-01-02T15:04:05Z, not "+clip(text, 40))
			return
		}
	}
	if text := r.FormValue("before"); text != "" {
		if up.Before, err = strconv.ParseUint(text, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "before is the number that an answer gave as next, not "+clip(text, 40))
			return
		}
	}
	entries, whole, err := f.store.journal.DecisionsOf(r.Context(), f.store.segments, r.PathValue("id"), up, pastPage+1)
	if err != nil {
		failed(w, err)
		return
	}
	out := pastDecisions{Decisions: []*decision{}, Whole: whole}
	if len(entries) > pastPage {
		entries = entries[:pastPage]
		out.Next = entries[pastPage-1].Seq
	}
	for _, e := range entries {
		d, err := decisionFrom(e)
		if err != nil {
			failed(w, err)
			return
		}
		out.Decisions = append(out.Decisions, d)
	}
	answer(w, out)
}
