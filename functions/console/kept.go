package console

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/journal"
	"pitboss/internal/setup"
)

// openKept shows what the law made the operator keep of an erased player. Who
// looks and why is journaled first.
func (f *Function) openKept(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Note string `json:"note"`
	}
	if !body(w, r, &in) {
		return
	}
	if in.Note == "" {
		refuse(w, http.StatusBadRequest, "note: say why you look: it is journaled with your name")
		return
	}
	if f.store.journal == nil {
		failed(w, errNoStore)
		return
	}
	secret, err := setup.Secret("PITBOSS_VAULT_KEY_FILE", f.cfg.VaultKey)
	if err != nil {
		failed(w, err)
		return
	}
	who := personOf(r)
	docs, err := f.store.journal.Vault(secret).Open(r.Context(), r.PathValue("id"), journal.Opening{By: who.Name, ByID: who.ID, Reason: in.Note, At: f.now().UTC()})
	if err != nil {
		failed(w, err)
		return
	}
	kept := []jsontext.Value{}
	for _, d := range docs {
		kept = append(kept, d.Document)
	}
	answer(w, map[string]any{"kept": kept})
}
