// Package search finds decisions in the whole journal, in Redis and in segments, and
// evaluates them: reports and backtests.
//
// Each segment has an index beside it, which is built once. It consists of fixed-width
// columns in order of time: the time, the decision, the player (by the sealing key's name),
// the row in the segment, and the number of the decision's profile. A profile holds the
// fields that many decisions have in common (verdict, action, kind, jurisdiction, brand,
// the rules that blocked). There are some thousands of profiles. A query is compared with
// each profile once, and a scan of the columns then compares only numbers: ten million rows
// take some tens of milliseconds for any query, including the counts for every filter.
// Entries that only Redis has are indexed in memory in the same way.
//
// Rejected: an embedded analytical engine. A program that only links DuckDB for Go
// (2.10506.0, stripped) has 59 MB, as much as all of bin/pitboss. It would also have to
// parse each entry's JSON in every query, because the segments have no columns for it.
// Rejected: row-group statistics and Bloom filters of Parquet. A segment is sorted by shard,
// so that every page has every action.
//
// The index has no personal data: no player, and the name of a sealing key says nothing once
// the key is destroyed.
package search

import (
	"slices"
	"time"

	"pitboss/internal/journal"
)

// Outcomes lists the outcomes of a decision by rank: of several, the last one counts. They
// may arrive in any order. The first stands for none yet.
var Outcomes = []string{"", "delivered", "expired", "dismissed", "accepted", "revoked", "overturned"}

// Rank returns an outcome's index in Outcomes, or 0 for anything else.
func Rank(outcome string) uint8 { return uint8(max(0, slices.Index(Outcomes, outcome))) }

// None is the Query.Outcome of decisions without an outcome.
const None = "none"

// Query selects decisions. An empty field selects all.
type Query struct {
	Verdict, Outcome, Action, Kind, Jurisdiction, Brand, Rule string

	Review   bool   // only decisions for which a rule asked for a review
	Player   string // exact
	Decision string // exact
	From, To time.Time
	// Allowed reports which decisions the person may see; nil: all of them.
	Allowed func(jurisdiction, brand string) bool

	Before string // the Next of a page, for the following one
	Max    int    // hits on a page; 0 means 50
	// HitsOnly leaves out the counts: Matched, Total and Facets.
	HitsOnly bool
}

// Hit is a decision that was found.
type Hit struct {
	Entry   *journal.Entry
	Outcome string
}

// Count is the number of decisions with a value.
type Count struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
	Text string `json:"text,omitzero"`
}

// Page is the answer to a query.
type Page struct {
	Hits    []Hit // the newest first
	Matched int64
	Total   int64  // all indexed decisions
	Next    string // Query.Before of the next page; empty: there is none
	// Facets counts the values of each filter among the decisions that pass the others.
	Facets map[string][]Count
	// Whole is false if entries are neither in Redis nor in the segments.
	Whole bool
	// Behind says that not everything is indexed yet.
	Behind bool
}
