package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// temptations are actions that some law forbids, always eligible.
const temptations = `
  - {id: p1, kind: protection, channels: [in_app], eligible: "features.session_minutes >= 200.0", value: "5.0", expiry: 1h, message: m}
  - {id: s1, kind: service, channels: [push, in_app], product: casino, value: "9.0", expiry: 1h, message: m, prompts: [play]}
  - {id: s2, kind: service, channels: [email], value: "2.0", expiry: 1h, message: m}
  - {id: s3, kind: service, channels: [in_app], value: "3.0", expiry: 1h, message: m, stake: 500}
  - {id: s4, kind: service, channels: [in_app], value: "3.0", expiry: 1h, message: m, auto_start: true}
  - {id: s5, kind: service, channels: [in_app], value: "3.0", expiry: 1h, message: m, loosen_limit: true}
  - {id: m1, kind: marketing, channels: [email, in_app], product: casino, value: "90.0", expiry: 1h, message: m, prompts: [play]}
  - {id: m2, kind: marketing, channels: [push], product: all, value: "80.0", expiry: 1h, message: m, bonus: {wagering: 5, products: [casino], amount: 90000}, contact: {per_week: 1, spacing: 2d}}
  - {id: m3, kind: marketing, channels: [post, sms], product: sports, value: "70.0", expiry: 1h, message: m, bonus: {wagering: 40, products: [sports], amount: 5000}}
  - {id: m4, kind: marketing, channels: [in_app], product: casino, value: "95.0", expiry: 1h, message: m, bonus: {wagering: 1, products: [casino, sports]}}
  - {id: m5, kind: marketing, channels: [email, sms], product: casino, value: "60.0", expiry: 1h, message: m, prompts: [deposit]}
  - {id: m6, kind: marketing, channels: [in_app], product: casino, value: "50.0", expiry: 1h, message: m, stake: 300}
  - {id: m8, kind: marketing, channels: [in_app], product: sports, category: in_play, value: "30.0", expiry: 1h, message: m}
  - {id: m9, kind: marketing, channels: [in_app], product: casino, category: table, value: "45.0", expiry: 1h, message: m, stake: 600, countdown: true}
  - {id: m10, kind: marketing, channels: [email, in_app], product: sports, value: "35.0", expiry: 1h, message: m, bonus: {wagering: 1, products: [sports], qualifies_on: [casino], cashback: true}}
  - {id: m11, kind: marketing, channels: [in_app, email], product: lottery, value: "25.0", expiry: 1h, message: m}
  - {id: m12, kind: marketing, channels: [in_app], product: poker, value: "25.0", expiry: 1h, message: m, bonus: {wagering: 1, products: [poker], amount: 100001}}
  - {id: m7, kind: marketing, channels: [in_app], product: bingo, value: "40.0", expiry: 1h, message: m}
`

const temptingHead = `version: 1
experiment: {salt: s, holdout: 0.02, arms: [{name: a, share: 0.5, temperature: 50}, {name: b, share: 0.5}]}
contact:
  marketing: {per_day: 2, per_week: 6, spacing: 4h, quiet: "21:00-09:00"}
  service: {per_day: 30, spacing: 30s, quiet: "22:00-07:00"}
max_age: 15m
licensees: {default: [AU, BE, BR, CA-ON, DE, DK, ES, FR, GB, IE, IT, MT, NL, PT, SE, US-MI, US-NJ, US-PA], south: [MT]}
after_protection: {info: {marketing: 24h, prompts: 30m}}
actions:`

func tempting(tb testing.TB) *Policy {
	tb.Helper()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string][]byte{}
	for name, b := range policy(tb).Files() {
		files[name] = b
	}
	files["actions.yaml"] = []byte(temptingHead + temptations)
	p, err := Parse(files, set.Names())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

var jurisdictions = []string{"GB", "MT", "SE", "DE", "NL", "CA-ON", "AU", "ES", "IT", "DK", "BE", "PT", "FR", "IE", "BR", "US-NJ", "US-PA", "US-MI",
	"", "JP", "CA", "common", "eu"}

// adless are those among them where nothing is ever advertised to a player.
var adless = []string{"IT", "BE", "", "JP", "CA", "common", "eu"}

// anyone draws a player, a state and a time; most are likely to be let through.
func anyone(t *rapid.T, p *Policy) *Input {
	rarely := func(what string) bool { return rapid.IntRange(0, 7).Draw(t, what) == 0 }
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 86400*7).Draw(t, "s")) * time.Second)
	if rarely("long ago") {
		now = time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 10*365*24).Draw(t, "hours")) * time.Hour)
	}
	in := &Input{Decision: rapid.StringMatching(`d[0-9]{1,6}`).Draw(t, "decision"), Player: rapid.StringMatching(`p[0-9]{1,4}`).Draw(t, "player"),
		Now: now, AsOf: now.Add(-time.Duration(rapid.IntRange(0, 960).Draw(t, "age")) * time.Second), Contacts: &Contacts{}, Scores: map[string]float64{}}
	f := &in.Facts
	f.Jurisdiction = rapid.SampledFrom(jurisdictions).Draw(t, "jurisdiction")
	f.TimeZone = rapid.SampledFrom([]string{"Europe/London", "Australia/Sydney", "America/Toronto", "UTC", "", "Mars/Olympus", "Local"}).Draw(t, "zone")
	if !rarely("no birth date") {
		f.BirthDate = now.AddDate(-rapid.IntRange(15, 45).Draw(t, "years"), 0, rapid.IntRange(-2, 2).Draw(t, "days")).Format(time.DateOnly)
	}
	f.Consents = map[string]bool{}
	if !rarely("not asked") {
		f.Consents["all/all"] = true
	}
	for range rapid.IntRange(0, 2).Draw(t, "consents") {
		key := rapid.SampledFrom([]string{"casino", "sports", "all", "bingo"}).Draw(t, "product") + "/" + rapid.SampledFrom([]string{"in_app", "email", "push", "sms", "post", "all"}).Draw(t, "channel")
		f.Consents[key] = rapid.Bool().Draw(t, "granted")
	}
	if rarely("excluded") {
		f.Exclusions = []event.Exclusion{{Scheme: rapid.SampledFrom([]string{"operator", "LUGAS", "OASIS"}).Draw(t, "scheme"), Since: now.Add(-time.Hour)}}
		if rapid.Bool().Draw(t, "ended") {
			f.Exclusions[0].Until = now.Add(-time.Minute)
		}
	}
	if rarely("returned") {
		f.Returned = now.Add(-time.Duration(rapid.IntRange(0, 48).Draw(t, "back")) * time.Hour)
	}
	if f.Jurisdiction == "DK" {
		f.Currency = rapid.SampledFrom([]string{"DKK", "DKK", "EUR"}).Draw(t, "currency")
	}
	f.Origins = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(f.Consents)) {
		if origin := rapid.SampledFrom([]string{"", "site", "phone"}).Draw(t, "origin"); origin != "" {
			f.Origins[key] = origin
		}
	}
	f.LastProduct = rapid.SampledFrom([]string{"", "casino", "sports", "sports", "lottery", "poker"}).Draw(t, "plays")
	if f.LastProduct == "casino" {
		f.LastCategory = rapid.SampledFrom([]string{"", "slots", "table"}).Draw(t, "category")
	}
	if rarely("elsewhere") {
		f.Licensee = "south"
	}
	f.Affordability = rapid.SampledFrom([]string{"", "", "clear", "clear", "vulnerable", "pending"}).Draw(t, "afford")
	if rarely("cleared") {
		f.Cleared = map[string]time.Time{rapid.SampledFrom([]string{"time", "spend", "spend_pattern"}).Draw(t, "group"): now.Add(-time.Duration(rapid.IntRange(0, 48).Draw(t, "ago")) * time.Hour)}
	}
	if rarely("seen chasing") {
		in.Contacts.Raised = []Raised{{ActionCode("MK-CHASE"), now.Add(-time.Duration(rapid.IntRange(1, 96).Draw(t, "seen")) * time.Hour)}}
	}
	if rarely("indicated") {
		f.Indicators = map[string]string{"spend": rapid.SampledFrom([]string{"low", "strong"}).Draw(t, "strength")}
	}
	if rarely("limited") {
		f.Limits = map[string]event.Limit{"deposit/month": {Amount: 1, Reached: now.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "h")) * time.Hour)}}
	}
	f.BonusEver = rarely("bonus")
	in.Features = make([]float64, len(p.FeatureNames()))
	for i, name := range p.FeatureNames() {
		switch name {
		case "chase":
			in.Features[i] = rapid.SampledFrom([]float64{0, 0, 0, 0, 0.99, 1, 2, 3}).Draw(t, name)
		case "session_minutes":
			in.Features[i] = rapid.SampledFrom([]float64{0, 0, 10, 50, 100, 179, 239, 240, 300, 400}).Draw(t, name)
		case "net_7d":
			in.Features[i] = rapid.SampledFrom([]float64{0, 0, -19999, -20000, -49999}).Draw(t, name)
		case "deposit_sum_month", "withdrawal_sum_month":
			in.Features[i] = rapid.SampledFrom([]float64{0, 0, 24999, 25000, 30001, 70001}).Draw(t, name)
		case "deposit_sum_30d", "withdrawal_sum_30d":
			in.Features[i] = rapid.SampledFrom([]float64{0, 29999, 30000, 30001, 70000, 70001, 100000}).Draw(t, name)
		}
	}
	in.Scores["leave"] = .5
	if !rarely("unrated") {
		in.Scores["harm"] = rapid.SampledFrom([]float64{0, .1, .2, .39, .4, .59, .6, .69, .7, 1}).Draw(t, "harm")
	}
	for range rapid.IntRange(0, 5).Draw(t, "sent") {
		a := rapid.SampledFrom(p.Actions()).Draw(t, "of")
		in.Contacts.Sent = append(in.Contacts.Sent, Sent{Decision: "x", Action: ActionCode(a.ID), Kind: a.Kind[0], Bonus: a.Bonus != nil,
			At: now.Add(-time.Duration(rapid.IntRange(-1, 14*24*60).Draw(t, "minutes")) * time.Minute)})
	}
	slices.SortFunc(in.Contacts.Sent, func(a, b Sent) int { return a.At.Compare(b.At) })
	if rarely("had a bonus") {
		in.Contacts.Bonuses = 1
	}
	return in
}

func featuresOf(p *Policy, in *Input) map[string]float64 {
	out := map[string]float64{}
	for i, n := range p.FeatureNames() {
		out[n] = in.Features[i]
	}
	return out
}

func declOf(p *Policy, id string) *ActionDecl {
	for i := range p.file.Actions {
		if p.file.Actions[i].ID == id {
			return &p.file.Actions[i]
		}
	}
	return nil
}

// Nothing is issued that the oracle forbids, and no rule blocks what the
// oracle allows.
func TestOracleAgrees(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	issued, blocked := map[string]int{}, map[string]int{}
	check := func(t *rapid.T) {
		in := anyone(t, p)
		f := featuresOf(p, in)
		// Everyone is tried under every law: one case of each would leave the
		// rare ones to luck.
		for _, in.Facts.Jurisdiction = range jurisdictions {
			d := p.Decide(in)
			for _, c := range d.Candidates {
				decl := declOf(p, c.Action)
				why := (&case_{in, decl, c.Channel, f}).forbidden()
				rules := packBlocks(c.Blocked)
				if (len(why) > 0) != (len(rules) > 0) {
					t.Fatalf("%s on %s in %q: rules %v, oracle %v\n%+v", c.Action, c.Channel, in.Facts.Jurisdiction, rules, why, in)
				}
				if len(rules) > 0 {
					blocked[in.Facts.Jurisdiction]++
				}
				if len(c.Blocked) == 0 && c.Kind != Protection {
					quiet := oracleQuiet(p.file.Contact[c.Kind], in.Facts.TimeZone, in.Now, c.Channel)
					if oracleCaps(&p.file, in.Contacts.Sent, decl, in.Now) || quiet || in.Now.Sub(in.AsOf) > 15*time.Minute || oracleSilence(in.Contacts.Sent, decl, in.Now) {
						t.Fatalf("%s on %s is let through against the contact policy: %+v", c.Action, c.Channel, in)
					}
				}
			}
			if d.Issued {
				issued[in.Facts.Jurisdiction+" "+d.Kind]++
			}
			again := p.Decide(in)
			if fmt.Sprintf("%+v", d) != fmt.Sprintf("%+v", again) {
				t.Fatal("not the same twice")
			}
		}
	}

	// A test that never lets marketing through, or never blocks, proves
	// nothing. Both are drawn, marketing in about one case of fifteen: go on
	// until they have come.
	unseen := func() (where []string) {
		for _, j := range jurisdictions {
			if blocked[j] == 0 || issued[j+" "+Marketing] == 0 && !slices.Contains(adless, j) {
				where = append(where, j)
			}
		}
		return where
	}
	rapid.Check(t, check)
	for range 20 {
		if len(unseen()) > 0 && !t.Failed() {
			rapid.Check(t, check)
		}
	}
	if where := unseen(); len(where) > 0 {
		t.Errorf("nothing was blocked, or no marketing issued, in %q", where)
	}
	t.Logf("issued %v, blocked %v", issued, blocked)
}

// Whatever stops marketing and service, protection goes out.
func TestProtectionIsNeverSuppressed(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		for i, n := range p.FeatureNames() {
			if n == "session_minutes" {
				in.Features[i] = 300
			}
		}
		in.Contacts.Hold = in.Now.Add(time.Hour)
		in.Killed = []string{Switch("jurisdiction", in.Facts.Jurisdiction), Switch("rule", "ALL-EXCL"), Switch("model", "harm")}
		if d := p.Decide(in); !d.Issued || d.Action != "p1" {
			t.Fatalf("%+v", d)
		}
	})
}

// ruleBlocks are those of the packs' rules, whose ids are in capitals.
func ruleBlocks(blocked []event.Blocked) []string {
	return slices.DeleteFunc(packBlocks(blocked), func(id string) bool { return strings.ToUpper(id) != id })
}

// A place without a pack of its own gets no marketing and no prompt, whatever
// else holds; service that asks for nothing goes on.
func TestNoPackNoMarketing(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	served := 0
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		in.Facts.Jurisdiction = rapid.SampledFrom([]string{"", "JP", "CA", "US", "US-NV", "common", "eu", "default", "XX"}).Draw(t, "nowhere")
		d := p.Decide(in)
		if !d.Issued {
			return
		}
		if decl := declOf(p, d.Action); decl.Kind == Marketing || len(decl.Prompts) > 0 {
			t.Fatalf("%s was issued in %q", d.Action, in.Facts.Jurisdiction)
		}
		served++
	})
	if served == 0 {
		t.Error("nothing was issued at all")
	}
}

// What any jurisdiction forbids is forbidden where the jurisdiction is unknown.
func TestUnknownJurisdictionIsStrictest(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		here := p.Decide(in)
		in.Facts.Jurisdiction = "XX"
		there := p.Decide(in)
		for i, c := range here.Candidates {
			if len(ruleBlocks(c.Blocked)) > 0 && len(packBlocks(there.Candidates[i].Blocked)) == 0 {
				t.Fatalf("%s: blocked by %v, but not where the law is unknown", c.Action, c.Blocked)
			}
		}
	})
}

// A kill switch stops what it names, and only more than before.
func TestKillSwitchesStop(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		d := p.Decide(in)
		if !d.Issued || d.Kind == Protection {
			return
		}
		for _, k := range []string{Switch("action", d.Action), Switch("jurisdiction", in.Facts.Jurisdiction)} {
			in.Killed = []string{k}
			if again := p.Decide(in); again.Issued && again.Action == d.Action {
				t.Fatalf("%s is on and %s was issued", k, d.Action)
			}
		}
	})
}

// Histories survive their encoding, and no input makes the decoder panic.
func TestContactsCodec(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		c := in.Contacts.After(in, p.Decide(in), true, rapid.Uint64().Draw(t, "seq"))
		for i := range c.Sent {
			c.Sent[i].Expires = c.Sent[i].At.Add(time.Hour)
		}
		got, err := ParseContacts(c.Append(nil))
		if err != nil || fmt.Sprintf("%+v", got.Sent) != fmt.Sprintf("%+v", c.Sent) || fmt.Sprint(got.Raised) != fmt.Sprint(c.Raised) || got.Bonuses != c.Bonuses {
			t.Fatalf("%+v\n%+v\n%v", got, c, err)
		}
		if seq, ok := got.Find(in.Decision); !ok || seq != c.Made[len(c.Made)-1].Seq {
			t.Fatal("the decision is not remembered")
		}
		raw := rapid.SliceOf(rapid.Byte()).Draw(t, "raw")
		_, _ = ParseContacts(raw)
		_, _ = ParseContacts(append([]byte{1}, raw...))
		_, _ = ParseContacts(append([]byte{2}, raw...))
	})
}
