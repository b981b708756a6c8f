package policy

import (
	"testing"

	"pitboss/internal/event"
)

// Who has only not played enough yet is told apart from whom no model knows: the
// first is how every player begins, the second a fault.
func TestWhyAScoreIsMissing(t *testing.T) {
	t.Parallel()
	product := event.ModelRun{Name: "harm", Output: "harm", Outside: "the player plays casino"}
	fresh := event.ModelRun{Name: "harm-casino", Output: "harm", Outside: "rounds_casino is 3", TooNew: true}
	shadow, other := fresh, fresh
	shadow.Shadow, other.Output = true, "leave"
	const (
		off     = "its model said nothing or is switched off"
		unknown = "harm was not trained on such players"
		tooNew  = "the player is too new for harm-casino"
	)
	for name, c := range map[string]struct {
		models    []event.ModelRun
		killed    []string
		why, code string
	}{
		"no model":                {nil, nil, off, NotRated},
		"another product":         {[]event.ModelRun{product}, nil, unknown, NotRated},
		"too new":                 {[]event.ModelRun{product, fresh}, nil, tooNew, TooNew},
		"too new for a shadow":    {[]event.ModelRun{product, shadow}, nil, unknown, NotRated},
		"too new for another one": {[]event.ModelRun{product, other}, nil, unknown, NotRated},
		"the model is stopped":    {[]event.ModelRun{product, fresh}, []string{"model/harm-casino"}, unknown, NotRated},
		"both are stopped":        {[]event.ModelRun{product, fresh}, []string{"model/harm-casino", "model/harm"}, off, NotRated},
	} {
		s := &evaluation{in: &Input{Models: c.models}, kill: map[string]bool{}}
		for _, k := range c.killed {
			s.kill[k] = true
		}
		if why, code := s.missingScore("harm"); why != c.why || code != c.code {
			t.Errorf("%s: %q %q, want %q %q", name, code, why, c.code, c.why)
		}
	}
}
