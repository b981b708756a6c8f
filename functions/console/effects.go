package console

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/policy"
)

// listEffects answers with the effect of each action against no message, by arm,
// outcome and segment. timer finds them in the journal. Their intervals are valid
// however often one looks.
func (f *Function) listEffects(w http.ResponseWriter, r *http.Request) (any, error) {
	out := struct {
		Settled time.Time     `json:"settled,omitzero"`
		Effects []policy.Told `json:"effects"`
	}{Effects: []policy.Told{}}
	if f.store.journal == nil {
		return out, nil
	}
	raw, err := f.store.journal.GuardFound(r.Context())
	if err != nil {
		return nil, err
	}
	var found policy.Found
	if raw != nil {
		if err := json.Unmarshal(raw, &found); err != nil {
			return nil, err
		}
	}
	out.Settled = found.Settled
	for _, e := range found.Effects {
		out.Effects = append(out.Effects, e.Tell())
	}
	return out, nil
}
