// Package journal keeps every decision in a hash chain per shard, first in Redis Streams
// and later in Parquet files.
//
// One script (lua/record.lua) checks that the player's state, the contact history and the
// chain's head are still those that were decided on, and writes contact history, entries
// and head atomically. So the later of two concurrent decisions about a player always sees
// the contact history that the earlier one left, and an exclusion in between wins.
//
// Personal data is sealed with a key per player. An erasure destroys the key; the chain
// can be verified without it.
package journal

import (
	"crypto/cipher"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

//go:embed lua/record.lua
var recordLua string

//go:embed lua/confirm.lua
var confirmLua string

var (
	recordScript  = redisdb.NewScript(recordLua)
	confirmScript = redisdb.NewScript(confirmLua)
)

// Journal writes and reads the journal. It is safe for concurrent use. Any number of
// processes may write to one Redis.
type Journal struct {
	rdb      redisdb.Client
	run      *redisdb.Runner
	replicas int                                     // see WaitReplicas
	heads    [player.Shards + 2]atomic.Pointer[head] // the last two are those of Ops and Labels
	players  *lru.Cache[string, *known]
	most     int64        // limit of bytes
	bytes    atomic.Int64 // size of the contact histories in players
	moved    share        // the share of callers' state versions that were outdated
	made     *lru.Cache[string, *madeBy]

	commits, conflicts atomic.Uint64
}

// Stats returns how many commits about players were sent to Redis, and how many of them
// conflicted: another process had written, or this one had nothing cached yet.
func (j *Journal) Stats() (commits, conflicts uint64) { return j.commits.Load(), j.conflicts.Load() }

// known caches what this process last saw of a player. It is immutable.
type known struct {
	version  string // of the contact history; "": there is none
	contacts Bytes
	keyName  string
	gcm      cipher.AEAD
	newKey   string // the sealing key, if it must be written with the next entry; else ""
}

// New returns a Journal on rdb. It caches up to players contact histories, or fewer if
// they take more than 1 KB on average; the longest takes 18 KB.
func New(rdb redisdb.Client, players int) *Journal {
	j := &Journal{rdb: rdb, run: redisdb.NewRunner(rdb), most: int64(players) << 10}
	var err error
	j.players, err = lru.NewWithEvict(max(players, 1), func(_ string, k *known) { j.bytes.Add(-int64(len(k.contacts))) })
	if err != nil { // only for a size below 1
		panic(err)
	}
	j.made = newMade()
	return j
}

// remember caches what is current of a player.
func (j *Journal) remember(id string, k *known) {
	j.players.Remove(id) // Add would not call the eviction callback for a replaced value
	j.bytes.Add(int64(len(k.contacts)))
	j.players.Add(id, k)
	for j.bytes.Load() > j.most && j.players.Len() > 1 {
		j.players.RemoveOldest()
	}
}

// WaitReplicas makes every commit wait until that many replicas have it (Redis WAIT), or
// fail with player.ErrNotReplicated after timeout. A retry then finds the entry and waits
// again. It must be called before the first Record, and returns j.
func (j *Journal) WaitReplicas(replicas int, timeout time.Duration) *Journal {
	j.replicas = replicas
	j.run.Wait(replicas, timeout)
	return j
}

// History is a contact history that can be serialized.
type History interface{ Append(dst []byte) []byte }

// Bytes is a serialized contact history.
type Bytes []byte

// Append implements [History].
func (b Bytes) Append(dst []byte) []byte { return append(dst, b...) }

// View is the input of a decision.
type View struct {
	Seq uint64 // the entry's sequence number, if it is recorded
	// Contacts is the contact history: the one that the previous decision of the batch
	// left, or Bytes as last written (empty: none). It must not be modified.
	Contacts History
	// Fresh says that the caller's version is outdated and State is the current state.
	Fresh bool
	State *State
	// Recorded looks up a decision about the player in the journal in Redis.
	Recorded func(decision string) (seq uint64, ok bool, err error)
}

// Draft is an entry to record.
type Draft struct {
	Kind     string
	Time     time.Time
	Open     []byte  // JSON
	Personal []byte  // JSON
	Contacts History // the new contact history; nil: unchanged
	Decision string
	Deadline time.Time // of a person's review; zero: none
}

// As a version, Anew records whatever the player's state is. Present does too, except for
// an erased player: then the error is ErrErased.
var (
	Anew    = player.Version{0: '*'}
	Present = player.Version{0: '+'}
)

// ErrErased means that the player was erased and nothing was recorded.
var ErrErased = errors.New("journal: the player was erased")

// share is the recent frequency of something, as a moving average over about thirty
// samples. Concurrent additions may get lost, which does no harm to an average.
type share struct{ bits atomic.Uint64 }

func (s *share) add(so bool) {
	x := math.Float64frombits(s.bits.Load()) * (1 - 1./32)
	if so {
		x += 1. / 32
	}
	s.bits.Store(math.Float64bits(x))
}

func (s *share) above(x float64) bool { return math.Float64frombits(s.bits.Load()) > x }

func (j *Journal) known(id string) *known {
	if k, ok := j.players.Get(id); ok {
		return k
	}
	return newKnown() // assume a new player; the script returns the history if there is one
}

func newKnown() *known {
	var key [32]byte
	var name [keyNameSize / 2]byte
	_, _ = rand.Read(key[:])
	_, _ = rand.Read(name[:])
	gcm, err := newGCM(key[:])
	if err != nil { // the key has the right size
		panic(err)
	}
	return &known{keyName: hex.EncodeToString(name[:]), gcm: gcm, newKey: string(key[:])}
}

func text(v any) string { s, _ := v.(string); return s }

// parseKnown reads a contact history's value and its sealing key. A history without its
// key, which should not happen, gets a new one.
func parseKnown(value, key string) (*known, error) {
	k := newKnown()
	if len(value) < 8+keyNameSize {
		return k, nil
	}
	k.version, k.contacts = value[:8], []byte(value[8+keyNameSize:])
	if len(key) != 32 {
		return k, nil
	}
	gcm, err := newGCM([]byte(key))
	if err != nil {
		return nil, err
	}
	k.keyName, k.gcm, k.newKey = value[8:8+keyNameSize], gcm, ""
	return k, nil
}

func newVersion() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return string(b[:])
}

func versionText(v player.Version) string {
	switch v {
	case player.Version{}:
		return ""
	case Anew:
		return "*"
	case Present:
		return "+"
	}
	return string(v[:])
}

func headBytes(seq uint64, h Hash) string {
	if seq == 0 {
		return ""
	}
	return string(append(binary.BigEndian.AppendUint64(nil, seq), h[:]...))
}

func streamID(seq uint64) string { return strconv.FormatUint(seq, 10) + "-0" }

// ParseVersion reads a state's version in the form of player.updated: 16 hex digits.
func ParseVersion(s string) (v player.Version, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(v) {
		return v, fmt.Errorf("journal: state version %q: want 16 hex digits", s)
	}
	return player.Version(b), nil
}
