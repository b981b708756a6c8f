// Package journal keeps every decision: a hash chain per shard, in Redis
// Streams and, once written out, in Parquet files.
//
// One script (lua/record.lua) checks that the player's state, contact history
// and the chain's head are still those decided on, and writes contact history,
// entry and head together. So of two concurrent decisions about one player one
// is decided again, and an exclusion that comes in between wins.
//
// What is personal is sealed with a key per player, which erasure destroys;
// the chain stays verifiable without it.
package journal

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"

	"pitboss/internal/player"
)

//go:embed lua/record.lua
var recordLua string

//go:embed lua/confirm.lua
var confirmLua string

var (
	recordScript  = player.NewScript(recordLua)
	confirmScript = player.NewScript(confirmLua)
)

// ErrConflict means that what a decision rests on kept changing. It is
// retryable.
var ErrConflict = errors.New("journal: what was decided on kept changing")

// attempts bounds how often one call decides anew.
const attempts = 8

// Journal writes and reads the journal. It is safe for concurrent use; any
// number of Journals may write to one Redis.
type Journal struct {
	rdb      redis.UniversalClient
	run      *player.Runner
	replicas int                     // see WaitReplicas
	heads    [player.Shards + 1]head // the last one is Ops'
	players  *lru.Cache[string, *known]
	most     int64        // bytes of contact histories in players
	bytes    atomic.Int64 // now
	moved    share        // of the states that callers named, those that had moved on

	commits, conflicts atomic.Uint64
}

// Stats are the commits sent to Redis about players, and how many of them it
// refused since this process did not know what is current: another wrote, or
// this one has just begun.
func (j *Journal) Stats() (commits, conflicts uint64) { return j.commits.Load(), j.conflicts.Load() }

// head is what this process last saw of a shard's chain. Decisions of a shard
// take turns here, since only one of them could be the next in the chain.
type head struct {
	mu   sync.Mutex
	seq  uint64
	hash Hash
}

// known is what this process last saw of a player. It is never changed.
type known struct {
	version  string // of the contact history; "": there is none
	contacts []byte
	keyName  string
	gcm      cipher.AEAD
	newKey   string // to be written with the first entry; else ""
}

// New returns a Journal on rdb that remembers up to players contact histories,
// fewer when they take more than 1 KB on average: the longest has 18 KB.
func New(rdb redis.UniversalClient, players int) *Journal {
	j := &Journal{rdb: rdb, run: player.NewRunner(rdb), most: int64(players) << 10}
	var err error
	j.players, err = lru.NewWithEvict(max(players, 1), func(_ string, k *known) { j.bytes.Add(-int64(len(k.contacts))) })
	if err != nil { // only for a size below 1
		panic(err)
	}
	return j
}

// remember takes over what is current of a player; the caller has the shard's turn.
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

// confirm waits for the replicas to have what was recorded before: WAIT asks
// about the writes of its own connection, so the head is written as it is.
func (j *Journal) confirm(ctx context.Context, shard int) error {
	if j.replicas == 0 {
		return nil
	}
	if _, err := j.run.Run(ctx, confirmScript, []string{HeadKey(shard)}); err != nil {
		return fmt.Errorf("journal: confirm: %w", err)
	}
	return nil
}

// View is what a decision is to rest on.
type View struct {
	Seq      uint64 // the entry's sequence number, if it is recorded
	Contacts []byte // as last written; nil: none
	// Fresh: the state is no longer the one the caller named. State and Version
	// hold the current one; a zero Version means that there is no such player.
	Fresh   bool
	State   []byte
	Version player.Version
}

// Draft is what to record.
type Draft struct {
	Kind     string
	Time     time.Time
	Open     []byte // JSON
	Personal []byte // JSON
	Contacts []byte // the contact history from now on; nil: as it is
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

// Record makes an entry about a player. decide is called with what the
// decision rests on, again after each conflict; a nil Draft records nothing.
// version is the state's version that the caller knows.
func (j *Journal) Record(ctx context.Context, id string, version player.Version, decide func(View) (*Draft, error)) (seq uint64, err error) {
	shard := player.Shard(id)
	h := &j.heads[shard]
	h.mu.Lock()
	defer h.mu.Unlock()
	who := j.known(id)
	view := View{Version: version}
	if asked := version != Anew && version != Present; asked {
		if j.moved.above(lookFrom) {
			if err := j.look(ctx, id, &view); err != nil {
				return 0, err
			}
		}
		defer func() { j.moved.add(view.Fresh) }()
	}
	for range attempts {
		view.Seq, view.Contacts = h.seq+1, who.contacts
		d, err := decide(view)
		if err != nil {
			return 0, err
		}
		if d == nil {
			return 0, j.confirm(ctx, shard)
		}
		after, reply, err := j.commit(ctx, shard, h, id, who, view.Version, d)
		if err != nil {
			j.players.Remove(id)
			h.seq, h.hash = 0, Hash{} // unknown: the next try reads it
			return 0, err
		}
		if reply == nil {
			j.remember(id, after)
			return h.seq, nil
		}
		j.conflicts.Add(1)
		if who, err = j.learn(h, who, reply, &view); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// lookFrom is the share of states that had moved on from which on the current
// one is read before the first try: reading costs about an eighth of a try that
// is lost. Under little load nearly none has, and there is nothing to read; with
// a backlog before decide most have, since the player plays on.
const lookFrom = 1. / 8

// look takes over the player's current state, if it is not the one in view.
func (j *Journal) look(ctx context.Context, id string, view *View) error {
	b, err := j.run.Get(ctx, player.StateKey(id))
	if err != nil {
		return fmt.Errorf("journal: state: %w", err)
	}
	v, state, err := player.ParseValue(b)
	if err != nil {
		return err
	}
	if v != view.Version {
		view.Fresh, view.State, view.Version = true, state, v
	}
	return nil
}

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

// commit sends one try. reply is nil when it was recorded.
func (j *Journal) commit(ctx context.Context, shard int, h *head, id string, who *known, version player.Version, d *Draft) (*known, []any, error) {
	e := Entry{Shard: shard, Seq: h.seq + 1, Time: d.Time, Kind: d.Kind, Open: d.Open, Personal: d.Personal}
	gcm := who.gcm
	if d.Personal == nil {
		gcm = nil
	} else {
		e.KeyName = who.keyName
	}
	raw := e.append(make([]byte, 0, 1024), gcm)
	hash := link(h.hash, raw)
	after := &known{version: who.version, contacts: who.contacts, keyName: who.keyName, gcm: who.gcm, newKey: who.newKey}
	contacts, newKey := "", ""
	if d.Contacts != nil || (d.Personal != nil && who.newKey != "") {
		after.version = newVersion()
		if d.Contacts != nil {
			after.contacts = d.Contacts
		}
		contacts = after.version + who.keyName + string(after.contacts)
		newKey, after.newKey = who.newKey, ""
	}
	deadline := ""
	if !d.Deadline.IsZero() {
		deadline = strconv.FormatInt(d.Deadline.Unix(), 10)
	}
	j.commits.Add(1)
	state := versionText(version)
	v, err := j.run.Run(ctx, recordScript,
		[]string{player.StateKey(id), ContactsKey(id), HeadKey(shard), StreamKey(shard), SealPrefix(shard), ReviewKey(shard)},
		state, who.version, headBytes(h.seq, h.hash), contacts, streamID(e.Seq), raw, hash[:], headBytes(e.Seq, hash),
		newKey, who.keyName, deadline, d.Decision)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: record: %w", err)
	}
	reply, _ := v.([]any)
	if len(reply) == 1 && reply[0] == int64(2) {
		return nil, nil, ErrErased
	}
	if len(reply) == 1 {
		h.seq, h.hash = e.Seq, hash
		return after, nil, nil
	}
	if len(reply) != 6 {
		return nil, nil, fmt.Errorf("journal: record: unexpected reply %v", v)
	}
	return nil, reply, nil
}

// learn takes over what the script said is current.
func (j *Journal) learn(h *head, who *known, reply []any, view *View) (*known, error) {
	changed, _ := reply[1].(int64)
	if changed&1 != 0 {
		v, state, err := player.ParseValue([]byte(text(reply[2])))
		if err != nil {
			return nil, err
		}
		view.Fresh, view.State, view.Version = true, state, v
	}
	if changed&2 != 0 {
		var err error
		if who, err = parseKnown(text(reply[3]), text(reply[5])); err != nil {
			return nil, err
		}
	}
	if changed&4 != 0 {
		b := text(reply[4])
		h.seq, h.hash = 0, Hash{}
		if len(b) == 8+len(Hash{}) {
			h.seq = binary.BigEndian.Uint64([]byte(b))
			copy(h.hash[:], b[8:])
		}
	}
	return who, nil
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
