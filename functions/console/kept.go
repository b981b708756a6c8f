package console

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/journal"
	"pitboss/internal/setup"
)

// looking is the body of a request to open the vault.
type looking struct {
	Note string `json:"note"` // why
}

// openKept shows what the law has the operator keep of an erased player. It first
// journals who looks and why.
func (f *Function) openKept(_ http.ResponseWriter, r *http.Request, in looking) (any, error) {
	if in.Note == "" {
		return nil, bad("note: say why you look; it is journaled with your name")
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
