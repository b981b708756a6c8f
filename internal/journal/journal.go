// Package journal keeps every decision: a hash chain per shard, in Redis
// Streams and, once written out, in Parquet files.
//
// One script (lua/record.lua) checks that the player's state, contact history
// and the chain's head are still those decided on, and writes contact history,
// entries and head together. So of two concurrent decisions about one player
// the later one sees the contact history that the earlier one left, and an
// exclusion that comes in between wins.
//
// What is personal is sealed with a key per player, which erasure destroys;
// the chain stays verifiable without it.
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

// Journal writes and reads the journal. It is safe for concurrent use; any
// number of Journals may write to one Redis.
type Journal struct {
	rdb      redisdb.Client
	run      *redisdb.Runner
	replicas int                                     // see WaitReplicas
	heads    [player.Shards + 2]atomic.Pointer[head] // the last ones are those of Ops and Labels
	players  *lru.Cache[string, *known]
	most     int64        // bytes of contact histories in players
	bytes    atomic.Int64 // now
	moved    share        // of the states that callers named, those that had moved on
	made     *lru.Cache[string, *madeBy]

	commits, conflicts atomic.Uint64
}

// Stats are the commits sent to Redis about players, and how many of them it
// refused since this process did not know what is current: another wrote, or
// this one has just begun.
func (j *Journal) Stats() (commits, conflicts uint64) { return j.commits.Load(), j.conflicts.Load() }

// known is what this process last saw of a player. It is never changed.
type known struct {
	version  string // of the contact history; "": there is none
	contacts Bytes
	keyName  string
	gcm      cipher.AEAD
	newKey   string // to be written with the first entry; else ""
}

// New returns a Journal on rdb that remembers up to players contact histories,
// fewer when they take more than 1 KB on average: the longest has 18 KB.
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

// remember takes over what is current of a player.
func (j *Journal) remember(id string, k *known) {
	j.players.Remove(id) // what is replaced is not told as evicted
	j.bytes.Add(int64(len(k.contacts)))
	j.players.Add(id, k)
	for j.bytes.Load() > j.most && j.players.Len() > 1 {
		j.players.RemoveOldest()
	}
}

// WaitReplicas makes every entry wait until so many replicas have it (Redis
// WAIT), or fail with player.ErrNotReplicated after timeout: a retry then finds
// the entry and waits again. To be called before the first Record. It returns j.
func (j *Journal) WaitReplicas(replicas int, timeout time.Duration) *Journal {
	j.replicas = replicas
	j.run.Wait(replicas, timeout)
	return j
}

// History is a contact history as the caller has it.
type History interface{ Append(dst []byte) []byte }

// Bytes is a contact history as it was written.
type Bytes []byte

// Append implements [History].
func (b Bytes) Append(dst []byte) []byte { return append(dst, b...) }

// View is what a decision is to rest on.
type View struct {
	Seq uint64 // the entry's sequence number, if it is recorded
	// Contacts is the contact history: what the decision before in the same batch
	// left, or Bytes, as last written (empty: none). It must not be changed.
	Contacts History
	// Fresh: the state is no longer the one the caller named, but State.
	Fresh bool
	State *State
	// Recorded looks a decision about the player up in the journal in Redis.
	Recorded func(decision string) (seq uint64, ok bool, err error)
}

// Draft is what to record.
type Draft struct {
	Kind     string
	Time     time.Time
	Open     []byte  // JSON
	Personal []byte  // JSON
	Contacts History // the contact history from now on; nil: as it is
	Decision string
	Deadline time.Time // of a person's review; zero: none
}

// Given as a version, Anew records whatever the player's state is; Present, too,
// but for a player who was erased a while ago: then it gives ErrErased.
var (
	Anew    = player.Version{0: '*'}
	Present = player.Version{0: '+'}
)

// ErrErased means that the player was erased: nothing was recorded.
var ErrErased = errors.New("journal: the player was erased")

// share is how often something was so of late: a moving average over some
// thirty times. Of concurrent additions one may be lost.
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
	return newKnown() // a new player, for all we know: the script tells
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

// parseKnown reads a contact history's value and its sealing key. A history
// without its key (it should not happen) gets a new one.
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

// ParseVersion reads a state's version as player.updated carries it: 16 hex digits.
func ParseVersion(s string) (v player.Version, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(v) {
		return v, fmt.Errorf("journal: state version %q: want 16 hex digits", s)
	}
	return player.Version(b), nil
}
