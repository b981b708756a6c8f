package search

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// profile holds the fields that many decisions have in common.
type profile struct {
	Verdict      string   `json:"verdict"` // issued | suppressed
	Action       string   `json:"action"`
	Kind         string   `json:"kind,omitzero"`
	Jurisdiction string   `json:"jurisdiction,omitzero"`
	Brand        string   `json:"brand,omitzero"`
	Review       bool     `json:"review,omitzero"`
	Rules        []string `json:"rules,omitempty"` // the rules that blocked something, else the reason for sending nothing
}

func (p *profile) name() string {
	review := ""
	if p.Review {
		review = "r"
	}
	return strings.Join(append([]string{p.Verdict, p.Action, p.Kind, p.Jurisdiction, p.Brand, review}, p.Rules...), "\x00")
}

// row is one decision.
type row struct {
	at      int64  // milliseconds
	id      uint64 // hash of the decision's id
	key     uint32 // hash of the sealing key's name
	profile uint32
	place   uint64 // shard and sequence number of the entry; in order within a shard
	where   uint32 // row in the segment; unused for entries in Redis
}

func placeOf(e *journal.Entry) uint64 { return uint64(e.Shard)<<48 | e.Seq }

func placed(place uint64) journal.Place {
	return journal.Place{Shard: int(place >> 48), Seq: place & (1<<48 - 1)}
}

func byTime(a, b row) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.place, b.place)) }

// columns are rows in order of time, then of place.
type columns struct {
	at, id, place       []uint64
	key, profile, where []uint32

	outcome  []uint8 // a Rank; kept in memory because it changes
	profiles []profile
	texts    map[string]string // a rule's text by its id

	ids  map[uint64]uint32 // row by id, if byID is nil
	byID []uint32          // rows in order of id
}

// when returns a row's time in milliseconds.
func (c *columns) when(i int) int64 { return int64(c.at[i]) }

// find returns the row of a decision.
func (c *columns) find(id uint64) (int, bool) {
	if c.byID == nil {
		i, ok := c.ids[id]
		return int(i), ok
	}
	n, ok := sort.Find(len(c.byID), func(i int) int { return cmp.Compare(id, c.id[c.byID[i]]) })
	if !ok {
		return 0, false
	}
	return int(c.byID[n]), true
}

// settle records the outcome of a decision. It returns false if the decision is not here.
func (c *columns) settle(a about) bool {
	i, ok := c.find(a.id)
	if ok && a.outcome > c.outcome[i] {
		c.outcome[i] = a.outcome
	}
	return ok
}

// push adds rows, which may be older than the newest existing ones.
func (c *columns) push(rows []row) {
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, byTime)
	keep := sort.Search(len(c.at), func(i int) bool { return byTime(c.row(i), rows[0]) > 0 })
	known := map[uint64]uint8{}
	for i := keep; i < len(c.at); i++ {
		known[c.id[i]] = c.outcome[i]
		rows = append(rows, c.row(i))
	}
	if len(known) > 0 {
		slices.SortFunc(rows, byTime)
	}
	c.at, c.id, c.place = c.at[:keep], c.id[:keep], c.place[:keep]
	c.key, c.profile, c.where, c.outcome = c.key[:keep], c.profile[:keep], c.where[:keep], c.outcome[:keep]
	for _, r := range rows {
		if c.ids != nil {
			c.ids[r.id] = uint32(len(c.at))
		}
		c.at, c.id, c.place = append(c.at, uint64(r.at)), append(c.id, r.id), append(c.place, r.place)
		c.key, c.profile, c.where, c.outcome = append(c.key, r.key), append(c.profile, r.profile), append(c.where, r.where), append(c.outcome, known[r.id])
	}
}

func (c *columns) row(i int) row {
	return row{int64(c.at[i]), c.id[i], c.key[i], c.profile[i], c.place[i], c.where[i]}
}

// about is the outcome of a decision in an entry about it.
type about struct {
	id      uint64
	outcome uint8
}

// reader turns entries into rows.
type reader struct {
	rows     []row
	abouts   []about
	profiles []profile
	texts    map[string]string
	known    map[string]uint32 // profiles by name
}

func newReader() *reader {
	return &reader{texts: map[string]string{}, known: map[string]uint32{}}
}

// opened has the fields of the open part, for all kinds of entries.
type opened struct {
	Decision     string `json:"decision"`
	Jurisdiction string `json:"jurisdiction"`
	Brand        string `json:"brand"`
	Result       struct {
		Issued     bool           `json:"issued"`
		Action     string         `json:"action"`
		Kind       string         `json:"kind"`
		Review     []string       `json:"review"`
		Reasons    []event.Reason `json:"reasons"`
		Candidates []struct {
			Blocked []event.Blocked `json:"blocked"`
		} `json:"candidates"`
	} `json:"result"`
	Status  string   `json:"status"`
	Verdict string   `json:"verdict"`
	Revoked []string `json:"revoked"`
}

func hashOf(s string) uint64 { return xxhash.Sum64String(s) }

// take adds an entry; where is its row in the segment.
func (r *reader) take(e *journal.Entry, where uint32) {
	switch e.Kind {
	case journal.KindDecision, journal.KindOutcome, journal.KindReview, journal.KindRevoke:
	default:
		return
	}
	var o opened
	if json.Unmarshal(e.Open, &o) != nil {
		return // not an object, hence nothing to index
	}
	switch {
	case e.Kind == journal.KindDecision:
		p := r.profileOf(&o)
		r.rows = append(r.rows, row{e.Time.UnixMilli(), hashOf(o.Decision), uint32(hashOf(e.KeyName)), r.number(p), placeOf(e), where})
	case e.Kind == journal.KindOutcome:
		r.abouts = append(r.abouts, about{hashOf(o.Decision), Rank(o.Status)})
	case e.Kind == journal.KindReview && o.Verdict == "overturned":
		r.abouts = append(r.abouts, about{hashOf(o.Decision), Rank("overturned")})
	}
	for _, id := range o.Revoked {
		r.abouts = append(r.abouts, about{hashOf(id), Rank("revoked")})
	}
}

func (r *reader) profileOf(o *opened) profile {
	d := &o.Result
	p := profile{Verdict: "suppressed", Action: d.Action, Kind: d.Kind, Jurisdiction: o.Jurisdiction, Brand: o.Brand, Review: len(d.Review) > 0}
	if d.Issued {
		p.Verdict = "issued"
	}
	for _, c := range d.Candidates {
		for _, b := range c.Blocked {
			p.Rules = append(p.Rules, b.Rule)
			r.texts[b.Rule] = b.Text
		}
	}
	if len(p.Rules) == 0 && !d.Issued && len(d.Reasons) > 0 {
		p.Rules = append(p.Rules, d.Reasons[0].Code)
		r.texts[d.Reasons[0].Code] = d.Reasons[0].Text
	}
	slices.Sort(p.Rules)
	p.Rules = slices.Compact(p.Rules)
	return p
}

func (r *reader) number(p profile) uint32 {
	name := p.name()
	n, ok := r.known[name]
	if !ok {
		n = uint32(len(r.profiles))
		r.profiles = append(r.profiles, p)
		r.known[name] = n
	}
	return n
}
