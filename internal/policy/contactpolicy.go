package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pitboss/internal/event"
)

// policyBlocks returns the blocks by actions.yaml and the kill switches, which hold
// on every channel.
func (e *evaluation) policyBlocks(a *action) (out []event.Blocked) {
	block := func(rule, format string, args ...any) { out = append(out, a.blocked(rule, format, args...)) }
	if e.killed("action", a.decl.ID) {
		block(BlockKill, "The kill switch of %s is on.", a.decl.ID)
	}
	if a.kind != bitProtection {
		out = append(out, e.place(a)...)
		e.silence(a, block)
		if e.killed("jurisdiction", e.in.Facts.Jurisdiction) {
			block(BlockKill, "The kill switch of %s is on.", e.in.Facts.Jurisdiction)
		}
		if e.in.Now.Before(e.in.Contacts.Hold) && (a.kind == bitMarketing || a.play || a.deposit) {
			block(BlockHold, "An exclusion or a withdrawn consent has just come in.")
		}
		if late := e.in.Now.Sub(e.in.AsOf); e.p.file.MaxAge > 0 && late > time.Duration(e.p.file.MaxAge) {
			block(BlockStale, "What it answers happened %s ago.", e.in.span(late.Round(time.Second)))
		}
	}
	e.capsOf(&a.contact.Contact, a, block, "this message", func(x *Sent) bool { return x.Action == a.code })
	if all, ok := e.p.file.Contact[a.decl.Kind]; ok {
		e.capsOf(&all, a, block, a.decl.Kind, func(x *Sent) bool { return x.Kind == a.decl.Kind[0] })
	}
	return out
}

// silence blocks marketing and prompts for a time after a protection message.
func (e *evaluation) silence(a *action, block func(string, string, ...any)) {
	if a.kind != bitMarketing && !a.play && !a.deposit || len(e.p.file.AfterProtection) == 0 {
		return
	}
	for i := len(e.in.Contacts.Sent) - 1; i >= 0; i-- {
		x := &e.in.Contacts.Sent[i]
		if x.Kind != Protection[0] {
			continue
		}
		wait := e.p.silenceAfter(x.Action)
		span := time.Duration(wait.Prompts)
		if a.kind == bitMarketing {
			span = time.Duration(wait.Marketing)
		}
		if ago := e.in.Now.Sub(x.At); ago < span {
			block(BlockSilence, "The player had a protection message %s ago; it is quiet for %s after one.", e.in.span(ago.Round(time.Second)), e.in.span(span))
			return
		}
	}
}

// silenceAfter returns how long marketing and prompts wait after an action. After
// an action that is no longer declared, they wait the longest time of all.
func (p *Policy) silenceAfter(code uint32) (longest Silence) {
	for _, a := range p.actions {
		if a.code == code {
			return p.file.AfterProtection[a.decl.Severity]
		}
	}
	for _, s := range p.file.AfterProtection {
		longest.Marketing, longest.Prompts = max(longest.Marketing, s.Marketing), max(longest.Prompts, s.Prompts)
	}
	return longest
}

// capsOf blocks by a contact policy's caps a day and a week and by its spacing.
func (e *evaluation) capsOf(c *Contact, a *action, block func(string, string, ...any), of string, mine func(*Sent) bool) {
	if c.PerDay == 0 && c.PerWeek == 0 && c.Spacing == 0 {
		return
	}
	day := e.in.Contacts.sentWithin(24*time.Hour, e.in.Now, mine)
	week := e.in.Contacts.sentWithin(7*24*time.Hour, e.in.Now, mine)
	switch {
	case c.PerDay > 0 && day >= c.PerDay:
		block(BlockCap, "The player had %d of %d a day of %s.", day, c.PerDay, of)
	case c.PerWeek > 0 && week >= c.PerWeek:
		block(BlockCap, "The player had %d of %d a week of %s.", week, c.PerWeek, of)
	}
	if c.Spacing == 0 {
		return
	}
	for i := len(e.in.Contacts.Sent) - 1; i >= 0; i-- { // by index: a copy that mine points to would be allocated
		x := &e.in.Contacts.Sent[i]
		if !mine(x) {
			continue
		}
		ago := e.in.Now.Sub(x.At)
		if ago < 0 && x.Decision == "" {
			continue // sent to a linked account at the same time: the later of the two gives way
		}
		// The player's own messages were decided before this one, even if the clock of
		// the instance that decided them is ahead.
		if ago = max(0, ago); ago < time.Duration(c.Spacing) {
			block(BlockSpacing, "The last of %s was %s ago; the spacing is %s.", of, e.in.span(ago.Round(time.Second)), e.in.span(time.Duration(c.Spacing)))
		}
		return
	}
}

// span formats a duration by the input's wording, so that a stored decision is
// reproduced with its text.
func (in *Input) span(d time.Duration) string {
	if in.Wording == 0 {
		return d.String()
	}
	return inWords(d)
}

// inWords formats a duration in its two largest units: 1 minute 59 seconds.
func inWords(d time.Duration) string {
	var said []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		n := int64(d / unit.size)
		d %= unit.size
		switch {
		case n == 1:
			said = append(said, "1 "+unit.name)
		case n > 1:
			said = append(said, fmt.Sprintf("%d %ss", n, unit.name))
		}
		if len(said) == 2 {
			break
		}
	}
	if len(said) == 0 {
		return "less than a second"
	}
	return strings.Join(said, " ")
}

// quiet blocks a channel in its quiet hours. If the player's time zone is unknown, a
// channel with quiet hours is always blocked.
func (e *evaluation) quiet(a *action, channel string) []event.Blocked {
	if a.kind == bitProtection {
		return nil
	}
	contacts := []contact{a.contact}
	if all, ok := e.p.quietOf[a.decl.Kind]; ok {
		contacts = append(contacts, all)
	}
	for _, c := range contacts {
		if c.quietFrom == c.quietTo || !slices.Contains(c.quietOn, channel) {
			continue
		}
		if !e.scope.zone {
			return []event.Blocked{a.blocked(BlockQuiet, "The player's time zone is unknown, so quiet hours can't be kept on %s.", channel)}
		}
		if within(e.scope.local.Hour()*60+e.scope.local.Minute(), c.quietFrom, c.quietTo) {
			return []event.Blocked{a.blocked(BlockQuiet, "It is %s where the player is; %s is quiet %s.", e.scope.local.Format("15:04"), channel, c.Quiet)}
		}
	}
	return nil
}

// within tells whether minute lies in [from, to), which may pass midnight.
func within(minute, from, to int) bool {
	if from < to {
		return minute >= from && minute < to
	}
	return minute >= from || minute < to
}
