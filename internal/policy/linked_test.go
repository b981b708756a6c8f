package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
)

// Links are the same in the end, whatever the order of the events and however
// often each comes, and survive being written and read.
func TestLinksInAnyOrder(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var events []Link
		for n := range rapid.IntRange(1, 8).Draw(t, "events") {
			l := Link{Person: rapid.SampledFrom([]string{"p", "q", "ö r"}).Draw(t, "person"), Key: uint64(n + 1), On: rapid.Bool().Draw(t, "on"),
				At: base.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "ns")))}
			if l.On {
				l.Confidence = uint8(rapid.IntRange(1, 100).Draw(t, "confidence"))
			}
			events = append(events, l)
		}
		play := func(order []Link) *Contacts {
			c := &Contacts{}
			for i, l := range order {
				c = c.Relink(l, fmt.Sprint(i), 1, base)
			}
			c.Made = nil
			return c
		}
		want := play(events)
		for range 4 {
			order := rapid.Permutation(append(slices.Clone(events), events[0], events[len(events)-1])).Draw(t, "order")
			got := play(order)
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Fatalf("%+v\n%+v", got, want)
			}
			read, err := ParseContacts(got.Append(nil))
			if err != nil || fmt.Sprintf("%+v", read) != fmt.Sprintf("%+v", want) {
				t.Fatalf("read again: %+v %v", read, err)
			}
		}
		for _, l := range want.Links {
			for _, e := range events {
				if e.Person == l.Person && (e.At.After(l.At) || e.At.Equal(l.At) && e.On && !l.On) {
					t.Fatalf("%+v is kept, but %+v wins over it", l, e)
				}
			}
		}
	})
}

// What another account binds stops more, never less; protection goes on; and
// what is stored of it decides the same again.
func TestLinkedAccountsOnlyStop(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	stopped := 0
	rapid.Check(t, func(t *rapid.T) {
		in, other := anyone(t, p), anyone(t, p)
		alone := p.Decide(in)
		with := *in
		with.Linked = p.Bind([]Account{{Facts: other.Facts, Contacts: other.Contacts}}, in.Now)
		bound := p.Decide(&with)
		for _, c := range bound.Candidates {
			if c.Kind != Protection && len(c.Blocked) == 0 && len(alone.Blocks(c.Action)) > 0 {
				t.Fatalf("%s goes out only because of another account: %+v", c.Action, with.Linked)
			}
		}
		if in.Now.Year() >= 2026 && len(other.Facts.Exclusions) > 0 && bound.Issued && bound.Kind == Marketing {
			t.Fatalf("%s was issued although another account is excluded", bound.Action)
		}
		for _, c := range alone.Candidates {
			if c.Kind != Protection && len(c.Blocked) == 0 && len(bound.Blocks(c.Action)) > 0 {
				stopped++
			}
		}
		rec := &Record{Input: with, Decision: *bound}
		again, err := Join(rec.Split())
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := p.Reproduce(again); err != nil || diff != "" {
			t.Fatalf("not reproduced: %s %v", diff, err)
		}
	})
	if stopped == 0 {
		t.Error("no other account ever stopped anything")
	}
}

func TestBindNamesNoAccount(t *testing.T) {
	t.Parallel()
	p := policy(t)
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := p.Bind([]Account{{Facts: event.Facts{Brand: "other", Consents: map[string]bool{"all/sms": false, "all/email": true}},
		Contacts: &Contacts{Sent: []Sent{{Decision: "s0001-secret", Kind: 'm', At: now, Expires: now}, {Decision: "s0001-service", Kind: 's', At: now}}}}}, now)
	if len(l.Contacts.Sent) != 1 || l.Contacts.Sent[0].Decision != "" || !slices.Equal(l.OptOuts, []string{"all/sms"}) {
		t.Fatalf("%+v", l)
	}
}
