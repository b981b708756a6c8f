package policy

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Reproduce decides again on a record's stored input and compares the two decisions
// bit for bit. It returns the first difference, or "".
func (p *Policy) Reproduce(r *Record) (diff string, err error) {
	if r.Decision.Policy != p.hash {
		return "", fmt.Errorf("policy: reproduce: decided by policy %s, this one is %s", r.Decision.Policy, p.hash)
	}
	if r.Decision.Learned != "" && (p.learned == nil || p.learned.Hash != r.Decision.Learned) {
		return "", fmt.Errorf("policy: reproduce: decided by the learned snapshot %s, which is not this one", r.Decision.Learned)
	}
	switch {
	case r.Decision.Shadow == nil: // no policy was in the shadow, or the player's context was unknown
		if p.shadow != nil {
			p = p.WithShadow(nil)
		}
	case p.shadow == nil || p.shadow.Hash != r.Decision.Shadow.Learned:
		return "", fmt.Errorf("policy: reproduce: the learned snapshot %s was in the shadow, which is not this one", r.Decision.Shadow.Learned)
	}
	if r.Input.Player == "" {
		return "", fmt.Errorf("policy: reproduce: the player was erased, and the decision's inputs with them")
	}
	stored, err := canonical(&r.Decision)
	if err != nil {
		return "", err
	}
	again, err := canonical(p.Decide(&r.Input))
	if err != nil {
		return "", err
	}
	return firstDifference(stored, again), nil
}

func canonical(d *Decision) (string, error) {
	b, err := json.Marshal(d, json.Deterministic(true), jsontext.WithIndent(" "))
	if err != nil {
		return "", fmt.Errorf("policy: reproduce: %w", err)
	}
	return string(b), nil
}

// firstDifference describes the first line in which two texts differ.
func firstDifference(a, b string) string {
	if a == b {
		return ""
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			return fmt.Sprintf("stored %s, again %s", strings.TrimSpace(x[i]), strings.TrimSpace(at(y, i)))
		}
	}
	return "again has more: " + strings.TrimSpace(at(y, len(x)))
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
