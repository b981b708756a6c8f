package journal

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Vault keeps the documents about erased players that the law requires the operator to
// keep, apart from everything else. They are sealed with a key of the vault, can be found
// only with that key and the player's id, expire, and every opening is journaled.
type Vault struct {
	journal *Journal
	secret  string
}

const vaultKeyKey = "{ops}:vault"

//go:embed lua/vault.lua
var vaultLua string

var vaultScript = redisdb.NewScript(vaultLua)

// vaultAttempts bounds how often Put tries again because another writer was faster.
// Concurrent erasures of one player are rare.
const vaultAttempts = 100

// Vault returns the vault, which is sealed with secret. Without one, a key is generated
// and kept in Redis: that separates the vault from the rest, but does not protect it from
// someone who can read Redis.
func (j *Journal) Vault(secret string) *Vault { return &Vault{j, secret} }

func (v *Vault) key(ctx context.Context) ([]byte, error) {
	if v.secret != "" {
		sum := sha256.Sum256([]byte(v.secret))
		return sum[:], nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)
	if err := redisdb.Write(ctx, v.journal.run, "setnx", vaultKeyKey, fresh); err != nil {
		return nil, failed("vault", err)
	}
	key, err := v.journal.rdb.Get(ctx, vaultKeyKey).Bytes()
	return key, failed("vault", err)
}

// Kept is one document in a vault.
type Kept struct {
	Request  string         `json:"request"` // of the erasure
	Until    time.Time      `json:"until"`
	Document jsontext.Value `json:"document"`
}

// place returns the key of a player's documents in Redis, which does not reveal whose they
// are, and the cipher that seals them.
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

// Put keeps a document until k.Until. If there is one of the same request that is at least
// as long, nothing is added: a repeated erasure finds the same data, or less. A longer
// document is added beside it, because data came in meanwhile.
func (v *Vault) Put(ctx context.Context, id string, k Kept) error {
	at, gcm, err := v.place(ctx, id)
	if err != nil {
		return err
	}
	for range vaultAttempts {
		if done, err := v.put(ctx, at, gcm, k); done || err != nil {
			return err
		}
	}
	return failed("vault", player.ErrConflict)
}

// put returns false if another writer changed the documents after they were read.
func (v *Vault) put(ctx context.Context, at string, gcm cipher.AEAD, k Kept) (bool, error) {
	docs, was, err := v.read(ctx, at, gcm)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(docs, func(d Kept) bool { return d.Request == k.Request && len(d.Document) >= len(k.Document) }) {
		docs = append(docs, k)
	}
	var last time.Time
	for _, d := range docs {
		if d.Until.After(last) {
			last = d.Until
		}
	}
	plain, err := json.Marshal(docs) // written even if unchanged: the WAIT of the previous attempt may have failed
	if err != nil {
		return false, failed("vault", err)
	}
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	n, err := v.journal.run.Run(ctx, vaultScript, []string{at}, was, gcm.Seal(nonce, nonce, plain, []byte(at)), last.Unix())
	return n == int64(1), failed("vault", err)
}

// Opening records who opens a vault, and why.
type Opening struct {
	Player string    `json:"player"` // hashed
	By     string    `json:"by"`
	ByID   string    `json:"by_id,omitzero"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Open journals the opening and returns a player's documents, without expired ones. If the
// opening can't be journaled, it returns nothing.
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
	docs, _, err := v.read(ctx, at, gcm)
	out := docs[:0]
	for _, d := range docs {
		if o.At.Before(d.Until) {
			out = append(out, d)
		}
	}
	return out, err
}

// read returns the documents and the nonce with which they are sealed.
func (v *Vault) read(ctx context.Context, at string, gcm cipher.AEAD) (docs []Kept, nonce []byte, err error) {
	b, err := redisdb.Get(ctx, v.journal.run, at)
	if err != nil {
		return nil, nil, failed("vault", err)
	}
	if len(b) == 0 {
		return nil, nil, nil
	}
	if len(b) < gcm.NonceSize() {
		return nil, nil, failed("vault", ErrFormat)
	}
	nonce = b[:gcm.NonceSize()]
	plain, err := gcm.Open(nil, nonce, b[gcm.NonceSize():], []byte(at))
	if err == nil {
		err = json.Unmarshal(plain, &docs)
	}
	if err != nil {
		return nil, nil, failed("vault", err)
	}
	return docs, nonce, nil
}
