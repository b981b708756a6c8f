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
	"pitboss/internal/model"
	"pitboss/test/shipped"
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
	return updatedOf(t, features, event.Facts{})
}

// playing is player.updated of somebody who played 30 rounds of a product.
func playing(t *testing.T, product string) ce.Event {
	t.Helper()
	set := shipped.Features(t)
	st, err := set.Decode(nil)
	if err != nil {
		t.Fatal(err)
	}
	vector := set.Vector(nil, st, at)
	for i, name := range set.Names() {
		if name == "rounds_total" || name == "rounds_"+product {
			vector[i] = 30
		}
	}
	return updatedOf(t, set.AppendJSON(nil, vector), event.Facts{LastProduct: product})
}

func updatedOf(t *testing.T, features jsontext.Value, facts event.Facts) ce.Event {
	t.Helper()
	if features == nil {
		set := shipped.Features(t)
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
		Version: "0123456789abcdef", AsOf: at, Due: []string{"tenth_round"}, Features: features, FeatureSet: "x", Facts: facts})
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
	in := playing(t, "sports")
	reply, err := f.Handle(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Type() != event.TypePlayerScored || reply.Subject() != "player-1" || !reply.Time().Equal(at) {
		t.Errorf("reply is %v", reply)
	}
	again, err := f.Handle(context.Background(), in)
	if err != nil || again.ID() != reply.ID() || string(again.Data()) != string(reply.Data()) {
		t.Error("a redelivered event is answered by another reply")
	}
}

// Each harm model speaks of its own players, and of nobody whom it does not know.
func TestTheShippedHarmModelsKnowTheirPlayers(t *testing.T) {
	f := start(t, models)
	if ok, err := f.Ready(context.Background()); !ok || err != nil {
		t.Fatalf("not ready: %v", err)
	}
	for product, speaks := range map[string]string{"sports": "harm", "casino": "harm-casino", "bingo": "", "": ""} {
		reply, err := f.Handle(context.Background(), playing(t, product))
		if err != nil {
			t.Fatal(err)
		}
		out, err := event.Decode[event.PlayerScored](reply)
		if err != nil {
			t.Fatal(err)
		}
		p, known := out.Scores["harm"]
		if known != (speaks != "") || known && (p <= 0 || p >= 1) {
			t.Errorf("%q: harm is %v, known %v", product, p, known)
		}
		if p := out.Scores["leave"]; p <= 0 || p >= 1 {
			t.Errorf("%q: leave is %v", product, p)
		}
		for _, m := range out.Models {
			if m.Output == "harm" && (m.Outside == "") != (m.Name == speaks) {
				t.Errorf("%q: %s is outside: %q", product, m.Name, m.Outside)
			}
			if m.Outside == "" && !m.Shadow && len(m.Contributions) == 0 {
				t.Errorf("%q: %s gives no reasons", product, m.Name)
			}
		}
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
