package policy

import (
	"slices"
	"strings"
	"time"

	"pitboss/internal/event"
)

// The rules once more, in plain Go and by another hand than the packs: slow,
// and without CEL, YAML, dependency analysis or caching. It was written from
// the same table of sources. It answers which rules forbid an action on a
// channel; names are free, only whether there are any counts.

type case_ struct {
	in      *Input
	a       *ActionDecl
	channel string
	f       map[string]float64
}

func (c *case_) forbidden() (why []string) {
	if c.a.Kind == Protection {
		return nil
	}
	packs := []string{c.in.Facts.Jurisdiction}
	if _, known := nationalLaw[packs[0]]; !known {
		packs = []string{"GB", "MT", "SE", "DE", "NL", "CA-ON", "AU", "unknown"}
	}
	why = c.everywhere()
	for _, p := range packs {
		why = append(why, nationalLaw[p](c)...)
	}
	return why
}

func (c *case_) marketing() bool { return c.a.Kind == Marketing }
func (c *case_) asks(what string) bool {
	for _, p := range c.a.Prompts {
		if p == what {
			return true
		}
	}
	return false
}
func (c *case_) urges() bool { return c.marketing() || c.asks("play") || c.asks("deposit") }

// age counts birthdays one by one; ok is false where there is no birth date.
func (c *case_) age() (years int, ok bool) {
	born, err := time.Parse("2006-01-02", c.in.Facts.BirthDate)
	if err != nil {
		return 0, false
	}
	today := c.in.Now.UTC()
	if z, err := time.LoadLocation(c.in.Facts.TimeZone); err == nil && c.in.Facts.TimeZone != "" && c.in.Facts.TimeZone != "Local" {
		today = c.in.Now.In(z)
	}
	day := today.Format("2006-01-02")
	for y := born.Year() + 1; ; y++ {
		birthday := time.Date(y, born.Month(), born.Day(), 0, 0, 0, 0, time.UTC).Format("2006-01-02") // 29 February turns into 1 March
		if birthday > day {
			return years, true
		}
		years++
	}
}

// optedIn: somebody said yes to this product on this channel, and nobody said
// no to either.
func (c *case_) optedIn() bool {
	yes := false
	for key, granted := range c.in.Facts.Consents {
		parts := strings.Split(key, "/")
		channelFits := parts[1] == c.channel || parts[1] == "all"
		if !granted && channelFits && (parts[0] == c.a.Product || parts[0] == "all" || c.a.Product == "all") {
			return false
		}
		if granted && channelFits && (parts[0] == c.a.Product || parts[0] == "all") {
			yes = true
		}
	}
	return yes
}

func (c *case_) raised(strength string) bool {
	for _, s := range c.in.Facts.Indicators {
		if s == strength {
			return true
		}
	}
	return false
}

// harm is at least x, for all anyone knows.
func (c *case_) harm(x float64) bool {
	v, rated := c.in.Scores["harm"]
	return !rated || v >= x
}

func (c *case_) since(date string) bool {
	d, _ := time.Parse("2006-01-02", date)
	return !c.in.Now.Before(d)
}

func (c *case_) everywhere() (why []string) {
	age, known := c.age()
	excluded := len(c.in.Facts.Exclusions) > 0
	house := c.since("2020-01-01")
	if excluded && c.urges() && house {
		why = append(why, "excluded")
	}
	if c.marketing() && (!known || age < 18) && house {
		why = append(why, "age")
	}
	if c.marketing() && !c.optedIn() && c.since("2018-05-25") {
		why = append(why, "consent")
	}
	if c.marketing() && (c.raised("strong") || c.harm(0.7)) && house {
		why = append(why, "harm")
	}
	if house && c.f["chase"] >= 2 && (c.asks("play") || c.asks("deposit") || c.a.Bonus != nil) {
		why = append(why, "chase")
	}
	return why
}

var nationalLaw = map[string]func(*case_) []string{
	"GB": func(c *case_) (why []string) {
		if c.marketing() && c.raised("low") && (c.a.Bonus != nil || c.asks("deposit")) && c.since("2022-09-12") {
			why = append(why, "tier")
		}
		if b := c.a.Bonus; b != nil && c.since("2026-01-19") && (b.Wagering > 10 || len(b.Products) > 1 && !b.FreeChoice) {
			why = append(why, "bonus terms")
		}
		if c.since("2025-04-09") && c.a.Stake > 200 {
			if age, known := c.age(); c.a.Stake > 500 || !known || age < 25 {
				why = append(why, "stake")
			}
		}
		return why
	},
	"MT": func(c *case_) (why []string) {
		if c.since("2023-01-12") && (c.asks("play") || c.asks("deposit") || c.a.Bonus != nil) &&
			(c.f["chase"] >= 1 || c.raised("strong") || c.raised("low") || c.harm(0.6)) {
			why = append(why, "markers")
		}
		return why
	},
	"SE": func(c *case_) (why []string) {
		if !c.since("2019-01-01") {
			return nil
		}
		if len(c.in.Facts.Exclusions) > 0 && c.urges() {
			why = append(why, "Spelpaus")
		}
		if c.a.Bonus == nil {
			return why
		}
		if c.in.Facts.BonusEver || c.in.Contacts.Bonuses > 0 {
			why = append(why, "one bonus ever")
		}
		if c.raised("strong") || c.raised("low") || c.harm(0.4) || c.f["chase"] >= 1 {
			why = append(why, "care")
		}
		return why
	},
	"DE": func(c *case_) (why []string) {
		if !c.since("2021-07-01") {
			return nil
		}
		if c.asks("deposit") {
			limit := c.f["deposit_sum_30d"] >= 1000_00
			for _, l := range c.in.Facts.Limits {
				limit = limit || (!l.Reached.IsZero() && l.Reached.Add(24*time.Hour).After(c.in.Now))
			}
			if limit {
				why = append(why, "1000 EUR")
			}
		}
		if c.a.AutoStart || c.a.Stake > 1_00 {
			why = append(why, "slots")
		}
		return why
	},
	"NL": func(c *case_) (why []string) {
		age, known := c.age()
		young := !known || age < 24
		if c.marketing() && young && c.since("2023-07-01") {
			why = append(why, "18 to 23")
		}
		if !c.since("2024-10-01") {
			return why
		}
		limit := 700_00.0
		if young {
			limit = 300_00
		}
		if c.asks("deposit") && c.f["deposit_sum_30d"]-c.f["withdrawal_sum_30d"] > limit {
			why = append(why, "deposits")
		}
		if (c.asks("play") || c.asks("deposit") || c.a.Bonus != nil) && (c.harm(0.6) || c.f["session_minutes"] >= 240) {
			why = append(why, "excessive play")
		}
		return why
	},
	"CA-ON": func(c *case_) (why []string) {
		if c.since("2022-04-04") && c.marketing() && (c.raised("strong") || c.harm(0.6)) {
			why = append(why, "high risk")
		}
		if c.since("2022-04-04") && c.a.LoosenLimit {
			why = append(why, "looser limit")
		}
		return why
	},
	"AU": func(*case_) []string { return nil }, // nothing beyond what holds everywhere
	"unknown": func(c *case_) (why []string) {
		if c.since("2020-01-01") && (c.a.Bonus != nil || c.asks("deposit")) {
			why = append(why, "unknown law")
		}
		return why
	},
}

// oracleCaps counts by the policy of actions.yaml.
func oracleCaps(f *ActionFile, sent []Sent, a *ActionDecl, now time.Time) bool {
	over := func(c Contact, mine func(Sent) bool) bool {
		day, week := 0, 0
		for _, s := range sent {
			if !mine(s) {
				continue
			}
			if s.At.After(now.Add(-24 * time.Hour)) {
				day++
			}
			if s.At.After(now.Add(-7 * 24 * time.Hour)) {
				week++
			}
			if s.At.After(now.Add(-time.Duration(c.Spacing))) {
				return true
			}
		}
		return c.PerDay > 0 && day >= c.PerDay || c.PerWeek > 0 && week >= c.PerWeek
	}
	return over(a.Contact, func(s Sent) bool { return s.Action == ActionCode(a.ID) }) ||
		over(f.Contact[a.Kind], func(s Sent) bool { return s.Kind == a.Kind[0] })
}

// oracleQuiet tells whether it is night where the player is, hour by hour.
func oracleQuiet(c Contact, zone string, now time.Time, channel string) bool {
	if c.Quiet == "" || channel == "in_app" {
		return false
	}
	z, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return true
	}
	from, to, _ := strings.Cut(c.Quiet, "-")
	clock := now.In(z).Format("15:04")
	if from <= to {
		return clock >= from && clock < to
	}
	return clock >= from || clock < to
}

// packBlocks are those of a candidate's blocks that come from a rule.
func packBlocks(blocked []event.Blocked) (out []string) {
	for _, b := range blocked {
		if !slices.Contains([]string{BlockCap, BlockSpacing, BlockQuiet, BlockKill, BlockStale, BlockHold, BlockClosed, BlockMessage}, b.Rule) {
			out = append(out, b.Rule)
		}
	}
	return out
}
