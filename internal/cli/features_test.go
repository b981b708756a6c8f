package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pitboss/functions/profile"
	"pitboss/internal/dataset"
	"pitboss/test/redistest"
)

const openings = `unix_seconds,player,case,item
1675641716,aa,box,x
1675641719,bb,box,x
1675641959,aa,box,x
1675649000,bb,box,x
`

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	t.Setenv("MODELS_DIR", "../../models")
	cmd := featuresCmd()
	if args[0] == "training-set" {
		cmd, args = trainingSetCmd(), args[1:]
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestFeaturesCheckAndList(t *testing.T) {
	if out, err := command(t, "check"); err != nil || !strings.Contains(out, "no mistakes found") {
		t.Errorf("check: %q, %v", out, err)
	}
	if out, err := command(t, "list"); err != nil || !strings.Contains(out, "loss_streak") {
		t.Errorf("list: %q, %v", out, err)
	}
	if _, err := command(t, "check", "--models", t.TempDir()); err == nil {
		t.Error("check of an empty folder found no mistake")
	}
}

func TestFeaturesExplainReadsTheStoredPlayer(t *testing.T) {
	url := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "openings.csv")
	if err := os.WriteFile(file, []byte(openings), 0o600); err != nil {
		t.Fatal(err)
	}
	setup, events, err := dataset.Load(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, ctx := profile.New(), context.Background()
	if err := f.Start(ctx, map[string]string{"REDIS_URL": url, "MODELS_DIR": "../../models"}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop(ctx)
	for _, e := range append(setup, events...) {
		if _, err := f.Handle(ctx, *e); err != nil {
			t.Fatal(err)
		}
	}
	out, err := command(t, "explain", "aa", "--redis", url)
	if err != nil || !strings.Contains(out, "rounds_total = 2\n") || !strings.Contains(out, "slot ") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	if _, err := command(t, "explain", "nobody", "--redis", url); err == nil || strings.Contains(err.Error(), "nobody") {
		t.Errorf("explain of an unknown player: %v; want an error that does not name the player", err)
	}
}

func TestTrainingSetCommandWritesCSV(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "openings.csv"), filepath.Join(dir, "set.csv")
	if err := os.WriteFile(in, []byte(openings), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := command(t, "training-set", in, "--out", out); err != nil || !strings.Contains(text, "4 events of 2 players") {
		t.Fatalf("%q, %v", text, err)
	}
	raw, err := os.ReadFile(out)
	if err != nil || strings.Count(string(raw), "\n") != 5 || !strings.Contains(string(raw), "gone_10m") {
		t.Errorf("%v\n%s", err, raw)
	}
	if _, err := command(t, "training-set", in, "--out", filepath.Join(dir, "set.xls")); err == nil {
		t.Error("a .xls was written")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}
