package policy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// No message goes out with a gap in it: where a name that it calls is not
// known, the action is a candidate that is blocked, with the reason.
func TestNoMessageGoesOutIncomplete(t *testing.T) {
	t.Parallel()
	p := policy(t)
	named, blocked := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		for i, name := range p.FeatureNames() {
			switch name {
			case "load_fails_10m", "since_fail_s":
				in.Features[i] = rapid.SampledFrom([]float64{0, 1, 2, 5}).Draw(t, name)
			case "rounds_24h":
				in.Features[i] = 20
			}
		}
		in.Facts.FailedGame = rapid.SampledFrom([]string{"", "neon"}).Draw(t, "failed")
		for _, item := range rapid.SliceOfN(rapid.SampledFrom([]string{"", "neon", "reef"}), 0, 1).Draw(t, "ranking") {
			in.Ranking = append(in.Ranking, event.Ranked{Item: item})
		}
		d := p.Decide(in)
		for _, c := range d.Candidates {
			for _, b := range c.Blocked {
				if b.Rule == BlockMessage {
					blocked++
				}
			}
		}
		if !d.Issued {
			return
		}
		for _, name := range placeholders.FindAllStringSubmatch(d.Message, -1) {
			named++
			if text := fmt.Sprint(d.Params[name[1]]); d.Params[name[1]] == nil || text == "" {
				t.Fatalf("%s goes out with %s empty", d.Action, name[0])
			}
		}
		if strings.Contains(d.Message, "{alternative}") && d.Params["alternative"] == d.Params["game"] {
			t.Fatalf("the game that failed is offered instead of itself: %v", d.Params)
		}
	})
	if named == 0 || blocked == 0 {
		t.Fatalf("%d parameters filled, %d messages blocked: nothing was put to the test", named, blocked)
	}
}

// A message that calls for a parameter nobody gives is refused at load.
func TestAMessageNeedsItsParameters(t *testing.T) {
	t.Parallel()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for name, b := range policy(t).Files() {
		files[name] = b
	}
	files["actions.yaml"] = []byte(strings.Replace(string(files["actions.yaml"]), "You have played for {minutes}", "You have played for {hours}", 1))
	if _, err = Parse(files, set.Names()); err == nil || !strings.Contains(err.Error(), "{hours}") {
		t.Fatalf("%v", err)
	}
}
