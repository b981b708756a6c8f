package policy

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/event"
)

// Link is what the latest event reported about whether an account belongs to a
// person. A contact history has one for each person that was ever reported.
type Link struct {
	Person     string
	At         time.Time // of the event, to the nanosecond
	Key        uint64    // of the event: breaks the tie between two that otherwise say the same
	On         bool      // linked; false: unlinked
	Confidence uint8     // percent
}

// LinksKept is the most persons that an account may have been linked to.
const LinksKept = 16

// after reports whether l wins over another event about the same person. At equal
// times a link wins over an unlink, because it is safer.
func (l *Link) after(old *Link) bool {
	if c := l.At.Compare(old.At); c != 0 {
		return c > 0
	}
	if l.On != old.On {
		return l.On
	}
	if l.Confidence != old.Confidence {
		return l.Confidence > old.Confidence
	}
	return l.Key > old.Key
}

// Relink returns the history after the event id linked or unlinked the account. The
// event is remembered. The result does not depend on the order of such events.
func (c *Contacts) Relink(l Link, id string, seq uint64, now time.Time) *Contacts {
	out := c.Clone()
	n := slices.IndexFunc(out.Links, func(x Link) bool { return x.Person == l.Person })
	switch {
	case n < 0:
		out.Links = append(out.Links, l)
		slices.SortFunc(out.Links, func(a, b Link) int { return strings.Compare(a.Person, b.Person) })
	case l.after(&out.Links[n]):
		out.Links[n] = l
	}
	out.note(id, seq, now, now)
	out.trim(now)
	return out
}

// Persons returns the persons to whom the account is linked with at least the
// confidence that the policy asks for.
func (p *Policy) Persons(c *Contacts) (out []string) {
	for _, l := range c.Links {
		if l.On && int(l.Confidence) >= p.file.LinkConfidence {
			out = append(out, l.Person)
		}
	}
	return out
}

// Linked holds the restrictions on an account that come from the other accounts of
// its person. It names none of them.
type Linked struct {
	Accounts   int               `json:"accounts"` // the number of other accounts
	Exclusions []event.Exclusion `json:"exclusions,omitempty"`
	OptOuts    []string          `json:"opt_outs,omitempty"`   // keys of Facts.Consents
	Indicators []string          `json:"indicators,omitempty"` // groups with a strong one
	BonusEver  bool              `json:"bonus_ever,omitzero"`
	// Contacts are their marketing and protection messages, bonuses and holds.
	Contacts *Contacts `json:"contacts"`
}

// Account is another account of a person, as it is now.
type Account struct {
	Facts    event.Facts
	Contacts *Contacts
}

// Bind returns the restrictions that the other accounts put on an account.
func (p *Policy) Bind(others []Account, now time.Time) *Linked {
	l := &Linked{Contacts: &Contacts{}}
	for i := range others {
		l.add(p, &others[i], now)
	}
	l.OptOuts = sortedSet(l.OptOuts)
	l.Indicators = sortedSet(l.Indicators)
	slices.SortFunc(l.Exclusions, func(a, b event.Exclusion) int {
		return cmp.Or(strings.Compare(a.Scheme, b.Scheme), a.Since.Compare(b.Since), a.Until.Compare(b.Until))
	})
	slices.SortFunc(l.Contacts.Sent, func(a, b Sent) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Action, b.Action)) })
	return l
}

func (l *Linked) add(p *Policy, a *Account, now time.Time) {
	l.Accounts++
	l.Exclusions = append(l.Exclusions, a.Facts.Exclusions...)
	for key, granted := range a.Facts.Consents {
		if !granted {
			l.OptOuts = append(l.OptOuts, key)
		}
	}
	for group, strength := range a.Facts.Indicators {
		if strength == "strong" {
			l.Indicators = append(l.Indicators, group)
		}
	}
	for _, m := range p.markers {
		at, ok := a.Contacts.raised(m.code)
		cleared, once := a.Facts.Cleared[m.decl.Group]
		if ok && m.decl.Strength == "strong" && now.Sub(at) < time.Duration(m.decl.Holds) && (!once || !cleared.After(at)) {
			l.Indicators = append(l.Indicators, m.decl.Group)
		}
	}
	l.BonusEver = l.BonusEver || a.Facts.BonusEver
	c := l.Contacts
	c.Bonuses += a.Contacts.Bonuses
	if a.Contacts.Hold.After(c.Hold) {
		c.Hold = a.Contacts.Hold
	}
	for _, s := range a.Contacts.Sent {
		if s.Kind != Service[0] {
			s.Decision = ""
			c.Sent = append(c.Sent, s)
		}
	}
}

func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// binding describes in words the restrictions that stop something.
func (l *Linked) binding(now time.Time) (out []string) {
	if l == nil {
		return nil
	}
	for _, x := range l.Exclusions {
		out = append(out, "is excluded by "+x.Scheme)
	}
	if len(l.OptOuts) > 0 {
		out = append(out, "opted out of "+strings.Join(l.OptOuts, ", "))
	}
	if len(l.Indicators) > 0 {
		out = append(out, "shows a strong sign of harm ("+strings.Join(l.Indicators, ", ")+")")
	}
	if now.Before(l.Contacts.Hold) {
		out = append(out, "has just been excluded or opted out")
	}
	return out
}

// Until returns a copy without the messages that were sent after a time.
func (l *Linked) Until(at time.Time) *Linked {
	out, contacts := *l, *l.Contacts
	contacts.Sent = slices.DeleteFunc(slices.Clone(contacts.Sent), func(s Sent) bool { return s.At.After(at) })
	out.Contacts = &contacts
	return &out
}

// bound returns the input with the restrictions of linked accounts merged in.
func (in *Input) bound() *Input {
	l := in.Linked
	if l == nil {
		return in
	}
	out := *in
	f := &out.Facts
	f.Exclusions = slices.Concat(f.Exclusions, l.Exclusions)
	f.BonusEver = f.BonusEver || l.BonusEver
	if len(l.OptOuts) > 0 {
		if f.Consents = maps.Clone(f.Consents); f.Consents == nil {
			f.Consents = map[string]bool{}
		}
		for _, key := range l.OptOuts {
			f.Consents[key] = false
		}
	}
	if len(l.Indicators) > 0 {
		if f.Indicators = maps.Clone(f.Indicators); f.Indicators == nil {
			f.Indicators = map[string]string{}
		}
		for _, group := range l.Indicators {
			f.Indicators[group] = "strong"
		}
	}
	c := *in.Contacts
	c.Bonuses += l.Contacts.Bonuses
	if l.Contacts.Hold.After(c.Hold) {
		c.Hold = l.Contacts.Hold
	}
	c.Sent = slices.Concat(c.Sent, l.Contacts.Sent)
	slices.SortStableFunc(c.Sent, func(a, b Sent) int { return a.At.Compare(b.At) })
	out.Contacts = &c
	return &out
}

// ReasonLinked is the reason code for restrictions by a linked account.
const ReasonLinked = "linked-account"

// reasons returns the reason for the restrictions that stop something, if any do.
func (l *Linked) reasons(now time.Time) []event.Reason {
	binding := l.binding(now)
	if len(binding) == 0 {
		return nil
	}
	return []event.Reason{{Code: ReasonLinked, Text: "Another account of the same person binds this one: it " + strings.Join(binding, ", it ") + "."}}
}

func (c *Contacts) appendLinks(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.Links)))
	for _, l := range c.Links {
		dst = binary.AppendUvarint(dst, uint64(len(l.Person)))
		dst = append(dst, l.Person...)
		dst = binary.AppendVarint(dst, l.At.UnixNano())
		dst = binary.BigEndian.AppendUint64(dst, l.Key)
		on := byte(0)
		if l.On {
			on = 1
		}
		dst = append(dst, on, l.Confidence)
	}
	return dst
}

func (c *Contacts) readLinks(r *reader) {
	for n := r.count(); n > 0; n-- {
		l := Link{Person: string(r.take(int(r.count())))}
		l.At = time.Unix(0, r.varint()).UTC()
		l.Key = binary.BigEndian.Uint64(r.take(8))
		l.On, l.Confidence = r.byte() != 0, r.byte()
		c.Links = append(c.Links, l)
	}
}

func (l *Linked) write(w *event.Writer, name string) {
	if l == nil {
		return
	}
	w.Name(name)
	w.Begin('{')
	w.Name("accounts")
	*w = strconv.AppendInt(*w, int64(l.Accounts), 10)
	event.OptList(w, "exclusions", l.Exclusions, event.WriteExclusion)
	event.OptList(w, "opt_outs", l.OptOuts, event.QuoteEach)
	event.OptList(w, "indicators", l.Indicators, event.QuoteEach)
	w.OptTrue("bonus_ever", l.BonusEver)
	l.Contacts.write(w, "contacts")
	w.End('}')
}
