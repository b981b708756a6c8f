package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"pitboss/internal/journal"
)

var (
	// ErrQuery means that a query is invalid.
	ErrQuery = errors.New("search: the query is wrong")
	// ErrIndex means that an index refers to entries that do not exist.
	ErrIndex = errors.New("search: the index is damaged: remove the .index files, and they are rebuilt")
)

const pageMost = 1000

// hit is a row that was found.
type hit struct {
	row
	outcome uint8
	file    *segment // nil: in Redis
}

// cursor is a place between rows.
type cursor struct {
	at    int64
	place uint64
}

func (c cursor) String() string { return fmt.Sprintf("%d-%x", c.at, c.place) }

func parseCursor(s string) (c cursor, err error) {
	at, place, ok := strings.Cut(s, "-")
	if c.at, err = strconv.ParseInt(at, 10, 64); err == nil {
		c.place, err = strconv.ParseUint(place, 16, 64)
	}
	if !ok || err != nil {
		return c, fmt.Errorf("%w: before must be the next of an earlier answer", ErrQuery)
	}
	return c, nil
}

// scan is a query in the form in which it is compared with columns.
type scan struct {
	q        *Query
	from, to int64
	keyName  string // of the player's sealing key
	key      uint32
	byKey    bool
	id       uint64
	byID     bool
	before   cursor
	outcome  uint8
}

// Find answers a query. It first indexes what is new.
func (x *Index) Find(ctx context.Context, q Query) (*Page, error) {
	if q.Max <= 0 {
		q.Max = 50
	}
	q.Max = min(q.Max, pageMost)
	behind, err := x.catchUp(ctx)
	if err != nil {
		return nil, err
	}
	page := &Page{Facets: map[string][]Count{}, Behind: behind, Whole: true}
	sc, err := x.prepare(ctx, &q)
	if err != nil || sc == nil {
		return page, err
	}
	hits := x.scan(sc, page)
	if len(hits) > q.Max {
		hits = hits[:q.Max]
		last := hits[q.Max-1]
		page.Next = cursor{last.at, last.place}.String()
	}
	page.Hits, err = x.read(ctx, hits)
	if sc.byKey { // the hashes of two keys' names may collide
		page.Hits = slices.DeleteFunc(page.Hits, func(h Hit) bool { return h.Entry.KeyName != sc.keyName })
	}
	return page, err
}

func (x *Index) prepare(ctx context.Context, q *Query) (*scan, error) {
	sc := &scan{q: q, from: -1 << 62, to: 1 << 62, before: cursor{1 << 62, 0}, outcome: Rank(q.Outcome)}
	if q.Outcome != "" && q.Outcome != None && sc.outcome == 0 {
		return nil, fmt.Errorf("%w: there is no outcome %q", ErrQuery, q.Outcome)
	}
	if !q.From.IsZero() {
		sc.from = q.From.UnixMilli()
	}
	if !q.To.IsZero() {
		sc.to = q.To.UnixMilli()
	}
	if q.Decision != "" {
		sc.id, sc.byID = hashOf(q.Decision), true
	}
	if q.Player != "" {
		name, err := x.journal.KeyName(ctx, q.Player)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return nil, nil // there is no decision about the player
		}
		sc.keyName, sc.key, sc.byKey = name, uint32(hashOf(name)), true
	}
	var err error
	if q.Before != "" {
		sc.before, err = parseCursor(q.Before)
	}
	return sc, err
}

// scan counts the matching rows and returns the newest of them, one more than fits on a page.
func (x *Index) scan(sc *scan, page *Page) []hit {
	x.mu.RLock()
	defer x.mu.RUnlock()
	page.Whole, page.Behind = x.whole, page.Behind || !x.ready
	facets := facetCounts{}
	var hits []hit
	visit := func(c *columns, file *segment) {
		for _, i := range sc.columns(c, page, facets) {
			hits = append(hits, hit{c.row(i), c.outcome[i], file})
		}
	}
	visit(&x.tail, nil)
	for _, s := range slices.Backward(x.files) {
		visit(&s.columns, s)
	}
	slices.SortFunc(hits, func(a, b hit) int { return byTime(b.row, a.row) })
	page.Facets = facets.lists(x)
	return hits
}

// columns returns the newest matching rows of c and adds to the counts.
func (sc *scan) columns(c *columns, page *Page, facets facetCounts) (newest []int) {
	lo, hi := sc.rows(c)
	fails := sc.failing(c)
	if !sc.q.HitsOnly {
		page.Total += int64(len(c.at))
		sc.count(c, lo, hi, fails, page, facets)
	}
	end := sort.Search(len(c.at), func(i int) bool { return byTime(c.row(i), row{at: sc.before.at, place: sc.before.place}) >= 0 })
	for i := min(hi, end) - 1; i >= lo && len(newest) <= sc.q.Max; i-- {
		if fails[c.profile[i]] == 0 && (!sc.byKey || c.key[i] == sc.key) && sc.outcomeFits(c.outcome[i]) {
			newest = append(newest, i)
		}
	}
	return newest
}

// rows returns the range of rows of c within the query's time, or the row of its decision.
func (sc *scan) rows(c *columns) (lo, hi int) {
	lo = sort.Search(len(c.at), func(i int) bool { return c.when(i) >= sc.from })
	hi = sort.Search(len(c.at), func(i int) bool { return c.when(i) >= sc.to })
	if !sc.byID {
		return lo, hi
	}
	i, ok := c.find(sc.id)
	if !ok || i < lo || i >= hi {
		return 0, 0
	}
	return i, i + 1
}

func (sc *scan) outcomeFits(o uint8) bool {
	return sc.q.Outcome == "" || o == sc.outcome
}

// Bits of the filters that a profile may fail.
const (
	failVerdict uint16 = 1 << iota
	failAction
	failKind
	failJurisdiction
	failBrand
	failRule
	failOutcome
	failOther
)

// failing returns by profile the filters that it fails.
func (sc *scan) failing(c *columns) []uint16 {
	out := make([]uint16, len(c.profiles))
	for n := range c.profiles {
		out[n] = sc.fails(&c.profiles[n])
	}
	return out
}

func (sc *scan) fails(p *profile) (f uint16) {
	q := sc.q
	for _, is := range []struct {
		want, got string
		bit       uint16
	}{{q.Verdict, p.Verdict, failVerdict}, {q.Action, p.Action, failAction}, {q.Kind, p.Kind, failKind},
		{q.Jurisdiction, p.Jurisdiction, failJurisdiction}, {q.Brand, p.Brand, failBrand}} {
		if is.want != "" && is.want != is.got {
			f |= is.bit
		}
	}
	if q.Rule != "" && !slices.Contains(p.Rules, q.Rule) {
		f |= failRule
	}
	if q.Review && !p.Review || q.Allowed != nil && !q.Allowed(p.Jurisdiction, p.Brand) {
		f |= failOther
	}
	return f
}

// count adds the rows from lo to hi to the matches and the facets.
func (sc *scan) count(c *columns, lo, hi int, fails []uint16, page *Page, facets facetCounts) {
	n := make([]int64, len(c.profiles)*len(Outcomes))
	if sc.byKey {
		for i := lo; i < hi; i++ {
			if c.key[i] == sc.key {
				n[int(c.profile[i])*len(Outcomes)+int(c.outcome[i])]++
			}
		}
	} else {
		for i := lo; i < hi; i++ {
			n[int(c.profile[i])*len(Outcomes)+int(c.outcome[i])]++
		}
	}
	for p := range c.profiles {
		for o := range Outcomes {
			if some := n[p*len(Outcomes)+o]; some > 0 {
				f := fails[p]
				if !sc.outcomeFits(uint8(o)) {
					f |= failOutcome
				}
				if f == 0 {
					page.Matched += some
				}
				facets.add(&c.profiles[p], Outcomes[o], f, some)
			}
		}
	}
}

// facetCounts holds counts by filter and value.
type facetCounts map[string]map[string]int64

// add counts n decisions for each filter such that they fail no other one.
func (fc facetCounts) add(p *profile, outcome string, fails uint16, n int64) {
	one := func(facet string, bit uint16, values ...string) {
		if fails&^bit != 0 {
			return
		}
		if fc[facet] == nil {
			fc[facet] = map[string]int64{}
		}
		for _, v := range values {
			if v != "" {
				fc[facet][v] += n
			}
		}
	}
	one("verdict", failVerdict, p.Verdict)
	one("action", failAction, p.Action)
	one("kind", failKind, p.Kind)
	one("jurisdiction", failJurisdiction, p.Jurisdiction)
	one("brand", failBrand, p.Brand)
	one("rule", failRule, p.Rules...)
	one("outcome", failOutcome, cmp.Or(outcome, None))
}

// lists returns the counts, the largest first. x.mu must be held.
func (fc facetCounts) lists(x *Index) map[string][]Count {
	out := map[string][]Count{}
	for facet, counts := range fc {
		list := make([]Count, 0, len(counts))
		for name, n := range counts {
			c := Count{Name: name, N: n}
			if facet == "rule" {
				c.Text = x.text(name)
			}
			list = append(list, c)
		}
		slices.SortFunc(list, func(a, b Count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
		out[facet] = list[:min(100, len(list))]
	}
	return out
}

// text returns the latest text of a rule.
func (x *Index) text(rule string) string {
	if t, ok := x.tail.texts[rule]; ok {
		return t
	}
	for _, s := range slices.Backward(x.files) {
		if t, ok := s.texts[rule]; ok {
			return t
		}
	}
	return ""
}

// read fetches the entries of hits. An entry that has left Redis since the scan is left
// out: the next query finds it in a segment.
func (x *Index) read(ctx context.Context, hits []hit) ([]Hit, error) {
	entries := map[uint64]*journal.Entry{}
	byFile := map[*segment][]hit{}
	for _, h := range hits {
		byFile[h.file] = append(byFile[h.file], h)
	}
	for file, list := range byFile {
		slices.SortFunc(list, func(a, b hit) int { return cmp.Compare(a.where, b.where) })
		found, err := x.readFrom(ctx, file, list)
		if err != nil {
			return nil, err
		}
		for i, e := range found {
			if e == nil {
				continue
			}
			var o struct {
				Decision string `json:"decision"`
			}
			if json.Unmarshal(e.Open, &o) != nil || hashOf(o.Decision) != list[i].id {
				return nil, fmt.Errorf("%w (shard %d, entry %d)", ErrIndex, e.Shard, e.Seq)
			}
			entries[list[i].id] = e
		}
	}
	out := make([]Hit, 0, len(hits))
	for _, h := range hits {
		if e := entries[h.id]; e != nil {
			out = append(out, Hit{e, Outcomes[h.outcome]})
		}
	}
	return out, nil
}

func (x *Index) readFrom(ctx context.Context, file *segment, list []hit) ([]*journal.Entry, error) {
	if file == nil {
		places := make([]journal.Place, len(list))
		for i, h := range list {
			places[i] = placed(h.place)
		}
		return x.journal.Places(ctx, places)
	}
	rows := make([]uint32, len(list))
	for i, h := range list {
		rows[i] = h.where
	}
	found, err := x.journal.Rows(ctx, file.file, rows)
	if errors.Is(err, journal.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrIndex, err)
	}
	return found, err
}
