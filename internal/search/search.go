// Package search finds decisions in all of the journal, in Redis and in segments, and
// evaluates them: reports and backtests.
//
// Each segment has an index beside it, made once, of fixed-width columns in
// order of time: when, which decision, whose (by the sealing key's name), the
// row in the segment, and a number for the decision's profile. A profile is
// everything that many decisions have in common (verdict, action, kind, place,
// brand, the rules that blocked). There are some thousands of them, so a query is
// held against each profile once, and a scan of the columns then compares
// numbers: ten million rows take some tens of milliseconds, whatever is asked
// for, counts of every filter included. Entries that only Redis has are indexed
// in memory the same way.
//
// Rejected: an embedded analytical engine. A program that does nothing but link
// DuckDB for Go (2.10506.0, stripped) has 59 MB, as much as all of bin/pitboss, and it would
// have to parse each entry's JSON in every query, since the segments have no
// columns for what is asked.
// Row-group statistics and Bloom filters of Parquet do not help either: a
// segment is sorted by shard, and every page has every action.
//
// The index holds nothing that is personal: no player, and the name of a sealing
// key says nothing once the key is gone.
package search

import (
	"slices"
	"time"

	"pitboss/internal/journal"
)

// Outcomes are what may become of a decision, by which of them stands when
// several happened: outcomes may arrive in any order. The first is nothing yet.
var Outcomes = []string{"", "delivered", "expired", "dismissed", "accepted", "revoked", "overturned"}

// Rank is an outcome's place in Outcomes; 0 for anything else.
func Rank(outcome string) uint8 { return uint8(max(0, slices.Index(Outcomes, outcome))) }

// None is the Query.Outcome of decisions that nothing became of yet.
const None = "none"

// Query picks decisions; an empty field picks all.
type Query struct {
	Verdict, Outcome, Action, Kind, Jurisdiction, Brand, Rule string

	Review   bool   // only those that a rule sent to a person
	Player   string // exactly
	Decision string // exactly
	From, To time.Time
	// Allowed says which decisions may be seen at all; nil: all of them.
	Allowed func(jurisdiction, brand string) bool

	Before string // a page's Next: older ones
	Max    int    // on a page; 0: 50
	// HitsOnly leaves out the counts: Matched, Total and Facets.
	HitsOnly bool
}

// Hit is a decision that was found.
type Hit struct {
	Entry   *journal.Entry
	Outcome string // what became of it
}

// Count is how many decisions have a value.
type Count struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
	Text string `json:"text,omitzero"`
}

// Page is what was found, the newest first.
type Page struct {
	Hits    []Hit
	Matched int64
	Total   int64  // decisions that are indexed
	Next    string // Query.Before of the next page; empty: there is none
	// Facets count each filter's values among those that the other filters leave.
	Facets map[string][]Count
	// Whole is false where entries are neither in Redis nor in the segments.
	Whole bool
	// Behind: not everything is indexed yet.
	Behind bool
}
