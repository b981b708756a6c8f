package score

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/model"
)

const models = "../../models"

// start starts score on the models in dir.
func start(t *testing.T, dir string) *Function {
	t.Helper()
	if err := model.OpenRuntime(model.Library(os.Getenv("ONNXRUNTIME_LIB"))); err == model.ErrNoRuntime {
		t.Skip(err)
	}
	f := New()
	f.now = func() time.Time { return at.Add(time.Second) }
	t.Cleanup(func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := f.Start(context.Background(), map[string]string{"MODELS_DIR": dir, "MODELS_POLL": "5ms",
		"ONNXRUNTIME_LIB": os.Getenv("ONNXRUNTIME_LIB")}); err != nil {
		t.Fatal(err)
	}
	return f
}

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// updated is a player.updated event as profile makes it, for a player without
// any history, or with other features.
func updated(t *testing.T, features jsontext.Value) ce.Event {
	t.Helper()
	if features == nil {
		set, err := feature.Load(models + "/features.yaml")
		if err != nil {
			t.Fatal(err)
		}
		st, err := set.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		features = set.AppendJSON(nil, set.Vector(nil, st, at))
	}
	in := ce.New()
	in.SetID("e1")
	in.SetSource("/platform")
	in.SetSubject("player-1")
	in.SetType(event.TypeRoundSettled)
	in.SetTime(at)
	out, err := event.Reply(&in, "profile", event.TypePlayerUpdated, at, &event.PlayerUpdated{
		Version: "0123456789abcdef", AsOf: at, Due: []string{"tenth_round"}, Features: features, FeatureSet: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return *out
}

func TestScoresAPlayerWithTheShippedModels(t *testing.T) {
	f := start(t, models)
	if ok, err := f.Ready(context.Background()); !ok || err != nil {
		t.Fatalf("not ready: %v", err)
	}
	in := updated(t, nil)
	reply, err := f.Handle(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Type() != event.TypePlayerScored || reply.Subject() != "player-1" || !reply.Time().Equal(at) {
		t.Errorf("reply is %v", reply)
	}
	out, err := event.Decode[event.PlayerScored](reply)
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range f.Status().Live {
		if p, ok := out.Scores[name]; name != "next-game" && (!ok || p <= 0 || p >= 1) {
			t.Errorf("score %s is %v (of version %s), want a probability", name, p, version)
		}
	}
	for _, m := range out.Models {
		if !m.Shadow && len(m.Contributions) == 0 {
			t.Errorf("%s gives no reasons", m.Name)
		}
	}
	again, err := f.Handle(context.Background(), in)
	if err != nil || again.ID() != reply.ID() || string(again.Data()) != string(reply.Data()) {
		t.Error("a redelivered event is answered by another reply")
	}
}

func TestAnswersBeforeStartThatItBeRetried(t *testing.T) {
	f := New()
	_, err := f.Handle(context.Background(), updated(t, jsontext.Value(`{}`)))
	if status(err) != http.StatusInternalServerError {
		t.Errorf("status of %v, want 500", err)
	}
	if ok, _ := f.Ready(context.Background()); ok {
		t.Error("ready before Start")
	}
}

func TestRefusesForGoodWhatItCanNeverScore(t *testing.T) {
	f := start(t, models)
	other := updated(t, nil)
	other.SetType(event.TypePlayerScored)
	untyped := updated(t, nil)
	untyped.SetType("com.example.v1")
	broken := updated(t, nil)
	broken.DataEncoded = []byte(`{"version":`)
	for what, e := range map[string]ce.Event{
		"another type":      other,
		"an unknown type":   untyped,
		"broken JSON":       broken,
		"no feature at all": updated(t, jsontext.Value(`{}`)),
		"null as a feature": updated(t, jsontext.Value(`{"rounds_1m":null}`)),
	} {
		if _, err := f.Handle(context.Background(), e); status(err) != http.StatusBadRequest {
			t.Errorf("%s: %v, want 400", what, err)
		}
	}
}

func status(err error) int {
	var r *cehttp.Result
	if errors.As(err, &r) {
		return r.StatusCode
	}
	return 0
}

func TestReadyNamesTheModelThatCannotBeServed(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(models)); err != nil {
		t.Fatal(err)
	}
	onnx := filepath.Join(dir, "leave/v1/model.onnx")
	whole, err := os.ReadFile(onnx)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(onnx, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	f := start(t, dir)
	if ok, err := f.Ready(context.Background()); ok || err == nil || !strings.Contains(err.Error(), "leave/v1/model.onnx") {
		t.Errorf("ready %v, %v; want an error that names leave/v1/model.onnx", ok, err)
	}
	if err := os.WriteFile(onnx, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ok, err := f.Ready(context.Background()); ok {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the repaired file was not noticed: %v", err)
		}
	}
}

func TestStartTellsWhatIsMissing(t *testing.T) {
	f := New()
	err := f.Start(context.Background(), map[string]string{"MODELS_DIR": t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "features.yaml") {
		t.Errorf("error %v, want one that names features.yaml", err)
	}
	if ok, why := f.Ready(context.Background()); ok || why == nil {
		t.Errorf("ready %v, %v after a failed start", ok, why)
	}
}
