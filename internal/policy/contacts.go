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

// Contacts is what a player was recommended: what caps, spacing, the one-bonus
// rule and revocation look at. It is stored beside the journal and changes
// only together with it.
type Contacts struct {
	Bonuses uint64 // recommended ever
	// Hold stops marketing, and service that asks to play, until this time: an
	// exclusion or a withdrawn consent was heard of, and the player's state may
	// not have it yet. Zero: nothing is held.
	Hold time.Time
	Sent []Sent // in order of time, at most ContactsKept, none older than ContactsFor
	Made []Made // decisions of late, in order of time
	// Raised are the markers of harm seen in the last 31 days.
	Raised []Raised
	Links  []Link // to the persons the account belongs to, by person
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
	ContactsKept = 256
	ContactsFor  = 31 * 24 * time.Hour
	madeKept     = 256
	madeFor      = 24 * time.Hour
)

// ActionCode is an action's name in a contact history.
func ActionCode(id string) uint32 { return uint32(xxhash.Sum64String(id)) }

// DecisionKey is a decision's name among those made.
func DecisionKey(id string) uint64 { return xxhash.Sum64String(id) }

// Find returns the journal's sequence number of a decision made of late.
func (c *Contacts) Find(decision string) (seq uint64, ok bool) {
	key := DecisionKey(decision)
	for i := len(c.Made) - 1; i >= 0; i-- {
		if c.Made[i].Key == key {
			return c.Made[i].Seq, true
		}
	}
	return 0, false
}

// Remember is what a history can tell of whether a decision was made before.
type Remember int

// A history remembers the decisions of 24 hours, but no more than 256: an older
// event may have been decided on, and a younger one too where there were so many.
const (
	Knows   Remember = iota // Find's word is final
	Unsure                  // there were too many: the journal knows
	TooLate                 // nothing remembers so far back
)

// Remembers tells what the history knows of an event by when it happened.
func (c *Contacts) Remembers(happened, now time.Time) Remember {
	switch {
	case now.Sub(happened) > madeFor:
		return TooLate
	case len(c.Made) >= madeKept && happened.Before(c.Made[0].At.Add(time.Second)): // At is kept to the second
		return Unsure
	}
	return Knows
}

// note remembers what was made of an event. At is the latest of now, of when the
// event happened, since its producer's clock may be ahead of this one, and of the
// entry before, since clocks of instances differ: so whatever was forgotten to
// keep 256 entries happened no later than the first of them says, and
// [Contacts.Remembers] never takes it for new.
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

// After is the history once the decision is recorded as entry seq.
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
	n := max(0, len(c.Sent)-ContactsKept)
	for n < len(c.Sent) && now.Sub(c.Sent[n].At) > ContactsFor {
		n++
	}
	c.Sent = c.Sent[n:]
	n = max(0, len(c.Made)-madeKept)
	for n < len(c.Made) && now.Sub(c.Made[n].At) > madeFor {
		n++
	}
	c.Made = c.Made[n:]
}

// Open lists the recommendations that are issued, not delivered, and not expired.
func (c *Contacts) Open(now time.Time) []int {
	var out []int
	for i, s := range c.Sent {
		if s.Status == StatusOpen && now.Before(s.Expires) {
			out = append(out, i)
		}
	}
	return out
}

// Revoked reports whether a decision was taken back.
func (c *Contacts) Revoked(decision string) bool {
	return slices.ContainsFunc(c.Sent, func(s Sent) bool { return s.Decision == decision && s.Status == StatusRevoked })
}

// sentWithin is the frequency cap's count, of rules and contact policies alike:
// how many that count were sent less than a span ago.
func (c *Contacts) sentWithin(span time.Duration, now time.Time, counts func(*Sent) bool) (n int) {
	for i := range c.Sent {
		if x := &c.Sent[i]; now.Sub(x.At) < span && counts(x) {
			n++
		}
	}
	return n
}

// HoldFor is how long an exclusion holds by itself, before the state has it.
const HoldFor = 10 * time.Minute

// Revoke is the history after what is open and picked was taken back by an
// event, which is remembered by its id, and the decisions it was.
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

// Noted is the history after an outcome (status; 0: none) of a decision, told by
// an event, which is remembered by its id.
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

// settles tells whether an outcome replaces another: outcomes come in any
// order, and accepted says more than delivered.
func settles(old, now byte) bool {
	return old == StatusOpen || old == StatusRevoked || (old == StatusDelivered && now != StatusExpired)
}

// Append writes c after dst: 1 byte layout, then varints. Layout 2 has the
// markers at its end, layout 3 the links behind them; a history without any is
// written as older releases do.
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

// ReadContacts is the history that h is, or holds as bytes; nil is an empty one.
func ReadContacts(h interface{ Append(dst []byte) []byte }) (*Contacts, error) {
	if c, ok := h.(*Contacts); ok {
		return c, nil
	}
	if h == nil {
		return &Contacts{}, nil
	}
	return ParseContacts(h.Append(nil))
}

// MarshalText writes what of the history a decision rests on as one word, for
// the journal: all but Made.
func (c *Contacts) MarshalText() ([]byte, error) {
	rested := *c
	rested.Made = nil
	return hex.AppendEncode(nil, rested.Append(nil)), nil
}

func (c *Contacts) write(w *event.Writer, name string) {
	if c == nil {
		w.Raw(name, nil)
		return
	}
	rested := *c
	rested.Made = nil
	w.Name(name)
	w.Begin('"')
	*w = hex.AppendEncode(*w, rested.Append(make([]byte, 0, 512)))
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
