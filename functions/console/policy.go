package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/access"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/internal/search"
)

// A person can change a rule pack or an action on the running system by proposing a
// new text of the whole file. The text must compile and pass its examples before it
// can be proposed. An approved change holds until a deploy brings other files.

// inForce is the policy that makes decisions now.
type inForce struct {
	policy *policy.Policy
	since  *journal.InForce // the approved change; nil: it is the policy of the files
	base   string           // hash of the policy of the files
}

// readPolicy compiles the files, or reads the policy that was approved over them.
func (f *Function) readPolicy(ctx context.Context) (*inForce, error) {
	if f.store.set == nil {
		return nil, fmt.Errorf("%w: features.yaml can't be read here", errConflict)
	}
	files, err := policy.Load(f.cfg.ModelsDir, f.store.set.Names())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConflict, err)
	}
	out := &inForce{policy: files, base: files.Hash()}
	if f.store.journal == nil {
		return out, nil
	}
	if out.since, err = f.store.journal.InForce(ctx, out.base); out.since == nil || err != nil {
		return out, err
	}
	text, err := f.store.journal.Document(ctx, out.since.Policy)
	if err != nil {
		return nil, err
	}
	out.policy, err = policy.ParseDocument(text)
	return out, err
}

func (f *Function) showPolicy(w http.ResponseWriter, r *http.Request) (any, error) {
	now, err := f.readPolicy(r.Context())
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, text := range now.policy.Files() {
		files[name] = string(text)
	}
	return map[string]any{"files": files, "hash": now.policy.Hash(), "since": now.since}, nil
}

// policyChange is the body of a proposal to change a policy file.
type policyChange struct {
	File    string   `json:"file"`
	Base    string   `json:"base"` // hash of the policy of the files
	From    string   `json:"from"` // hash of the policy before the change
	To      string   `json:"to"`   // hash of the policy after it; the journal keeps its document
	Changes []string `json:"changes"`
}

var policyFile = regexp.MustCompile(`^(actions|markers|rules/[A-Za-z][A-Za-z-]{1,15})\.yaml$`)

// proposed is the body of a request to change a policy file.
type proposed struct {
	File string `json:"file"`
	Text string `json:"text"`
	Note string `json:"note"`
}

// changePolicy proposes another text of one policy file.
func (f *Function) changePolicy(w http.ResponseWriter, r *http.Request, in proposed) (any, error) {
	if !policyFile.MatchString(in.File) || in.Note == "" {
		return nil, bad("file is actions.yaml, markers.yaml or rules/PACK.yaml, and the note says why")
	}
	now, err := f.readPolicy(r.Context())
	if err != nil {
		return nil, err
	}
	change, next, err := now.with(in.File, in.Text)
	if err != nil {
		return nil, bad("text: " + err.Error())
	}
	text, err := next.Document()
	if err == nil {
		err = f.store.journal.KeepDocument(r.Context(), next.Hash(), text)
	}
	if err != nil {
		return nil, err
	}
	return f.propose(w, r, journal.ProposePolicy, in.File, in.Note, change)
}

// Bounds on the decisions that the console tries a change on, and for how long.
const (
	backtestMost = 50_000
	backtestFor  = 25 * time.Second
)

// tried is the body of a request to try a change of a policy file.
type tried struct {
	File  string `json:"file"`
	Text  string `json:"text"`
	Hours int    `json:"hours"` // how far back
}

// tryPolicy answers with what another text of a policy file would have sent or stopped
// of the decisions in Redis.
func (f *Function) tryPolicy(_ http.ResponseWriter, r *http.Request, in tried) (any, error) {
	if !policyFile.MatchString(in.File) || in.Hours < 1 || in.Hours > 31*24 {
		return nil, bad("file is actions.yaml, markers.yaml or rules/PACK.yaml, and hours is from 1 to 744")
	}
	now, err := f.readPolicy(r.Context())
	if err != nil {
		return nil, err
	}
	next, err := now.compile(in.File, in.Text)
	if err != nil {
		return nil, bad("text: " + err.Error())
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), backtestFor)
	defer cancel()
	b, err := search.Backtest(ctx, f.store.journal, next, f.now().Add(-time.Duration(in.Hours)*time.Hour), backtestMost)
	whole := !errors.Is(err, search.ErrEnough) && !errors.Is(err, context.DeadlineExceeded)
	if err != nil && whole {
		return nil, err
	}
	return map[string]any{"tried": b.Decisions, "changed": b.Changed, "erased": b.Erased, "changes": b.Changes(), "whole": whole,
		"took_ms": time.Since(began).Milliseconds()}, nil
}

// with returns the policy with another text of one file, and what that changes.
func (p *inForce) with(file, text string) (*policyChange, *policy.Policy, error) {
	next, err := p.compile(file, text)
	if err != nil {
		return nil, nil, err
	}
	if _, err := next.Check(); err != nil {
		return nil, nil, err
	}
	changes := policy.Diff(p.policy, next)
	if same := policy.Unversioned(changes); len(same) > 0 {
		return nil, nil, fmt.Errorf("raise the version of %v: a stored decision names rule and version", same)
	}
	if next.Hash() == p.policy.Hash() {
		return nil, nil, errors.New("it is the text that is in force")
	}
	out := &policyChange{File: file, Base: p.base, From: p.policy.Hash(), To: next.Hash(), Changes: []string{}}
	for _, c := range changes {
		out.Changes = append(out.Changes, c.What+": "+c.How)
	}
	return out, next, nil
}

func (p *inForce) compile(file, text string) (*policy.Policy, error) {
	files := maps.Clone(p.policy.Files())
	files[file] = []byte(text)
	return policy.Parse(files, p.policy.FeatureNames())
}

// putPolicy puts an approved policy into force, if the policy that it changes still
// is in force.
func (f *Function) putPolicy(ctx context.Context, by *access.Person, p journal.Proposal, approved string) error {
	var change policyChange
	if err := json.Unmarshal(p.Body, &change); err != nil {
		return fmt.Errorf("%w: the proposal can't be read: %w", errConflict, err)
	}
	now, err := f.readPolicy(ctx)
	if err != nil {
		return err
	}
	if now.policy.Hash() == change.To {
		return nil // the change was made, and the process died before it could record that
	}
	if now.policy.Hash() != change.From {
		return fmt.Errorf("%w: the policy has changed since this was proposed: propose it again", errConflict)
	}
	if err := f.journalFor(ctx, by, p.What, p.Subject, noteOf(p, approved)); err != nil {
		return err
	}
	return f.store.journal.PutInForce(ctx, journal.InForce{Base: change.Base, Policy: change.To, By: p.By, Approved: approved, At: f.now().UTC().Truncate(time.Millisecond)})
}
