package privacy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
)

// Rights erases players and copies their data. The function and the commands share it.
type Rights struct {
	rdb      setup.Client
	set      *feature.Set
	store    *player.Store[feature.State]
	journal  *journal.Journal
	segments journal.Segments
	law      *policy.Files  // declares the retention times
	vault    *journal.Vault // holds what must be kept
}

// NewRights returns Rights over the players in rdb and the journal's entries in rdb and
// segments. models is the folder of the rule packs, which declare the retention times.
// secret seals the vault; if it is empty, a key in Redis does.
func NewRights(rdb setup.Client, set *feature.Set, segments journal.Segments, models, secret string) (*Rights, error) {
	return newRights(rdb, set, segments, models, secret, player.Config{})
}

func newRights(rdb setup.Client, set *feature.Set, segments journal.Segments, models, secret string, cfg player.Config) (*Rights, error) {
	cfg.CachePlayers = 1
	law, err := policy.Read(models)
	if err != nil {
		return nil, err
	}
	j := journal.New(rdb, 1).WaitReplicas(cfg.WaitReplicas, cmp.Or(cfg.WaitTimeout, time.Second))
	return &Rights{rdb: rdb, set: set, store: player.NewStore(rdb, set, cfg), journal: j, segments: segments, law: law,
		vault: j.Vault(secret)}, nil
}

// LegalHold keeps the exclusions of an erased player, since by law an excluded player
// must stay excluded (GDPR art. 17(3)(b)).
type LegalHold struct {
	Request    string            `json:"request"`
	Erased     time.Time         `json:"erased"`
	Exclusions []event.Exclusion `json:"exclusions"`
}

// erasure is the journal's entry of an erasure. It names nobody.
type erasure struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
	Held    bool      `json:"held"`
}

// attempts bounds how often an erasure starts again because the player's state has
// changed.
const attempts = 10

// Erase removes the player's state, duplicate memory, reminders, contact history,
// copies that wait to be fetched, dead letters in Redis, and the sealing key. For
// player.Config.ErasedFor a mark stops earlier events from bringing the player back.
// It may be repeated wherever it failed before. held reports whether an exclusion is
// kept.
func (r *Rights) Erase(ctx context.Context, id, request string, now time.Time) (held bool, err error) {
	for range attempts {
		if held, err = r.erase(ctx, id, request, now); !errors.Is(err, player.ErrConflict) {
			break
		}
	}
	return held, err
}

// erase fails with player.ErrConflict if the state changed after it was read for what
// the law has us keep: an exclusion may have come in.
func (r *Rights) erase(ctx context.Context, id, request string, now time.Time) (held bool, err error) {
	st, version, err := r.store.Read(ctx, id)
	if err != nil {
		return false, err
	}
	facts := r.set.Facts(st)
	if version != (player.Version{}) {
		if err := r.keep(ctx, id, request, &facts, now); err != nil {
			return false, err
		}
	}
	until, err := r.hold(ctx, id, request, &facts, now)
	if err != nil {
		return false, err
	}
	held = !until.IsZero()
	// Erase the state first. A decision that is under way then finds no player, and a
	// copy that is being made sees the mark or is dropped below.
	if err := r.store.Erase(ctx, id, version, now); err != nil {
		return false, err
	}
	if err := r.dropCopies(ctx, id); err != nil {
		return false, err
	}
	past, err := r.unlink(ctx, id, held)
	if err != nil {
		return false, err
	}
	if version == (player.Version{}) {
		if b, err := r.journal.Contacts(ctx, id); err != nil || (b == nil && !held) {
			return held, err // the player was erased before, or never existed
		}
	}
	open, err := json.Marshal(erasure{request, now, held})
	if err != nil {
		return false, fmt.Errorf("privacy: erase: %w", err)
	}
	contacts := &policy.Contacts{}
	if held {
		contacts.Hold, contacts.Links = until, past.Links
	}
	_, err = r.journal.Record(ctx, id, journal.Anew, func(journal.View) (*journal.Draft, error) {
		return &journal.Draft{Kind: journal.KindErase, Time: now, Open: open, Contacts: contacts}, nil
	})
	if err != nil {
		return false, err
	}
	if err := r.journal.Shred(ctx, id, held); err != nil {
		return false, err
	}
	return held, r.stillHeld(ctx, id, until)
}

// stillHeld fails with player.ErrConflict if there is a hold that ends later than the
// one that this erasure wrote into the contact history. Another erasure left it, of a
// player who was excluded in the meantime, and this one may have overwritten it in the
// history. Every erasure writes its hold first, so of two at once the later sees it here.
func (r *Rights) stillHeld(ctx context.Context, id string, until time.Time) error {
	now, err := r.journal.Hold(ctx, id, nil, time.Time{})
	if err == nil && now.After(until.Add(clocks)) {
		err = fmt.Errorf("privacy: erase: another erasure holds the player until %s: %w", now.Format(time.RFC3339), player.ErrConflict)
	}
	return err
}

// clocks is how far the clocks of Redis and of an instance may be apart.
const clocks = time.Minute

// hold stores the legal hold of an excluded player and returns until when it lasts,
// zero if there is none. If the player's state is already gone, the stored hold stays.
func (r *Rights) hold(ctx context.Context, id, request string, facts *event.Facts, now time.Time) (time.Time, error) {
	if len(facts.Exclusions) == 0 {
		return r.journal.Hold(ctx, id, nil, time.Time{})
	}
	record, err := json.Marshal(LegalHold{request, now, facts.Exclusions})
	if err != nil {
		return time.Time{}, fmt.Errorf("privacy: legal hold: %w", err)
	}
	return r.journal.Hold(ctx, id, record, r.heldUntil(facts))
}

// unlink removes the account from the indexes of the persons it is linked to, unless
// it is held: then the exclusion still binds the person's other accounts. It returns
// the contact history from before.
func (r *Rights) unlink(ctx context.Context, id string, held bool) (*policy.Contacts, error) {
	c, err := r.contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := 0; !held && i < len(c.Links); i++ {
		if err := r.journal.Unindex(ctx, c.Links[i].Person, id); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// contacts reads the player's contact history.
func (r *Rights) contacts(ctx context.Context, id string) (*policy.Contacts, error) {
	b, err := r.journal.Contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	return policy.ParseContacts(b)
}

// dropCopies removes copies that wait to be fetched, and dead letters.
func (r *Rights) dropCopies(ctx context.Context, id string) error {
	if err := r.journal.DropExports(ctx, id); err != nil {
		return err
	}
	return r.journal.DropDeadLetters(ctx, id, time.Time{})
}
