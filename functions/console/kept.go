package console

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/journal"
	"pitboss/internal/setup"
)

// openKept shows what the law has the operator keep of an erased player. It first
// journals who looks and why.
func (f *Function) openKept(w http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Note string `json:"note"`
	}
	if err := body(w, r, &in); err != nil {
		return nil, err
	}
	if in.Note == "" {
		return nil, bad("note: say why you look; it is journaled with your name")
	}
	if f.store.journal == nil {
		return nil, errNoStore
	}
	secret, err := setup.Secret("PITBOSS_VAULT_KEY_FILE", f.cfg.VaultKey)
	if err != nil {
		return nil, err
	}
	who := personOf(r)
	docs, err := f.store.journal.Vault(secret).Open(r.Context(), r.PathValue("id"), journal.Opening{By: who.Name, ByID: who.ID, Reason: in.Note, At: f.now().UTC()})
	if err != nil {
		return nil, err
	}
	kept := []jsontext.Value{}
	for _, d := range docs {
		kept = append(kept, d.Document)
	}
	return map[string]any{"kept": kept}, nil
}
