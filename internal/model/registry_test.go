package model

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pitboss/internal/event"
)

func liveVersion(r *Registry, name string) string { return r.Status().Live[name] }

func TestPromoteAndRollBackByOneLine(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	v1, v2 := newMade("leave", "v1", 1, 3, 2, 2), newMade("leave", "v2", 2, 3, 2, 2)
	v1.write(t, root)
	v2.write(t, root)
	file := "# why\nleave:  {live: v1, shadow: [v2]} # now\n"
	r := mustServe(t, root, file)
	x := []float64{0.3, 0.6}
	scored := func() float64 {
		var out event.PlayerScored
		if err := NewScorer(r, 0).Score(updated(featuresOf(x, 0)), &out); err != nil {
			t.Fatal(err)
		}
		return out.Scores["leave"]
	}
	if got := scored(); !near(got, v1.probability(x), scoreTolerance) {
		t.Errorf("v1 should serve: %v", got)
	}
	path := filepath.Join(root, "serving.yaml")
	serving, err := ReadServing(path)
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := SetLine(path, []byte(file), "leave", serving["leave"].Promote("v2"))
	if err != nil || string(promoted) != "# why\nleave:  {live: v2, shadow: [v1], previous: v1} # now\n" {
		t.Fatalf("%q, %v", promoted, err)
	}
	put(t, path, promoted)
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if got := scored(); !near(got, v2.probability(x), scoreTolerance) {
		t.Errorf("v2 should serve: %v", got)
	}
	put(t, path, []byte(file))
	if changed, err := r.Reload(); !changed || err != nil || liveVersion(r, "leave") != "v1" {
		t.Fatal(changed, err, r.Status())
	}
	if changed, err := r.Reload(); changed || err != nil {
		t.Error("a reload without a change made one", changed, err)
	}
}

func TestAModelInUseIsNotLoadedAgainByAPromotion(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	newMade("leave", "v2", 2, 3, 2, 2).write(t, root)
	r := mustServe(t, root, "leave: {live: v1, shadow: [v2]}\n")
	before := maps.Clone(r.loaded)
	put(t, filepath.Join(root, "serving.yaml"), []byte("leave: {live: v2, shadow: [v1]}\n"))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	for key, m := range r.loaded {
		if before[key].model != m.model {
			t.Errorf("%s was loaded again", key)
		}
	}
}

func TestTheOldModelGoesOnServingWhenTheNewOneIsBad(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(t *testing.T, root string){
		"the model is rewritten in place, truncated": func(t *testing.T, root string) {
			edit(t, filepath.Join(root, "leave/v1"), "model.onnx", func(s string) string { return s[:100] })
		},
		"the line names a version that is not there": func(t *testing.T, root string) {
			put(t, filepath.Join(root, "serving.yaml"), []byte("leave: {live: v9}\nharm: {live: v1}\n"))
		},
		"serving.yaml is no YAML": func(t *testing.T, root string) {
			put(t, filepath.Join(root, "serving.yaml"), []byte("leave: {live"))
		},
		"serving.yaml is empty": func(t *testing.T, root string) {
			put(t, filepath.Join(root, "serving.yaml"), nil)
		},
		"serving.yaml is gone": func(t *testing.T, root string) {
			if err := os.Remove(filepath.Join(root, "serving.yaml")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			m := newMade("leave", "v1", 1, 3, 2, 2)
			m.write(t, root)
			newMade("harm", "v1", 2, 3, 2, 2).write(t, root)
			r := mustServe(t, root, "leave: {live: v1}\nharm: {live: v1}\n")
			spoil(t, root)
			if changed, err := r.Reload(); changed || err == nil {
				t.Fatalf("changed %v, error %v; want a refusal", changed, err)
			}
			var out event.PlayerScored
			x := []float64{0.2, 0.9}
			if err := NewScorer(r, 0).Score(updated(featuresOf(x, 0)), &out); err != nil || !near(out.Scores["leave"], m.probability(x), scoreTolerance) {
				t.Errorf("the old model does not serve: %v, %v", out.Scores, err)
			}
			if ok, err := r.Ready(); !ok || err != nil {
				t.Errorf("not ready though the old model serves: %v", err)
			}
			rejected := r.Status().Rejected
			if len(rejected) != 1 {
				t.Errorf("status tells %v, want what was refused", rejected)
			}
			if _, err := r.Reload(); err != nil {
				t.Errorf("the refusal is told twice: %v", err)
			}
			if len(r.Status().Rejected) != 1 {
				t.Error("the refusal is forgotten while it lasts")
			}
			m.write(t, root)
			put(t, filepath.Join(root, "serving.yaml"), []byte("leave: {live: v1}\nharm: {live: v1}\n"))
			if _, err := r.Reload(); err != nil || len(r.Status().Rejected) != 0 {
				t.Errorf("after the repair: %v, %v", err, r.Status().Rejected)
			}
		})
	}
}

func TestReadyNamesTheModelThatKeepsItWaiting(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	bad := newMade("harm", "v1", 2, 3, 2, 2)
	dir := bad.write(t, root)
	edit(t, dir, "model.onnx", func(s string) string { return s[:50] })
	r, err := serve(t, root, "leave: {live: v1}\nharm: {live: v1}\n")
	if err == nil {
		t.Error("opened without an error")
	}
	if ok, err := r.Ready(); ok || err == nil || !strings.Contains(err.Error(), "harm/v1/model.onnx") {
		t.Errorf("ready %v, %v; want an error that names harm/v1/model.onnx", ok, err)
	}
	bad.write(t, root)
	if _, err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Ready(); !ok || err != nil {
		t.Errorf("not ready after the repair: %v", err)
	}
}

// A ConfigMap is mounted as ..data → a folder of its own; a change renames a
// new ..data over the old one, and no file that Pitboss opens is ever written.
func TestAConfigMapsSymlinkSwapIsSeen(t *testing.T) {
	t.Parallel()
	root, mount := t.TempDir(), t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	newMade("leave", "v2", 2, 3, 2, 2).write(t, root)
	publish := func(n int, body string) {
		dir := fmt.Sprintf("..2026_%d", n)
		if err := os.MkdirAll(filepath.Join(mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(mount, dir, "serving.yaml"), []byte(body))
		if err := os.Symlink(dir, filepath.Join(mount, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(mount, "..tmp"), filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish(1, "leave: {live: v1}\n")
	if err := os.Symlink("..data/serving.yaml", filepath.Join(mount, "serving.yaml")); err != nil {
		t.Fatal(err)
	}
	openRuntime(t)
	r, err := Open(Config{Dir: root, Serving: filepath.Join(mount, "serving.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	publish(2, "leave: {live: v2}\n")
	if changed, err := r.Reload(); !changed || err != nil || liveVersion(r, "leave") != "v2" {
		t.Errorf("changed %v, %v, %v serves", changed, err, liveVersion(r, "leave"))
	}
}

func TestHundredSwapsUnderLoadFailNothingAndKeepMemory(t *testing.T) {
	root := t.TempDir()
	models := map[string]*made{}
	for i, v := range []string{"v1", "v2"} {
		models[v] = newMade("leave", v, uint64(i+1), 100, 6, 8)
		models[v].write(t, root)
	}
	r := mustServe(t, root, "leave: {live: v1}\n")
	var stop atomic.Bool
	var scored atomic.Int64
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			for in := rows(seed, 64, 8); !stop.Load(); {
				for _, x := range in {
					var out event.PlayerScored
					if err := NewScorer(r, 0).Score(updated(featuresOf(x, 0)), &out); err != nil {
						t.Error(err)
						return
					}
					want := models[out.Models[0].Version].probability(x)
					if !near(out.Scores["leave"], want, scoreTolerance) {
						t.Errorf("%s scored %v, want %v", out.Models[0].Version, out.Scores["leave"], want)
						return
					}
					scored.Add(1)
				}
			}
		})
	}
	const swaps = 120
	var warm, high int
	for i := range swaps {
		put(t, filepath.Join(root, "serving.yaml"), fmt.Appendf(nil, "leave: {live: v%d}\n", 2-i%2))
		if changed, err := r.Reload(); !changed || err != nil {
			t.Fatalf("swap %d: changed %v, %v", i, changed, err)
		}
		if i == swaps/4 {
			warm = residentKB(t)
		}
		high = max(high, residentKB(t))
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d swaps under %d scored events; resident %d MB after a quarter, at most %d MB", swaps, scored.Load(), warm>>10, high>>10)
	if scored.Load() < swaps {
		t.Errorf("only %d events were scored meanwhile", scored.Load())
	}
	// A model of this size takes about 6 MB, explanation table and all: 90 leaked
	// ones would take 540.
	if high > warm+80<<10 {
		t.Errorf("resident memory grew from %d kB to %d kB", warm, high)
	}
}

func residentKB(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("resident memory is read from /proc: ", err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb
		}
	}
	t.Fatal("no VmRSS in /proc/self/status")
	return 0
}

// A version in the shadow joins the others; the oldest makes room.
func TestShadowsMakeRoom(t *testing.T) {
	t.Parallel()
	l := Line{Live: "v1"}
	for _, v := range []string{"v2", "v3", "v4", "v5"} {
		l = l.WithShadow(v)
	}
	if got := l.String(); got != "{live: v1, shadow: [v3, v4, v5]}" {
		t.Error(got)
	}
}
