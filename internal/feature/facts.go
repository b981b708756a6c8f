package feature

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"pitboss/internal/event"
)

// register is one fact. The latest value in event time wins, and at equal times the
// safer one. So facts are never late, and the order of events does not matter.
type register struct {
	tag factTag
	key string // distinguishes several facts of one tag: a scheme, a consent
	pos position
	val string
}

// factTag is stored: never renumber, never reuse.
type factTag uint8

const (
	factJurisdiction factTag = 1
	factBirthDate    factTag = 2
	factBrand        factTag = 3
	factCurrency     factTag = 4
	factTier         factTag = 5
	factTimeZone     factTag = 6
	factConsent      factTag = 7  // key product/channel; val 1 or 0
	factExcluded     factTag = 8  // key scheme; val varint ms until, empty: no end
	factReinstated   factTag = 9  // key scheme
	factLimit        factTag = 10 // key limit/period; val varint amount, then currency
	factReached      factTag = 11 // key limit/period
	factIndicator    factTag = 12 // key group; val strength
	factBonus        factTag = 13
	factGame         factTag = 14 // written by older releases: the latest game
	factRecent       factTag = 15 // key game
	factFailed       factTag = 16 // the game that failed to load last
	factPlayed       factTag = 32 // val product/category of the latest round or launch
	factLicensee     factTag = 33
	factAfford       factTag = 34
	factOrigin       factTag = 35 // key product/channel; val where the consent was given
	factBasis        factTag = 36 // key limit/period; val gross or net
	factGiven        factTag = 37 // key product/channel; val varint ms: when the consent was given
)

// write stores a fact unless the stored one wins.
func (st *State) write(tag factTag, key string, at position, val string) {
	n, found := slices.BinarySearchFunc(st.facts, register{tag: tag, key: key}, compareFacts)
	switch {
	case !found:
		st.facts = slices.Insert(st.facts, n, register{tag, key, at, val})
	case !st.facts[n].settle(at, val):
		return
	}
	st.factsChanged = true
}

func compareFacts(a, b register) int {
	if a.tag != b.tag {
		return cmp.Compare(a.tag, b.tag)
	}
	return strings.Compare(a.key, b.key)
}

// factWriters write the facts that events of a type change.
var factWriters = map[string]func(*State, position, any){
	event.TypeAccountRegistered: func(st *State, at position, data any) {
		st.writeAccount(at, (*event.Account)(data.(*event.AccountRegistered)))
	},
	event.TypeAccountUpdated: func(st *State, at position, data any) { st.writeAccount(at, data.(*event.Account)) },
	event.TypeConsentChanged: func(st *State, at position, data any) {
		d := data.(*event.ConsentChanged)
		granted := "0"
		if d.Granted {
			granted = "1"
		}
		st.write(factConsent, d.Product+"/"+d.Channel, at, granted)
		st.writeGiven(factOrigin, d.Product+"/"+d.Channel, at, d.Origin)
		if !d.Given.IsZero() {
			st.write(factGiven, d.Product+"/"+d.Channel, at, string(binary.AppendVarint(nil, d.Given.UnixMilli())))
		}
	},
	event.TypeExcluded: func(st *State, at position, data any) {
		d := data.(*event.Excluded)
		var until []byte
		if !d.Until.IsZero() {
			until = binary.AppendVarint(nil, d.Until.UnixMilli())
		}
		st.write(factExcluded, d.Scheme, at, string(until))
	},
	event.TypeReinstated: func(st *State, at position, data any) {
		st.write(factReinstated, data.(*event.Reinstated).Scheme, at, "")
	},
	event.TypeLimitSet: func(st *State, at position, data any) {
		d := data.(*event.LimitSet)
		st.write(factLimit, d.Limit+"/"+d.Period, at, string(binary.AppendVarint(nil, d.Amount))+d.Currency)
		st.writeGiven(factBasis, d.Limit+"/"+d.Period, at, d.Basis)
	},
	event.TypeLimitReached: func(st *State, at position, data any) {
		d := data.(*event.LimitReached)
		st.write(factReached, d.Limit+"/"+d.Period, at, "")
	},
	event.TypeIndicatorRaised: func(st *State, at position, data any) {
		d := data.(*event.IndicatorRaised)
		st.write(factIndicator, d.Group, at, d.Strength)
	},
	event.TypeBonusGranted: func(st *State, at position, _ any) { st.write(factBonus, "", at, "") },
	event.TypeGameLaunched: func(st *State, at position, data any) {
		d := data.(*event.GameLaunched)
		st.writeGame(at, d.Game)
		st.writePlayed(at, d.Product, d.Category)
	},
	event.TypeGameFailed: func(st *State, at position, data any) {
		d := data.(*event.GameFailed)
		st.write(factFailed, "", at, d.Game)
		st.writePlayed(at, d.Product, d.Category)
	},
	event.TypeRoundSettled: func(st *State, at position, data any) {
		d := data.(*event.RoundSettled)
		st.writeGame(at, d.Game)
		st.writePlayed(at, d.Product, d.Category)
	},
}

// writeAccount stores the fields that are present; absent ones stay as they were.
func (st *State) writeAccount(at position, d *event.Account) {
	st.writeGiven(factJurisdiction, "", at, d.Jurisdiction)
	st.writeGiven(factBirthDate, "", at, d.BirthDate)
	st.writeGiven(factBrand, "", at, d.Brand)
	st.writeGiven(factCurrency, "", at, d.Currency)
	st.writeGiven(factTier, "", at, d.Tier)
	st.writeGiven(factTimeZone, "", at, d.TimeZone)
	st.writeGiven(factLicensee, "", at, d.Licensee)
	st.writeGiven(factAfford, "", at, d.Affordability)
}

// writeGiven stores a fact if the event has a value for it. A fact that belongs to
// another one (a consent's origin) counts only while both come from the same event.
func (st *State) writeGiven(tag factTag, key string, at position, val string) {
	if val != "" {
		st.write(tag, key, at, val)
	}
}

// writePlayed stores the product and category that the player plays. Without a product
// it changes nothing.
func (st *State) writePlayed(at position, product, category string) {
	if product != "" {
		st.write(factPlayed, "", at, played(product, category))
	}
}

func played(product, category string) string {
	if category == "" {
		return product
	}
	return product + "/" + category
}

// writeGame stores when a game was last chosen and keeps the event.RecentGamesKept
// latest games. Once that many games are later than another, they always will be. So
// the games that are kept do not depend on the order of the events.
func (st *State) writeGame(at position, game string) {
	if n, found := slices.BinarySearchFunc(st.facts, register{tag: factGame}, compareFacts); found {
		old := st.facts[n]
		st.facts = slices.Delete(st.facts, n, n+1)
		st.writeGame(old.pos, old.val)
	}
	games := st.games()
	if len(games) == event.RecentGamesKept && !slices.ContainsFunc(games, func(r register) bool { return r.key == game }) {
		oldest := slices.MinFunc(games, func(a, b register) int { return a.pos.compare(b.pos) })
		if at.before(oldest.pos) {
			return
		}
		n, _ := slices.BinarySearchFunc(st.facts, oldest, compareFacts)
		st.facts = slices.Delete(st.facts, n, n+1)
	}
	st.write(factRecent, game, at, "")
}

// games returns the registers of the latest games, sorted by name.
func (st *State) games() []register {
	n, _ := slices.BinarySearchFunc(st.facts, register{tag: factRecent}, compareFacts)
	end := n
	for end < len(st.facts) && st.facts[end].tag == factRecent {
		end++
	}
	return st.facts[n:end]
}

// RecentGames appends the games of event.Facts.RecentGames to dst, the latest first.
func (st *State) RecentGames(dst []string) []string {
	var buf [event.RecentGamesKept + 1]register
	games := append(buf[:0], st.games()...)
	if old, ok := st.fact(factGame, ""); ok {
		games = append(games, register{key: old.val, pos: old.pos})
	}
	slices.SortFunc(games, func(a, b register) int { return b.pos.compare(a.pos) })
	from := len(dst)
	for _, r := range games {
		if !slices.Contains(dst[from:], r.key) && len(dst)-from < event.RecentGamesKept {
			dst = append(dst, r.key)
		}
	}
	return dst
}

// Facts returns the player's facts.
func (s *Set) Facts(st *State) event.Facts {
	var f event.Facts
	excluded, lifted := map[string]register{}, map[string]position{}
	reached := map[string]position{}
	for _, r := range st.facts {
		switch r.tag {
		case factJurisdiction:
			f.Jurisdiction = r.val
		case factBirthDate:
			f.BirthDate = r.val
		case factBrand:
			f.Brand = r.val
		case factCurrency:
			f.Currency = r.val
		case factTier:
			f.Tier = r.val
		case factTimeZone:
			f.TimeZone = r.val
		case factConsent:
			put(&f.Consents, r.key, r.val == "1")
		case factExcluded:
			excluded[r.key] = r
		case factReinstated:
			lifted[r.key] = r.pos
		case factLimit:
			amount, n := binary.Varint([]byte(r.val))
			put(&f.Limits, r.key, event.Limit{Amount: amount, Currency: r.val[max(n, 0):]})
		case factReached:
			reached[r.key] = r.pos
		case factIndicator:
			if r.val != "none" {
				put(&f.Indicators, r.key, r.val)
			} else {
				put(&f.Cleared, r.key, timeOf(r.pos.ms))
			}
		case factBonus:
			f.BonusEver = true
		case factFailed:
			f.FailedGame = r.val
		case factPlayed:
			f.LastProduct, f.LastCategory, _ = strings.Cut(r.val, "/")
		case factLicensee:
			f.Licensee = r.val
		case factAfford:
			f.Affordability = r.val
		case factOrigin:
			if of, ok := st.fact(factConsent, r.key); ok && of.pos == r.pos {
				put(&f.Origins, r.key, r.val)
			}
		case factGiven:
			if at, ok := st.given(r.key); ok {
				put(&f.Given, r.key, at)
			}
		case factBasis:
			if of, ok := st.fact(factLimit, r.key); ok && of.pos == r.pos {
				l := f.Limits[r.key]
				l.Basis = r.val
				f.Limits[r.key] = l
			}
		}
	}
	if f.RecentGames = st.RecentGames(nil); len(f.RecentGames) > 0 {
		f.LastGame = f.RecentGames[0]
	}
	f.Exclusions = exclusions(excluded, lifted)
	for scheme, at := range lifted {
		if r, ok := excluded[scheme]; ok && r.pos.compareTime(at) < 0 && at.time().After(f.Returned) {
			f.Returned = at.time()
		}
	}
	for key, at := range reached {
		if set, ok := st.fact(factLimit, key); !ok || set.pos.compareTime(at) <= 0 {
			l := f.Limits[key]
			l.Reached = at.time()
			put(&f.Limits, key, l)
		}
	}
	return f
}

func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

func (st *State) fact(tag factTag, key string) (register, bool) {
	for _, r := range st.facts {
		if r.tag == tag && r.key == key {
			return r, true
		}
	}
	return register{}, false
}

// given returns when a consent was given or withdrawn, if its event said so.
func (st *State) given(key string) (time.Time, bool) {
	r, ok := st.fact(factGiven, key)
	of, told := st.fact(factConsent, key)
	ms, n := binary.Varint([]byte(r.val))
	if !ok || !told || of.pos != r.pos || n <= 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// exclusions lists, sorted by scheme, the exclusions that no later reinstatement lifted.
// A reinstatement of the same time does not lift one.
func exclusions(excluded map[string]register, lifted map[string]position) (out []event.Exclusion) {
	for scheme, r := range excluded {
		if at, ok := lifted[scheme]; ok && r.pos.compareTime(at) < 0 {
			continue
		}
		x := event.Exclusion{Scheme: scheme, Since: r.pos.time()}
		if ms, n := binary.Varint([]byte(r.val)); n > 0 {
			x.Until = time.UnixMilli(ms).UTC()
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b event.Exclusion) int { return strings.Compare(a.Scheme, b.Scheme) })
	return out
}

// Consent is one consent as the player last gave or withdrew it.
type Consent struct {
	About   string    `json:"about"` // product/channel
	Granted bool      `json:"granted"`
	At      time.Time `json:"at"`
	Origin  string    `json:"origin,omitzero"` // where the player gave or withdrew it, if known
}

// Consents lists the player's consents with when and where each was given.
func (s *Set) Consents(st *State) (out []Consent) {
	for _, r := range st.facts {
		if r.tag != factConsent {
			continue
		}
		c := Consent{About: r.key, Granted: r.val == "1", At: r.pos.time()}
		if at, ok := st.given(r.key); ok {
			c.At = at
		}
		if of, ok := st.fact(factOrigin, r.key); ok && of.pos == r.pos {
			c.Origin = of.val
		}
		out = append(out, c)
	}
	return out
}
