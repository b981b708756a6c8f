package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However the clocks of producers and instances differ, and however many
// decisions come in between: of an event that was decided on the history knows,
// or knows that it may have forgotten.
func TestAHistoryNeverTakesWhatItForgotForNew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
		skew := func(what string) time.Duration {
			return time.Duration(rapid.IntRange(-60_000, 300_000).Draw(t, what)) * time.Millisecond
		}
		instances := []time.Duration{skew("one instance"), skew("another")}
		c, inputs := &Contacts{}, []*Input{}
		for i := range rapid.IntRange(1, 400).Draw(t, "decisions") {
			at := start.Add(time.Duration(i) * time.Duration(rapid.IntRange(1, 2000).Draw(t, "apart")) * time.Millisecond)
			in := &Input{Decision: string(rune('a' + i)), Now: at.Add(instances[i%2]), AsOf: at.Add(skew("producer"))}
			c = c.After(in, &Decision{}, false, uint64(i+1))
			inputs = append(inputs, in)
			if b := c.Append(nil); i%50 == 0 { // as it is stored
				var err error
				if c, err = ParseContacts(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		now := inputs[len(inputs)-1].Now
		for i, in := range inputs {
			seq, found := c.Find(in.Decision)
			if found && seq != uint64(i+1) {
				t.Fatalf("decision %d is said to be entry %d", i+1, seq)
			}
			if !found && c.Remembers(in.Happened(), now) == Knows {
				t.Fatalf("decision %d of %d, made at %s about what happened at %s, is taken for new: the first remembered is of %s",
					i+1, len(inputs), in.Now, in.AsOf, c.Made[0].At)
			}
		}
	})
}

// A message that another instance, whose clock is ahead, has just sent is
// spaced as any other.
func TestSpacingIsKeptUnderClockSkew(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-time.Second, 0, time.Millisecond, 3 * time.Second} {
		p, in := spaced(t, Wording)
		in.Contacts.Sent[0].At, in.Contacts.Sent[0].Decision = in.Now.Add(ahead), "s0000-before"
		if spacingText(p.Decide(in)) == "" {
			t.Errorf("sent %s ahead of the clock: not spaced", ahead)
		}
	}
}
