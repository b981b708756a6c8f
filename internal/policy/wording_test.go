package policy

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
)

// spaced is decided a moment after the same message was sent.
func spaced(t *testing.T, wording int) (*Policy, *Input) {
	t.Helper()
	p := policy(t)
	in := somebody(p, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
	in.Facts = event.Facts{Jurisdiction: "GB", BirthDate: "1980-01-01", Brand: "b", TimeZone: "Europe/London", LastProduct: "casino"}
	setFeatures(p, in, map[string]float64{"payment_fails_1h": 2})
	in.Contacts = &Contacts{Sent: []Sent{{At: in.Now.Add(-119 * time.Second), Kind: Service[0], Action: ActionCode("payment_help")}}}
	in.Wording = wording
	return p, in
}

func spacingText(d *Decision) string {
	for _, c := range d.Candidates {
		for _, b := range c.Blocked {
			if b.Action == "payment_help" && b.Rule == BlockSpacing && strings.Contains(b.Text, "this message") {
				return b.Text
			}
		}
	}
	return ""
}

// New decisions say durations in words. One that was stored before they did comes
// out with the text it had, by its own record.
func TestStoredDecisionsKeepTheirWording(t *testing.T) {
	t.Parallel()
	for wording, want := range map[int]string{
		0:       "The last of this message was 1m59s ago; the spacing is 10m0s.",
		Wording: "The last of this message was 1 minute 59 seconds ago; the spacing is 10 minutes.",
	} {
		p, in := spaced(t, wording)
		r := &Record{Input: *in, Decision: *p.Decide(in)}
		if got := spacingText(&r.Decision); got != want {
			t.Errorf("wording %d: %q, want %q", wording, got, want)
		}
		open, personal := r.Split()
		if had := strings.Contains(string(personal), `"wording"`); had != (wording > 0) {
			t.Errorf("wording %d: the record %s", wording, personal)
		}
		again, err := Join(open, personal)
		if err != nil {
			t.Fatal(err)
		}
		if got := spacingText(p.Decide(&again.Input)); got != want {
			t.Errorf("wording %d, reproduced: %q, want %q", wording, got, want)
		}
	}
}

// What is said of a duration is short of it by less than the last unit named.
func TestDurationsInWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "less than a second", time.Second: "1 second", 90 * time.Second: "1 minute 30 seconds", 10 * time.Minute: "10 minutes",
		4 * time.Hour: "4 hours", 25 * time.Hour: "1 day 1 hour", 14 * 24 * time.Hour: "14 days", 24*time.Hour + 5*time.Second: "1 day 5 seconds",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	sizes := map[string]int64{"second": 1, "minute": 60, "hour": 3600, "day": 86400}
	rapid.Check(t, func(t *rapid.T) {
		left := rapid.Int64Range(1, 40*86400).Draw(t, "seconds")
		said := strings.Fields(inWords(time.Duration(left) * time.Second))
		last := int64(0)
		for i := 0; i+1 < len(said); i += 2 {
			n, err := strconv.ParseInt(said[i], 10, 64)
			last = sizes[strings.TrimSuffix(said[i+1], "s")]
			if err != nil || n < 1 || last == 0 {
				t.Fatalf("%q", said)
			}
			left -= n * last
		}
		if left < 0 || left >= last {
			t.Fatalf("%q is off by %d s", said, left)
		}
	})
}
