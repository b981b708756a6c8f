package journal

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Vault keeps what the law makes the operator keep of erased players, apart from
// everything else: under a key of its own, found only by who has that key and the
// player's id, gone when its time is over, and journaled each time it is opened.
type Vault struct {
	journal *Journal
	secret  string
}

const vaultKeyKey = "{ops}:vault"

// Vault returns the vault. secret is what it is sealed by; without one a key is
// made and kept in Redis, which parts it from the rest but not from whoever reads
// Redis.
func (j *Journal) Vault(secret string) *Vault { return &Vault{j, secret} }

func (v *Vault) key(ctx context.Context) ([]byte, error) {
	if v.secret != "" {
		sum := sha256.Sum256([]byte(v.secret))
		return sum[:], nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)
	err := v.journal.rdb.SetNX(ctx, vaultKeyKey, fresh, 0).Err()
	if err != nil {
		return nil, fmt.Errorf("journal: vault: %w", err)
	}
	key, err := v.journal.rdb.Get(ctx, vaultKeyKey).Bytes()
	if err != nil {
		return nil, fmt.Errorf("journal: vault: %w", err)
	}
	return key, nil
}

// Kept is one document in a vault.
type Kept struct {
	Request  string         `json:"request"` // of the erasure
	Until    time.Time      `json:"until"`
	Document jsontext.Value `json:"document"`
}

// place is the key in Redis of a player's documents, which tells nobody whose
// they are, and what they are sealed by.
func (v *Vault) place(ctx context.Context, id string) (at string, gcm cipher.AEAD, err error) {
	key, err := v.key(ctx)
	if err != nil {
		return "", nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("player\x00" + id))
	name := hex.EncodeToString(mac.Sum(nil)[:16])
	gcm, err = newGCM(key)
	return tag(player.Shard(name)) + ":w:" + name, gcm, err
}

// Put keeps a document until its time is over. Where one of the same request is
// kept that is no shorter it is left at that: an erasure that is repeated finds the
// same, or less. A longer one is kept beside it: something came in meanwhile.
func (v *Vault) Put(ctx context.Context, id string, k Kept) error {
	at, gcm, err := v.place(ctx, id)
	if err != nil {
		return err
	}
	docs, err := v.read(ctx, at, gcm)
	if err != nil {
		return err
	}
	last := k.Until
	for _, d := range docs {
		if d.Request == k.Request && len(d.Document) >= len(k.Document) {
			return nil
		}
		if d.Until.After(last) {
			last = d.Until
		}
	}
	plain, err := json.Marshal(append(docs, k))
	if err != nil {
		return fmt.Errorf("journal: vault: %w", err)
	}
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	_, err = v.journal.rdb.TxPipelined(ctx, func(p redisdb.Pipeliner) error {
		p.Set(ctx, at, gcm.Seal(nonce, nonce, plain, []byte(at)), 0)
		p.ExpireAt(ctx, at, last) // Redis sweeps it
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal: vault: %w", err)
	}
	return nil
}

// Opening is who looks into a vault, and why.
type Opening struct {
	Player string    `json:"player"` // hashed
	By     string    `json:"by"`
	ByID   string    `json:"by_id,omitzero"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Open journals who looks and why, and returns what is kept of a player. What
// cannot be journaled is not opened. A document whose time is over is left out.
func (v *Vault) Open(ctx context.Context, id string, o Opening) ([]Kept, error) {
	o.Player = event.HashPlayer(id)
	raw, err := json.Marshal(o)
	if err == nil {
		err = v.journal.RecordOps(ctx, &Draft{Kind: KindOpen, Time: o.At, Open: raw})
	}
	if err != nil {
		return nil, fmt.Errorf("journal: vault: the opening can't be journaled: %w", err)
	}
	at, gcm, err := v.place(ctx, id)
	if err != nil {
		return nil, err
	}
	docs, err := v.read(ctx, at, gcm)
	out := docs[:0]
	for _, d := range docs {
		if o.At.Before(d.Until) {
			out = append(out, d)
		}
	}
	return out, err
}

func (v *Vault) read(ctx context.Context, at string, gcm cipher.AEAD) (docs []Kept, err error) {
	b, err := v.journal.rdb.Get(ctx, at).Bytes()
	if errors.Is(err, redisdb.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: vault: %w", err)
	}
	if len(b) < gcm.NonceSize() {
		return nil, fmt.Errorf("journal: vault: %w", ErrFormat)
	}
	plain, err := gcm.Open(nil, b[:gcm.NonceSize()], b[gcm.NonceSize():], []byte(at))
	if err == nil {
		err = json.Unmarshal(plain, &docs)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: vault: %w", err)
	}
	return docs, nil
}
