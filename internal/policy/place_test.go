package policy

import (
	"maps"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// A pack that does not say what a jurisdiction must say does not load; the
// error names file and field.
func TestAPackDeclaresItsPlace(t *testing.T) {
	t.Parallel()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shipped := policy(t).Files()
	for field, change := range map[string][2]string{
		"min_age":     {"min_age: {all: 19, lottery: 18}\n", ""},
		"products":    {"products: [casino, live, sports, poker, bingo, lottery]\n", ""},
		"advertising": {"advertising: legal\n", ""},
		"bonuses":     {"bonuses: legal\n", "bonuses: perhaps\n"},
		"licence":     {"licence: required\n", ""},
		"languages":   {"languages: [en]\n", ""},
		"reviewed":    {"languages: [en]\nreviewed: false\n", "languages: [en]\n"},
	} {
		files := maps.Clone(shipped)
		before := string(files["rules/CA-ON.yaml"])
		files["rules/CA-ON.yaml"] = []byte(strings.Replace(before, change[0], change[1], 1))
		if string(files["rules/CA-ON.yaml"]) == before {
			t.Fatalf("%s: nothing was changed", field)
		}
		if _, err := Parse(files, set.Names()); err == nil || !strings.Contains(err.Error(), "rules/CA-ON.yaml") || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	files := maps.Clone(shipped)
	delete(files, "markers.yaml")
	if _, err := Parse(files, set.Names()); err == nil || !strings.Contains(err.Error(), "markers.yaml") {
		t.Errorf("without markers: %v", err)
	}
}

// player is an adult of GB with one marketing message that nothing else stops.
func somebody(p *Policy, now time.Time) *Input {
	in := typical(p)
	in.Now, in.AsOf = now, now
	in.Contacts = &Contacts{}
	in.Facts.LastProduct = "casino"
	for i, name := range p.FeatureNames() {
		if name == "load_fails_10m" {
			in.Features[i] = 0
		}
	}
	return in
}

func setFeatures(p *Policy, in *Input, values map[string]float64) {
	for i, name := range p.FeatureNames() {
		if v, ok := values[name]; ok {
			in.Features[i] = v
		}
	}
}

func stoppedBy(d *Decision, rule string) bool {
	for _, c := range d.Candidates {
		for _, b := range c.Blocked {
			if c.Kind == Marketing && b.Rule == rule {
				return true
			}
		}
	}
	return false
}

// The life of a marker: it is raised with its numbers, leads to protection,
// stops marketing while it holds though its numbers have passed, and ends by
// time or by a person's word; it rests after that word.
func TestAMarkerHoldsUntilTimeOrAPersonClearsIt(t *testing.T) {
	t.Parallel()
	p := policy(t)
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	at := func(history *Contacts, now time.Time, losses float64, cleared time.Time) (*Decision, *Contacts) {
		in := somebody(p, now)
		in.Contacts = history
		setFeatures(p, in, map[string]float64{"loss_streak": losses, "deposits_3h": 4})
		if !cleared.IsZero() {
			in.Facts.Cleared = map[string]time.Time{"spend_pattern": cleared}
		}
		d := p.Decide(in)
		r := &Record{Input: *in, Decision: *d}
		back, err := Join(r.Split())
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := p.Reproduce(back); diff != "" || err != nil {
			t.Fatalf("not the same again: %s %v", diff, err)
		}
		raw, err := ParseContacts(history.After(in, d, false, 1).Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		return d, raw
	}
	d, history := at(&Contacts{}, noon, 192, time.Time{})
	if !d.Issued || d.Kind != Protection || d.Action != "safer_gambling_call" || len(d.Markers) != 1 {
		t.Fatalf("%+v", d)
	}
	if text := d.Markers[0].Text; text != "192 rounds were lost in a row, with 4 deposits within three hours." {
		t.Error(text)
	}
	r := &Record{Input: *somebody(p, noon), Decision: *d}
	open, _ := r.Split()
	if strings.Contains(string(open), "192") {
		t.Errorf("the numbers are in the part that outlives an erasure: %s", open)
	}
	if last := r.Recommendation().Reasons; last[len(last)-1].Code != "marker:MK-BINGE" {
		t.Errorf("%+v", last)
	}
	d, later := at(history, noon.Add(66*time.Second), 0, time.Time{})
	if d.Issued && d.Kind == Marketing || !stoppedBy(d, "GB-STRONG") || !stoppedBy(d, BlockSilence) {
		t.Errorf("66 s later: %+v", d)
	}
	if d, _ = at(later, noon.Add(71*time.Hour), 0, time.Time{}); !stoppedBy(d, "GB-STRONG") {
		t.Error("it does not hold for three days")
	}
	if d, _ = at(later, noon.Add(73*time.Hour), 0, time.Time{}); stoppedBy(d, "GB-STRONG") {
		t.Error("it holds for more than three days")
	}
	if d, _ = at(later, noon.Add(2*time.Hour), 0, noon.Add(time.Hour)); len(d.Markers) != 0 || stoppedBy(d, "GB-STRONG") {
		t.Errorf("a person cleared it: %+v", d.Markers)
	}
	if d, _ = at(later, noon.Add(2*time.Hour), 192, noon.Add(time.Hour)); len(d.Markers) != 0 {
		t.Errorf("an hour after a person cleared it: %+v", d.Markers)
	}
	if d, _ = at(later, noon.Add(26*time.Hour), 192, noon.Add(time.Hour)); len(d.Markers) != 1 {
		t.Error("a day after a person cleared it, it is not raised again")
	}
}

// A policy that was kept before packs and markers declared anything decides as
// it did: stored decisions can be reproduced.
func TestAPolicyOfBeforeIsStillRead(t *testing.T) {
	t.Parallel()
	p := policy(t)
	files := map[string][]byte{"rules/GB.yaml": []byte("pack: GB\nrules: []\n"), "rules/default.yaml": []byte("pack: default\nrules: []\n"),
		"actions.yaml": []byte("version: 1\nexperiment: {salt: s}\nactions:\n  - {id: p, kind: protection, channels: [in_app], eligible: 'false', expiry: 1h, message: m}\n" +
			"  - {id: m, kind: marketing, channels: [in_app], value: '5.0', expiry: 1h, message: m}\n")}
	if _, err := Parse(files, p.FeatureNames()); err == nil {
		t.Error("such files are taken for new ones")
	}
	old, err := decodeFiles(files, true).Compile(p.FeatureNames())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := old.Document()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	in := somebody(p, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
	in.Facts = event.Facts{Jurisdiction: "JP"}
	if d := again.Decide(in); !d.Issued || d.Action != "m" {
		t.Errorf("%+v", d)
	}
}
