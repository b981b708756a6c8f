package policy

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"pitboss/internal/event"
)

// Contacts is a player's contact history. Caps, spacing, the one-bonus rule and
// revocation are checked against it. It is stored beside the journal and changes
// only in one commit with it.
type Contacts struct {
	Bonuses uint64 // how many were ever recommended
	// Hold stops marketing, and service that asks to play, until this time: an
	// exclusion or a withdrawn consent was reported, and the player's state may
	// not have it yet. Zero: nothing is on hold.
	Hold time.Time
	Sent []Sent // in order of time, at most contactsKept, none older than contactsFor
	Made []Made // recent decisions, in order of time
	// Raised lists the markers of harm seen in the last 31 days.
	Raised []Raised
	Links  []Link // to the persons that the account may belong to, sorted by person
}

// Sent is one issued recommendation.
type Sent struct {
	Decision string
	Action   uint32 // ActionCode
	At       time.Time
	Expires  time.Time
	Kind     byte // 's', 'p' or 'm'
	Bonus    bool
	Status   byte // StatusOpen, …
}

// What became of a recommendation.
const (
	StatusOpen      = 'o'
	StatusDelivered = 'd'
	StatusAccepted  = 'a'
	StatusDismissed = 'x'
	StatusExpired   = 'e'
	StatusRevoked   = 'r'
)

// Made remembers that a decision was made and where the journal has it.
type Made struct {
	Key uint64 // DecisionKey
	Seq uint64
	At  time.Time // see note
}

// How much is remembered. The longest cap of a rule or policy is 31 days.
const (
	contactsKept = 256
	contactsFor  = 31 * 24 * time.Hour
	madeKept     = 256
	madeFor      = 24 * time.Hour
)

// ActionCode is the hash that stands for an action in a contact history.
func ActionCode(id string) uint32 { return uint32(xxhash.Sum64String(id)) }

// DecisionKey is the hash that stands for a decision in Contacts.Made.
func DecisionKey(id string) uint64 { return xxhash.Sum64String(id) }

// Find returns the journal's sequence number of a recent decision.
func (c *Contacts) Find(decision string) (seq uint64, ok bool) {
	key := DecisionKey(decision)
	for i := len(c.Made) - 1; i >= 0; i-- {
		if c.Made[i].Key == key {
			return c.Made[i].Seq, true
		}
	}
	return 0, false
}

// Remember says how far Find can be trusted about an event.
type Remember int

// A history remembers the decisions of 24 hours, but at most 256 of them. A decision
// on an older event may be forgotten, and one on a younger event too if there were
// more than 256.
const (
	Knows   Remember = iota // Find's answer is final
	Unsure                  // the decision may be forgotten: ask the journal
	TooLate                 // nothing remembers decisions that old
)

// Remembers says how far Find can be trusted about an event that happened at a time.
func (c *Contacts) Remembers(happened, now time.Time) Remember {
	switch {
	case now.Sub(happened) > madeFor:
		return TooLate
	case len(c.Made) >= madeKept && happened.Before(c.Made[0].At.Add(time.Second)): // At is kept to the second
		return Unsure
	}
	return Knows
}

// note remembers that a decision on an event was made.
//
// Invariant: an event whose entry was dropped to keep 256 happened no later than
// Made[0].At, so that [Contacts.Remembers] never takes it for new. Hence At is the
// latest of three times: now, when the event happened (its producer's clock may be
// ahead), and the previous entry's At (the clocks of instances differ).
func (c *Contacts) note(id string, seq uint64, now, happened time.Time) {
	at := now
	if happened.After(at) {
		at = happened
	}
	if n := len(c.Made); n > 0 && c.Made[n-1].At.After(at) {
		at = c.Made[n-1].At
	}
	c.Made = append(c.Made, Made{DecisionKey(id), seq, at})
}

// Clone returns a copy that shares nothing with c.
func (c *Contacts) Clone() *Contacts {
	return &Contacts{c.Bonuses, c.Hold, slices.Clone(c.Sent), slices.Clone(c.Made), slices.Clone(c.Raised), slices.Clone(c.Links)}
}

// After returns the history with a decision recorded as entry seq.
func (c *Contacts) After(in *Input, d *Decision, bonus bool, seq uint64) *Contacts {
	out := c.Clone()
	out.note(in.Decision, seq, in.Now, in.Happened())
	if d.Issued {
		out.Sent = append(out.Sent, Sent{Decision: in.Decision, Action: ActionCode(d.Action), At: in.Now,
			Expires: d.Expires, Kind: d.Kind[0], Bonus: bonus, Status: StatusOpen})
		if bonus {
			out.Bonuses++
		}
	}
	out.see(d.Markers, in.Now)
	out.trim(in.Now)
	return out
}

func (c *Contacts) trim(now time.Time) {
	n := max(0, len(c.Sent)-contactsKept)
	for n < len(c.Sent) && now.Sub(c.Sent[n].At) > contactsFor {
		n++
	}
	c.Sent = c.Sent[n:]
	n = max(0, len(c.Made)-madeKept)
	for n < len(c.Made) && now.Sub(c.Made[n].At) > madeFor {
		n++
	}
	c.Made = c.Made[n:]
}

// Open returns the indices in Sent of the recommendations that are neither settled
// nor expired.
func (c *Contacts) Open(now time.Time) []int {
	var out []int
	for i, s := range c.Sent {
		if s.Status == StatusOpen && now.Before(s.Expires) {
			out = append(out, i)
		}
	}
	return out
}

// Revoked reports whether a decision was revoked.
func (c *Contacts) Revoked(decision string) bool {
	return slices.ContainsFunc(c.Sent, func(s Sent) bool { return s.Decision == decision && s.Status == StatusRevoked })
}

// sentWithin counts for frequency caps, of rules and contact policies alike: how
// many of the messages that counts accepts were sent less than span ago.
func (c *Contacts) sentWithin(span time.Duration, now time.Time, counts func(*Sent) bool) (n int) {
	for i := range c.Sent {
		if x := &c.Sent[i]; now.Sub(x.At) < span && counts(x) {
			n++
		}
	}
	return n
}

// HoldFor is how long a Hold lasts: by then, the player's state has the exclusion.
const HoldFor = 10 * time.Minute

// Revoke returns the history in which the open recommendations that pick accepts are
// revoked, and their decisions. id is the event that revokes them; it is remembered.
func (c *Contacts) Revoke(id string, seq uint64, now time.Time, pick func(*Sent) bool) (*Contacts, []string) {
	out := c.Clone()
	var revoked []string
	for _, n := range out.Open(now) {
		if pick(&out.Sent[n]) {
			out.Sent[n].Status = StatusRevoked
			revoked = append(revoked, out.Sent[n].Decision)
		}
	}
	out.note(id, seq, now, now)
	out.trim(now)
	return out, revoked
}

// Noted returns the history with an outcome of a decision (status; 0: none). id is
// the event that reported it; it is remembered.
func (c *Contacts) Noted(id string, seq uint64, now time.Time, decision string, status byte) *Contacts {
	out := c.Clone()
	for i := range out.Sent {
		if out.Sent[i].Decision == decision && status != 0 && settles(out.Sent[i].Status, status) {
			out.Sent[i].Status = status
		}
	}
	out.note(id, seq, now, now)
	out.trim(now)
	return out
}

// settles reports whether an outcome replaces another. Outcomes come in any order,
// and accepted says more than delivered.
func settles(old, now byte) bool {
	return old == StatusOpen || old == StatusRevoked || (old == StatusDelivered && now != StatusExpired)
}

// Append appends c to dst: 1 byte layout, then varints. Layout 2 adds the markers at
// the end, layout 3 the links after them. A history without either is written in
// layout 1, as by older releases.
func (c *Contacts) Append(dst []byte) []byte {
	layout := byte(1)
	switch {
	case len(c.Links) > 0:
		layout = 3
	case len(c.Raised) > 0:
		layout = 2
	}
	dst = append(dst, layout)
	dst = binary.AppendUvarint(dst, c.Bonuses)
	hold := int64(0)
	if !c.Hold.IsZero() {
		hold = c.Hold.UnixMilli()
	}
	dst = binary.AppendVarint(dst, hold)
	dst = binary.AppendUvarint(dst, uint64(len(c.Sent)))
	for _, s := range c.Sent {
		dst = append(dst, byte(len(s.Decision)))
		dst = append(dst, s.Decision...)
		flags := byte(0)
		if s.Bonus {
			flags = 1
		}
		dst = append(dst, s.Kind, s.Status, flags)
		dst = binary.BigEndian.AppendUint32(dst, s.Action)
		dst = binary.AppendVarint(dst, s.At.UnixMilli())
		dst = binary.AppendVarint(dst, s.Expires.Sub(s.At).Milliseconds())
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Made)))
	for _, m := range c.Made {
		dst = binary.BigEndian.AppendUint64(dst, m.Key)
		dst = binary.AppendUvarint(dst, m.Seq)
		dst = binary.AppendVarint(dst, m.At.Unix())
	}
	if layout >= 2 {
		dst = binary.AppendUvarint(dst, uint64(len(c.Raised)))
		for _, r := range c.Raised {
			dst = binary.BigEndian.AppendUint32(dst, r.Code)
			dst = binary.AppendVarint(dst, r.At.UnixMilli())
		}
	}
	if layout >= 3 {
		dst = c.appendLinks(dst)
	}
	return dst
}

var errContacts = errors.New("policy: contact history is not readable")

// ParseContacts reads what Append wrote; no bytes are an empty history.
func ParseContacts(b []byte) (*Contacts, error) {
	c := &Contacts{}
	if len(b) == 0 {
		return c, nil
	}
	r := &reader{b: b}
	layout := r.byte()
	if layout < 1 || layout > 3 {
		return nil, errContacts
	}
	c.Bonuses = r.uvarint()
	if hold := r.varint(); hold != 0 {
		c.Hold = time.UnixMilli(hold).UTC()
	}
	for n := r.count(); n > 0; n-- {
		s := Sent{Decision: string(r.take(int(r.byte())))}
		s.Kind, s.Status, s.Bonus = r.byte(), r.byte(), r.byte()&1 != 0
		s.Action = binary.BigEndian.Uint32(r.take(4))
		s.At = time.UnixMilli(r.varint()).UTC()
		s.Expires = s.At.Add(time.Duration(r.varint()) * time.Millisecond)
		c.Sent = append(c.Sent, s)
	}
	for n := r.count(); n > 0; n-- {
		m := Made{Key: binary.BigEndian.Uint64(r.take(8)), Seq: r.uvarint()}
		m.At = time.Unix(r.varint(), 0).UTC()
		c.Made = append(c.Made, m)
	}
	if layout >= 2 {
		for n := r.count(); n > 0; n-- {
			m := Raised{Code: binary.BigEndian.Uint32(r.take(4))}
			m.At = time.UnixMilli(r.varint()).UTC()
			c.Raised = append(c.Raised, m)
		}
	}
	if layout >= 3 {
		c.readLinks(r)
	}
	if r.bad || len(r.b) != 0 {
		return nil, errContacts
	}
	return c, nil
}

// ReadContacts returns h if it is a *Contacts, or parses the bytes that h appends.
// nil gives an empty history.
func ReadContacts(h interface{ Append(dst []byte) []byte }) (*Contacts, error) {
	if c, ok := h.(*Contacts); ok {
		return c, nil
	}
	if h == nil {
		return &Contacts{}, nil
	}
	return ParseContacts(h.Append(nil))
}

// MarshalText writes the history in hexadecimal, without Made, for the journal: no
// decision depends on Made.
func (c *Contacts) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, c.withoutMade().Append(nil)), nil
}

func (c *Contacts) withoutMade() *Contacts {
	out := *c
	out.Made = nil
	return &out
}

func (c *Contacts) write(w *event.Writer, name string) {
	if c == nil {
		w.Raw(name, nil)
		return
	}
	w.Name(name)
	w.Begin('"')
	*w = hex.AppendEncode(*w, c.withoutMade().Append(make([]byte, 0, 512)))
	w.End('"')
}

// UnmarshalText reads what MarshalText wrote.
func (c *Contacts) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil {
		return errContacts
	}
	p, err := ParseContacts(raw)
	if err == nil {
		*c = *p
	}
	return err
}
