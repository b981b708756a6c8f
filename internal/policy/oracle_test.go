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
	where := c.in.Facts.Jurisdiction
	_, known := nationalLaw[where]
	packs := []string{where}
	if !known || where == "unknown" {
		packs = packs[:0]
		for name := range nationalLaw {
			packs = append(packs, name)
		}
	}
	why = c.everywhere()
	for _, p := range packs {
		if from, ok := registers[p]; ok && len(c.in.Facts.Exclusions) > 0 && c.urges() && c.since(from) {
			why = append(why, "register")
		}
		why = append(why, nationalLaw[p](c)...)
	}
	if len(packs) > 1 {
		where = "unknown"
	}
	return append(why, c.place(where)...)
}

// registers say since when a register of the excluded binds, where that was
// before the house's own rule.
var registers = map[string]string{"ES": "2011-05-29", "PT": "2015-06-28", "DK": "2012-01-01", "BE": "2004-01-01",
	"US-NJ": "2013-11-26", "US-PA": "2019-07-15"}

// land is what holds of a place whoever plays and whatever is said.
type land struct {
	age, lotteryAge int
	forbidden       string // products
	noAds, noBonus  bool
}

var lands = map[string]land{
	"GB": {age: 18}, "MT": {age: 18}, "SE": {age: 18}, "NL": {age: 18}, "ES": {age: 18},
	"DE": {age: 18, forbidden: "live bingo"}, "CA-ON": {age: 19, lotteryAge: 18}, "AU": {age: 18, forbidden: "casino live poker bingo"},
	"IT": {age: 18, noAds: true, noBonus: true}, "BE": {age: 21, lotteryAge: 18, forbidden: "bingo", noAds: true, noBonus: true},
	"DK": {age: 18, forbidden: "lottery"}, "PT": {age: 18, forbidden: "live lottery"}, "FR": {age: 18, forbidden: "casino live bingo lottery"},
	"IE": {age: 18, noBonus: true}, "BR": {age: 18, forbidden: "poker bingo lottery", noBonus: true},
	"US-NJ": {age: 21, lotteryAge: 18, forbidden: "bingo"}, "US-PA": {age: 21, lotteryAge: 18, forbidden: "bingo"}, "US-MI": {age: 21, lotteryAge: 18, forbidden: "bingo"},
	"unknown": {age: 21, noAds: true, noBonus: true},
}

func (c *case_) place(where string) (why []string) {
	l := lands[where]
	about := c.a.Product
	if about == "all" {
		about = c.in.Facts.LastProduct
	}
	if where == "unknown" && c.urges() {
		why = append(why, "no pack")
	}
	if where != "unknown" && c.in.Facts.Licensee == "south" && where != "MT" {
		why = append(why, "no licence")
	}
	from := l.age
	if about == "lottery" && l.lotteryAge > 0 {
		from = l.lotteryAge
	}
	if age, ok := c.age(); ok && age < from {
		why = append(why, "too young")
	}
	if about != "" && strings.Contains(l.forbidden, about) || c.in.Facts.LastProduct != "" && strings.Contains(l.forbidden, c.in.Facts.LastProduct) {
		why = append(why, "product")
	}
	if about == "" && c.marketing() && l.forbidden != "" {
		why = append(why, "some product")
	}
	if c.marketing() && l.noAds {
		why = append(why, "advertising")
	}
	if b := c.a.Bonus; b != nil {
		if l.noBonus {
			why = append(why, "no bonus there")
		}
		for _, p := range b.Products {
			if strings.Contains(l.forbidden, p) {
				why = append(why, "bonus product")
			}
		}
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

// optedInOnSite: one of the opt-ins that cover it came from the own site or app.
func (c *case_) optedInOnSite() bool {
	if !c.optedIn() {
		return false
	}
	for key, origin := range c.in.Facts.Origins {
		p, ch, _ := strings.Cut(key, "/")
		if c.in.Facts.Consents[key] && (p == c.a.Product || p == "all") && (ch == c.channel || ch == "all") && (origin == "site" || origin == "app") {
			return true
		}
	}
	return false
}

// raised: somebody raised it, or what was seen of the player's play amounts to
// it and no person has just cleared it, or did and it was not cleared since.
func (c *case_) raised(strength string) bool {
	for _, s := range c.in.Facts.Indicators {
		if s == strength {
			return true
		}
	}
	rests := func(group string) bool {
		at, ok := c.in.Facts.Cleared[group]
		return ok && c.in.Now.Before(at.Add(24*time.Hour))
	}
	pattern, time_, spend := !rests("spend_pattern"), !rests("time"), !rests("spend")
	if strength == "strong" {
		for _, r := range c.in.Contacts.Raised {
			if r.Code == ActionCode("MK-CHASE") && c.in.Now.Before(r.At.Add(72*time.Hour)) && !c.in.Facts.Cleared["spend_pattern"].After(r.At) {
				return true
			}
		}
		return pattern && c.f["chase"] >= 2.9 || time_ && c.f["session_minutes"] >= 360
	}
	local := c.in.Now
	night := false
	if z, err := time.LoadLocation(c.in.Facts.TimeZone); err == nil && c.in.Facts.TimeZone != "" && c.in.Facts.TimeZone != "Local" {
		local = local.In(z)
		night = local.Hour() >= 1 && local.Hour() < 5
	}
	if pattern && c.f["chase"] >= 1.9 || time_ && (c.f["session_minutes"] >= 180 || night && c.f["session_minutes"] >= 60) {
		return true
	}
	_, known := lands[c.in.Facts.Jurisdiction]
	if c.in.Facts.Jurisdiction == "NL" || !known || c.in.Facts.Jurisdiction == "unknown" {
		age, ok := c.age()
		return spend && ok && age < 24 && c.in.Facts.Affordability != "clear" && c.f["deposit_sum_month"]-c.f["withdrawal_sum_month"] >= 250_00
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
		if b := c.a.Bonus; b != nil && c.since("2026-01-19") {
			tied := map[string]bool{}
			for _, p := range append(slices.Clone(b.Products), b.QualifiesOn...) {
				tied[p] = true
			}
			if b.Wagering > 10 || len(tied) > 1 && !b.FreeChoice {
				why = append(why, "bonus terms")
			}
		}
		if back := c.in.Facts.Returned; c.since("2018-10-31") && c.urges() && !back.IsZero() && c.in.Now.Before(back.AddDate(0, 0, 1)) {
			why = append(why, "back today")
		}
		slot := c.a.Category == "slots" || c.a.Category == "" && (c.a.Product == "casino" || c.a.Product == "all")
		if slot && c.since("2025-04-09") && c.a.Stake > 500 {
			why = append(why, "stake")
		}
		if slot && c.since("2025-05-21") && c.a.Stake > 200 {
			if age, known := c.age(); !known || age < 25 {
				why = append(why, "stake of the young")
			}
		}
		if c.since("2025-02-28") && (c.asks("deposit") || c.a.Bonus != nil) && c.marketing() &&
			c.f["deposit_sum_30d"]-c.f["withdrawal_sum_30d"] > 150_00 && c.in.Facts.Affordability != "clear" {
			why = append(why, "check")
		}
		if c.since("2024-08-30") && c.marketing() && c.in.Facts.Affordability == "vulnerable" {
			why = append(why, "vulnerable")
		}
		if c.since("2025-10-31") && c.asks("deposit") && len(c.in.Facts.Limits) == 0 {
			why = append(why, "limit first")
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
		if c.a.Category == "table" || c.a.Category == "" && c.a.Product == "casino" && c.in.Facts.LastCategory == "table" {
			why = append(why, "table")
		}
		if c.marketing() && strings.Contains("casino live poker all", c.a.Product) {
			z, err := time.LoadLocation(c.in.Facts.TimeZone)
			if err != nil || c.in.Facts.TimeZone == "" || c.in.Facts.TimeZone == "Local" {
				why = append(why, "hour unknown")
			} else if clock := c.in.Now.In(z).Format("15:04"); clock >= "06:00" && clock < "21:00" {
				why = append(why, "by day")
			}
		}
		return why
	},
	"NL": func(c *case_) (why []string) {
		age, known := c.age()
		young := !known || age < 24
		if c.marketing() && young && c.since("2023-07-01") {
			why = append(why, "18 to 23")
		}
		if c.marketing() && c.a.Countdown && c.since("2021-10-01") {
			why = append(why, "urges")
		}
		if !c.since("2024-10-01") {
			return why
		}
		if c.a.Bonus != nil && c.a.Bonus.Cashback {
			why = append(why, "cashback")
		}
		limit := 700_00.0
		if young {
			limit = 300_00
		}
		if c.asks("deposit") && c.f["deposit_sum_month"]-c.f["withdrawal_sum_month"] > limit && c.in.Facts.Affordability != "clear" {
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
		if c.since("2022-04-04") && c.a.Bonus != nil && c.channel != "in_app" && !c.optedInOnSite() {
			why = append(why, "inducement")
		}
		if c.since("2022-04-04") && c.a.LoosenLimit {
			why = append(why, "looser limit")
		}
		return why
	},
	"AU": func(c *case_) (why []string) {
		if c.since("2001-07-11") && strings.Contains("casino live poker bingo", c.a.Product) {
			why = append(why, "prohibited service")
		}
		if c.since("2017-09-13") && c.a.Category == "in_play" {
			why = append(why, "in play")
		}
		return why
	},
	"ES": func(c *case_) (why []string) {
		if !c.since("2024-03-14") {
			return nil
		}
		age, known := c.age()
		young := !known || age <= 25
		if c.a.Bonus != nil && young {
			why = append(why, "young")
		}
		lost := 600_00.0
		if young {
			lost = 200_00
		}
		if c.marketing() && (c.a.Bonus != nil || c.asks("deposit")) && (c.f["net_7d"] <= -lost || !known && c.f["net_7d"] <= -200_00) {
			why = append(why, "intensive")
		}
		return why
	},
	"IT": func(c *case_) []string { return c.none(c.marketing(), "2018-07-14") },
	"DK": func(c *case_) []string {
		b := c.a.Bonus
		return c.none(b != nil && (b.Wagering > 10 || b.Amount == 0 || b.Amount > 1000_00 || c.in.Facts.Currency != "DKK"), "2020-01-01")
	},
	"BE": func(c *case_) []string {
		return append(c.none(c.marketing(), "2023-07-01"), c.none(c.a.Bonus != nil, "2024-09-01")...)
	},
	"PT": func(c *case_) []string {
		return c.none(c.marketing() && (c.raised("strong") || c.raised("low")), "2015-06-28")
	},
	"FR": func(c *case_) []string {
		return append(c.none(strings.Contains("casino live bingo lottery", c.a.Product), "2010-05-12"),
			c.none(c.marketing() && (c.raised("strong") || c.raised("low") || c.harm(0.6)), "2021-04-01")...)
	},
	"IE":    func(c *case_) []string { return c.none(c.a.Bonus != nil, "2025-03-05") },
	"BR":    func(c *case_) []string { return c.none(c.a.Bonus != nil, "2025-01-01") },
	"US-NJ": func(c *case_) []string { return c.none(c.stateRisk(), "2013-11-26") },
	"US-PA": func(c *case_) []string { return c.none(c.stateRisk(), "2019-07-15") },
	"US-MI": func(c *case_) []string { return c.none(c.stateRisk(), "2021-01-22") },
	"unknown": func(c *case_) (why []string) {
		if c.since("2020-01-01") && (c.a.Bonus != nil || c.asks("deposit")) {
			why = append(why, "unknown law")
		}
		return why
	},
}

// none is one reason not to, from a day on.
func (c *case_) none(forbidden bool, from string) []string {
	if forbidden && c.since(from) {
		return []string{"from " + from}
	}
	return nil
}

func (c *case_) stateRisk() bool {
	limit := false
	for _, l := range c.in.Facts.Limits {
		limit = limit || (!l.Reached.IsZero() && l.Reached.Add(24*time.Hour).After(c.in.Now))
	}
	return c.marketing() && (c.a.Bonus != nil || c.asks("deposit")) && (limit || c.raised("strong") || c.raised("low"))
}

// oracleSilence tells whether a protection message is too recent.
func oracleSilence(sent []Sent, a *ActionDecl, now time.Time) bool {
	for _, s := range sent {
		ago := now.Sub(s.At)
		if s.Kind == 'p' && (a.Kind == Marketing && ago < 24*time.Hour || slices.Contains(a.Prompts, "play") && ago < 30*time.Minute) {
			return true
		}
	}
	return false
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
		if !slices.Contains([]string{BlockCap, BlockSpacing, BlockQuiet, BlockKill, BlockStale, BlockHold, BlockClosed, BlockMessage, BlockSilence}, b.Rule) {
			out = append(out, b.Rule)
		}
	}
	return out
}
