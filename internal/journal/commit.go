package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Bits of what the script found changed.
const (
	changedState    = 1
	changedContacts = 2
	changedHead     = 4
)

// changes is the reply of a script that recorded nothing.
type changes struct {
	what                       int64
	state, contacts, head, key string
}

// commit runs the script with the batch's drafts. done is false if the script recorded
// nothing because of a conflict; changed then has the current values.
func (b *batch) commit(ctx context.Context) (done bool, changed changes, err error) {
	after, newKey := *b.who, ""
	entries := make([]any, 0, 5*len(b.calls))
	seq, hash := b.h.seq, b.h.hash
	var history History
	sealed := false
	for _, c := range b.calls {
		d := c.draft
		if d == nil {
			continue
		}
		seq++
		raw := b.entry(seq, d)
		hash = link(hash, raw)
		deadline := ""
		if !d.Deadline.IsZero() {
			deadline = strconv.FormatInt(d.Deadline.Unix(), 10)
		}
		entries = append(entries, streamID(seq), raw, string(hash[:]), deadline, d.Decision)
		sealed = sealed || d.Personal != nil
		if d.Contacts != nil {
			history = d.Contacts
		}
	}
	contacts := ""
	if history != nil || sealed && b.who.newKey != "" {
		after.version = newVersion()
		if history != nil {
			after.contacts = history.Append(nil)
		}
		contacts = after.version + after.keyName + string(after.contacts)
		newKey, after.newKey = b.who.newKey, ""
	}
	b.j.commits.Add(1)
	checks := []any{b.stateText(), b.who.version, headBytes(b.h.seq, b.h.hash), contacts, headBytes(seq, hash), newKey, b.who.keyName}
	reply, err := b.j.send(ctx, b.shard, player.StateKey(b.id), ContactsKey(b.id), append(checks, entries...))
	switch {
	case err != nil:
		return false, changes{}, err
	case reply != nil:
		b.j.conflicts.Add(1)
		return false, *reply, nil
	}
	b.note(seq)
	b.h.seq, b.h.hash = seq, hash
	b.j.remember(b.id, &after)
	return true, changes{}, nil
}

// entry returns the bytes of a draft as entry seq.
func (b *batch) entry(seq uint64, d *Draft) []byte {
	e := Entry{Shard: b.shard, Seq: seq, Time: d.Time, Kind: d.Kind, Open: d.Open, Personal: d.Personal}
	if d.Personal == nil {
		return e.bytes(nil)
	}
	e.KeyName = b.who.keyName
	return e.bytes(b.who.gcm)
}

// stateText returns the version of the state for the script to check.
func (b *batch) stateText() string {
	if b.state != nil {
		return versionText(b.state.Version)
	}
	return versionText(b.calls[0].Version)
}

// send runs the script. It returns nil if everything was recorded.
func (j *Journal) send(ctx context.Context, shard int, state, contacts string, args []any) (*changes, error) {
	keys := []string{state, contacts, headKey(shard), streamKey(shard), sealPrefix(shard), reviewKey(shard)}
	v, err := j.run.Run(ctx, recordScript, keys, args...)
	if err != nil {
		return nil, fmt.Errorf("journal: record: %w", err)
	}
	reply, _ := v.([]any)
	switch {
	case len(reply) == 1 && reply[0] == int64(2):
		return nil, ErrErased
	case len(reply) == 1:
		return nil, nil
	case len(reply) == 6:
		c := &changes{state: text(reply[2]), contacts: text(reply[3]), head: text(reply[4]), key: text(reply[5])}
		c.what, _ = reply[1].(int64)
		return c, nil
	}
	return nil, fmt.Errorf("journal: record: unexpected reply %v", v)
}

// learn adopts the current values that the script returned.
func (b *batch) learn(c changes) (err error) {
	if c.what&changedState != 0 {
		if err := b.adopt([]byte(c.state)); err != nil {
			return err
		}
	}
	if c.what&changedContacts != 0 {
		if b.who, err = parseKnown(c.contacts, c.key); err != nil {
			return err
		}
	}
	if c.what&changedHead != 0 {
		b.h.learn(c.head)
	}
	return nil
}

// confirm reports whether Redis has the contact history that the batch was decided on. If
// not, it adopts the one that Redis has. It first waits until the replicas have all that
// was recorded before. WAIT covers only the writes of its own connection, so the script
// writes the head back unchanged.
func (b *batch) confirm(ctx context.Context) (stands bool, err error) {
	if b.j.replicas > 0 {
		if _, err := b.j.run.Run(ctx, confirmScript, []string{headKey(b.shard)}); err != nil {
			return false, fmt.Errorf("journal: confirm: %w", err)
		}
	}
	version, err := redisdb.Prefix(ctx, b.j.run, ContactsKey(b.id), 8)
	if err != nil {
		return false, fmt.Errorf("journal: confirm: %w", err)
	}
	if version == b.who.version {
		return true, nil
	}
	value, err := redisdb.Get(ctx, b.j.run, ContactsKey(b.id))
	var key []byte
	if err == nil && len(value) >= 8+keyNameSize {
		key, err = redisdb.Get(ctx, b.j.run, sealPrefix(b.shard)+string(value[8:8+keyNameSize]))
	}
	if err != nil {
		return false, fmt.Errorf("journal: confirm: %w", err)
	}
	b.who, err = parseKnown(string(value), string(key))
	return false, err
}

func (h *head) learn(b string) {
	h.forget()
	if len(b) == 8+len(Hash{}) {
		h.seq = binary.BigEndian.Uint64([]byte(b))
		copy(h.hash[:], b[8:])
	}
}
