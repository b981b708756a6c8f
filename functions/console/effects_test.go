package console_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/model"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

// The page shows what timer found: effects with their intervals, and the calibration of
// each model's scores.
func TestWhatWasLearnedIsShown(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 1)
	effects := policy.Effects{}
	for i := range 2000 {
		effects.Add(&policy.Trial{Action: "free_spins", Arm: "greedy", Segments: []string{"jurisdiction=GB"}, Sent: i%2 == 0, Held: i%2 == 1, PSent: 0.5, PHeld: 0.5, Stayed: i%2 == 0 && i%5 > 0}, policy.OutcomeStayed)
	}
	raw, err := json.Marshal(policy.Found{Settled: time.Now().UTC(), Effects: effects.All()})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.KeepGuard(t.Context(), raw, nil); err != nil {
		t.Fatal(err)
	}
	leave, err := model.ReadManifest("../../models/leave/v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	fitted := journal.Calibration{Name: "leave", Version: "v1", Output: "leave", Label: "gone_10m", Calibration: learn.Calibration{Slope: 0.8, Offset: 0.1},
		Errors: learn.Errors{N: 4000, Raw: 0.08, Decided: 0.01, Chance: 0.01, AUC: 0.75}, Seen: 5000, At: time.Now().UTC().Round(0)}
	if err := j.KeepCalibrators(t.Context(), []byte("{}"), map[string]journal.Calibration{leave.SHA256: fitted}); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]string{"REDIS_URL": url})
	var shown struct {
		Effects []struct {
			Action, Segment, Outcome string
			Sent, Held               int
			Uplift, Low, High        float64
		}
	}
	s.get("/api/effects", &shown)
	if len(shown.Effects) != 2 || shown.Effects[1].Segment != "jurisdiction=GB" {
		t.Fatalf("%+v", shown)
	}
	for _, e := range shown.Effects {
		if e.Action != "free_spins" || e.Sent != 1000 || e.Held != 1000 || !(e.Low > 0.6 && e.Low < 0.8 && e.High > 0.8 && e.High < 1) {
			t.Errorf("%+v", e)
		}
	}
	var list struct {
		Models []struct {
			Name, Version string
			Calibrated    *journal.Calibration
		}
	}
	s.get("/api/models", &list)
	found := false
	for _, m := range list.Models {
		if live := m.Name == "leave" && m.Version == "v1"; live != (m.Calibrated != nil) {
			t.Errorf("%+v", m)
		} else if live {
			found = *m.Calibrated == fitted
		}
	}
	if !found {
		t.Errorf("%+v", list)
	}
}
