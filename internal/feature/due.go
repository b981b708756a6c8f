package feature

import (
	"time"

	"pitboss/internal/event"
	"pitboss/internal/player"
)

// In a reminder's cell, t and k are the position of the latest setting event, act and i
// that of the latest cancelling event, and j is the latest due time that has fired.
// Each is a maximum, so that the order of events does not matter.

// due returns when reminder n is due, in ms, or 0 if it is not set.
func (st *State) due(n int) int64 {
	r := st.set.remind[n]
	c := &st.cells[r.slot]
	set, cancelled := c.position(), c.cancelled()
	if set.ms == 0 || set.before(cancelled) || set == cancelled || set.ms+r.after <= c.j {
		return 0
	}
	return set.ms + r.after
}

// cancelled returns the position of the latest event that cancelled the reminder.
func (c *cell) cancelled() position { return position{ms: c.act, key: uint32(c.i), ns: c.actNs} }

func (st *State) dues(dst []int64) []int64 {
	for n := range st.set.remind {
		dst = append(dst, st.due(n))
	}
	return dst
}

// fire records that a reminder fired and returns its index, or -1 if it is not due at
// that time (any more).
func (st *State) fire(data *event.ReminderDue) int {
	for n, r := range st.set.remind {
		if r.decl.Name != data.Reminder {
			continue
		}
		at := data.Due.UnixMilli()
		current := st.due(n) == at
		c := &st.cells[r.slot]
		c.on, c.j = true, max(c.j, at)
		if current {
			return n
		}
	}
	return -1
}

func (st *State) remindWhen(p *plan, sc *scope, at position) {
	for _, step := range p.set {
		c := &st.cells[st.set.remind[step.reminder].slot]
		if sc.holds(step.where) && c.position().before(at) {
			c.on, c.t, c.k, c.tNs = true, at.ms, at.key, at.ns
		}
	}
	for _, step := range p.cancel {
		c := &st.cells[st.set.remind[step.reminder].slot]
		if sc.holds(step.where) && c.cancelled().before(at) {
			c.on, c.act, c.i, c.actNs = true, at.ms, int64(at.key), at.ns
		}
	}
}

// reminderChanges compares the due times with those before the event.
func (st *State) reminderChanges(before []int64) (out []player.ReminderChange) {
	for n, r := range st.set.remind {
		if now := st.due(n); now != before[n] {
			out = append(out, player.ReminderChange{Name: r.decl.Name, Old: timeOf(before[n]), New: timeOf(now)})
		}
	}
	return out
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// decide evaluates score_when for an applied event. The state keeps the time at which a
// condition last asked. Unlike features and facts, it depends on the order of arrival.
func (st *State) decide(p *plan, sc *scope, ms int64, fired int) (due []string) {
	if st.set.always {
		return []string{"always"}
	}
	sc.look(st.latest)
	for _, step := range p.conds {
		cond := st.set.conds[step.cond]
		c := &st.cells[cond.slot]
		if cond.reminder >= 0 && cond.reminder != fired {
			continue
		}
		if c.t != 0 && ms < c.t+cond.spacing || !sc.holds(step.when) {
			continue
		}
		c.on, c.t = true, ms
		due = append(due, cond.decl.Name)
	}
	if w := st.set.watch; w != nil && w.asks(sc, p.typ, ms) {
		due = append(due, w.ask)
	}
	return due
}
