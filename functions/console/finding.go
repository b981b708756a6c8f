package console

import (
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/access"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/internal/search"
)

// queryOf reads a search from an address's parameters, so that a search can be shared
// as a link: /decisions?jurisdiction=GB&rule=GB-DM&from=2026-01-02T15:04:05Z.
func queryOf(form url.Values) (q search.Query, err error) {
	get := form.Get
	q = search.Query{Verdict: get("verdict"), Outcome: get("outcome"), Action: get("action"), Kind: get("kind"), Jurisdiction: get("jurisdiction"),
		Brand: get("brand"), Rule: get("rule"), Player: get("player"), Before: get("before"), Review: get("review") != ""}
	q.Max, _ = strconv.Atoi(get("max"))
	if text := strings.TrimSpace(get("q")); text != "" { // one search box takes both; a decision's id begins with its shard
		if _, err := journal.ShardOf(text); err == nil {
			q.Decision = text
		} else {
			q.Player = text
		}
	}
	for name, to := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := get(name); text != "" {
			if *to, err = time.Parse(time.RFC3339, text); err != nil {
				return q, bad(name + " is a time like 2026-01-02T15:04:05Z, not " + clip(text, 40))
			}
		}
	}
	return q, nil
}

// listDecisions searches the journal, or the decisions in memory if there is no Redis.
func (f *Function) listDecisions(w http.ResponseWriter, r *http.Request) (any, error) {
	_ = r.ParseForm()
	q, err := queryOf(r.Form)
	if err != nil {
		return nil, err
	}
	if f.index == nil {
		page := f.decisions.find(within(q, personOf(r)))
		page.Decisions = visible(page.Decisions, personOf(r))
		return page, nil
	}
	found, err := f.search(r, q)
	if err != nil {
		return nil, err
	}
	decisions, err := shownAll(r, found.Hits)
	if err != nil {
		return nil, err
	}
	return decisionPage{Decisions: decisions, Matched: found.Matched, Kept: found.Total, Next: found.Next, Facets: found.Facets,
		Journal: true, Whole: found.Whole, Behind: found.Behind}, nil
}

// search finds the decisions of q that the person may see.
func (f *Function) search(r *http.Request, q search.Query) (*search.Page, error) {
	found, err := f.index.Find(r.Context(), within(q, personOf(r)))
	if errors.Is(err, search.ErrQuery) {
		err = bad(strings.TrimPrefix(err.Error(), search.ErrQuery.Error()+": "))
	}
	return found, err
}

// within limits a search to the places that the person may see.
func within(q search.Query, p *access.Person) search.Query {
	if !p.Everywhere(access.Viewer) {
		q.Allowed = p.Sees
	}
	return q
}

// shownAll turns search hits into decisions as the person may see them.
func shownAll(r *http.Request, hits []search.Hit) ([]*decision, error) {
	out := []*decision{}
	for _, h := range hits {
		d, err := shown(h, personOf(r))
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// shown turns a search hit into a decision as p may see it. Of an erased player's
// decision only the open part is left.
func shown(h search.Hit, p *access.Person) (*decision, error) {
	d, err := decisionFrom(h.Entry)
	if errors.Is(err, errErased) {
		d, err = erasedDecision(h.Entry)
	}
	if err != nil {
		return nil, err
	}
	if d.Status = h.Outcome; !p.MayAt(access.Compliance, d.Jurisdiction, d.Brand) {
		d = d.masked()
	}
	return d, nil
}

// erasedDecision reads what an erasure leaves of a decision.
func erasedDecision(e *journal.Entry) (*decision, error) {
	record, err := policy.Join(e.Open, nil)
	if err != nil {
		return nil, err
	}
	d := decisionIn(record)
	d.Words, d.Erased = "The player was erased. What is left of the decision is not personal.", true
	return d, nil
}

// csvMost bounds the lines of a file, since an answer may take only half a minute.
// The last line then says how to ask for the rest.
const csvMost = 10_000

// exportDecisions answers a search with CSV, newest first.
func (f *Function) exportDecisions(w http.ResponseWriter, r *http.Request) (any, error) {
	_ = r.ParseForm()
	q, err := queryOf(r.Form)
	if err != nil {
		return nil, err
	}
	q.Max, q.HitsOnly = 1000, true
	found, err := f.search(r, q)
	if err == nil {
		err = f.journal(r, "decisions.csv", clip(r.URL.RawQuery, 256), "")
	}
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="decisions.csv"`)
	out := csv.NewWriter(w)
	defer out.Flush()
	_ = out.Write(csvHead)
	if more, err := f.writeCSV(r, out, q, found); err != nil {
		_ = out.Write([]string{"cut short: " + err.Error()})
	} else if more != "" {
		_ = out.Write([]string{"more: ask again with before=" + more})
	}
	return nil, nil
}

// writeCSV writes found and what comes after it. more is where to go on if there is more
// than csvMost.
func (f *Function) writeCSV(r *http.Request, out *csv.Writer, q search.Query, found *search.Page) (more string, err error) {
	for n := 0; ; {
		for _, h := range found.Hits {
			d, err := shown(h, personOf(r))
			if err != nil {
				return "", err
			}
			_ = out.Write(d.csv())
		}
		n += len(found.Hits)
		if found.Next == "" || n >= csvMost {
			return found.Next, nil
		}
		out.Flush()
		q.Before = found.Next
		if found, err = f.index.Find(r.Context(), within(q, personOf(r))); err != nil {
			return "", err
		}
	}
}

var csvHead = []string{"decided_at", "decision", "verdict", "outcome", "action", "kind", "channel", "jurisdiction", "brand", "player", "rule", "why", "arm"}

func (d *decision) csv() []string {
	rule, why := "", d.Words
	if d.Verdict == "suppressed" {
		rule, why = d.blockedBy()
	}
	line := []string{d.DecidedAt.UTC().Format(time.RFC3339Nano), d.Decision, d.Verdict, d.Status, d.Action, d.Kind, d.Channel, d.Jurisdiction, d.Brand, d.Player, rule, why, d.Arm}
	for i, cell := range line {
		if strings.ContainsAny(cell[:min(1, len(cell))], "=+-@\t\r") { // a spreadsheet would run it as a formula
			line[i] = "'" + cell
		}
	}
	return line
}

// ranges are the time ranges that charts show, each with its step.
var ranges = map[string]struct{ span, step time.Duration }{
	"1h": {time.Hour, 30 * time.Second}, "6h": {6 * time.Hour, 3 * time.Minute}, "24h": {24 * time.Hour, 10 * time.Minute},
	"7d": {7 * 24 * time.Hour, time.Hour}, "30d": {30 * 24 * time.Hour, 6 * time.Hour},
}

// showHistory answers GET /api/history?range=24h&jurisdiction=GB with the journal's
// decisions, counted by steps of time.
func (f *Function) showHistory(w http.ResponseWriter, r *http.Request) (any, error) {
	_ = r.ParseForm()
	over, ok := ranges[r.FormValue("range")]
	if !ok {
		return nil, bad("range is one of 1h, 6h, 24h, 7d and 30d")
	}
	q, err := queryOf(r.Form)
	if err != nil {
		return nil, err
	}
	q.To = f.now().Truncate(over.step).Add(over.step)
	q.From = q.To.Add(-over.span)
	list, err := f.index.History(r.Context(), within(q, personOf(r)), over.step)
	if errors.Is(err, search.ErrQuery) {
		err = bad(err.Error())
	}
	return map[string]any{"step_s": over.step.Seconds(), "buckets": list}, err
}
