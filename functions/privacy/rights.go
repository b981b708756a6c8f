package privacy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/decide"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/setup"
)

// Rights erases and copies players. The function and the commands share it.
type Rights struct {
	set     *feature.Set
	store   *player.Store[feature.State]
	journal *journal.Journal
}

// NewRights returns Rights over the players in rdb.
func NewRights(rdb setup.Client, set *feature.Set) *Rights {
	return &Rights{set, player.NewStore(rdb, set, player.Config{CachePlayers: 1}), journal.New(rdb, 1)}
}

// LegalHold is what is kept of an erased player, because the law demands that
// an excluded player stays excluded (GDPR art. 17(3)(b)).
type LegalHold struct {
	Request    string            `json:"request"`
	Erased     time.Time         `json:"erased"`
	Exclusions []event.Exclusion `json:"exclusions"`
}

// forever is how long a legal hold stops marketing and prompts to play, unless
// it is released.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// erasure is the journal's entry of an erasure. It names nobody.
type erasure struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
	Held    bool      `json:"held"`
}

// Erase removes the player: state, duplicate memory, reminders, contact history
// and the sealing key. It may be repeated. held: an exclusion is kept.
func (r *Rights) Erase(ctx context.Context, id, request string, now time.Time) (held bool, err error) {
	st, version, err := r.store.Read(ctx, id)
	if err != nil {
		return false, err
	}
	var record []byte
	if x := r.set.Facts(st).Exclusions; len(x) > 0 {
		if record, err = json.Marshal(LegalHold{request, now, x}); err != nil {
			return false, fmt.Errorf("privacy: legal hold: %w", err)
		}
	}
	kept, err := r.journal.Hold(ctx, id, record)
	if err != nil {
		return false, err
	}
	held = kept != nil
	// The state first: a decision that is under way finds nobody to decide on.
	if err := r.store.Erase(ctx, id); err != nil {
		return false, err
	}
	if version == (player.Version{}) {
		if b, err := r.journal.Contacts(ctx, id); err != nil || (b == nil && !held) {
			return held, err // erased before, or never known
		}
	}
	open, err := json.Marshal(erasure{request, now, held})
	if err != nil {
		return false, fmt.Errorf("privacy: erase: %w", err)
	}
	contacts := &decide.Contacts{}
	if held {
		contacts.Hold = forever
	}
	_, err = r.journal.Record(ctx, id, journal.Anew, func(journal.View) (*journal.Draft, error) {
		return &journal.Draft{Kind: journal.KindErase, Time: now, Open: open, Contacts: contacts.Append(nil)}, nil
	})
	if err != nil {
		return false, err
	}
	return held, r.journal.Shred(ctx, id, held)
}

// Copy is everything Pitboss has of a player.
type Copy struct {
	Player    string           `json:"player"`
	Request   string           `json:"request"`
	Made      time.Time        `json:"made"`
	AsOf      time.Time        `json:"as_of,omitzero"`
	Facts     event.Facts      `json:"facts"`
	Features  jsontext.Value   `json:"features,omitempty"`
	Contacts  *decide.Contacts `json:"contacts"`
	Decisions []jsontext.Value `json:"decisions"` // what was decided, open and personal part
	LegalHold jsontext.Value   `json:"legal_hold,omitempty"`
}

// Export writes a copy of everything about the player as JSON.
func (r *Rights) Export(ctx context.Context, id, request string, now time.Time) ([]byte, error) {
	st, version, err := r.store.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	out := Copy{Player: id, Request: request, Made: now, Facts: r.set.Facts(st), AsOf: st.AsOf()}
	if version != (player.Version{}) {
		out.Features = r.set.AppendJSON(nil, r.set.Vector(nil, st, st.AsOf()))
	}
	b, err := r.journal.Contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	if out.Contacts, err = decide.ParseContacts(b); err != nil {
		return nil, err
	}
	hold, err := r.journal.LegalHold(ctx, id)
	if err != nil {
		return nil, err
	}
	out.LegalHold = hold
	mine := fmt.Sprintf("%q:%q", "player", id)
	err = r.journal.Each(ctx, player.Shard(id), 0, false, func(e *journal.Entry) error {
		if e.Kind == journal.KindDecision && strings.Contains(string(e.Personal), mine) {
			out.Decisions = append(out.Decisions, jsontext.Value(e.Open), jsontext.Value(e.Personal))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(&out, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("privacy: export: %w", err)
	}
	return doc, nil
}
