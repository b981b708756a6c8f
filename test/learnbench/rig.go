package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/functions"
	"pitboss/functions/decide"
	"pitboss/functions/feedback"
	"pitboss/functions/profile"
	"pitboss/internal/event"
	"pitboss/test/redistest"
)

// rig runs profile, decide and feedback, as the image does, on an empty Redis.
type rig struct {
	dir                       string
	redis                     *redistest.Server
	profile, decide, feedback functions.Function
}

// newRig starts the functions with the models folder and the stream's actions.
func newRig(ctx context.Context, models string, s stream) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			r.close(ctx)
		}
	}()
	if r.dir, err = os.MkdirTemp("", "learnbench"); err != nil {
		return r, err
	}
	dir := filepath.Join(r.dir, "models")
	if err := os.CopyFS(dir, os.DirFS(models)); err != nil {
		return r, err
	}
	if err := s.write(dir); err != nil {
		return r, err
	}
	if r.redis, err = redistest.Run(r.dir); err != nil {
		return r, err
	}
	r.profile, r.decide, r.feedback = profile.New(), decide.New(), feedback.New()
	for _, f := range r.functions() {
		err = f.Start(ctx, map[string]string{"REDIS_URL": r.redis.URL(), "MODELS_DIR": dir, "SCORE_WHEN": "always", "DECIDE_LEARN_POLL": "250ms"})
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *rig) functions() []functions.Function {
	return []functions.Function{r.profile, r.decide, r.feedback}
}

func (r *rig) close(ctx context.Context) {
	if r.redis != nil {
		for _, f := range r.functions() {
			_ = f.Stop(ctx)
		}
	}
	if r.redis != nil {
		r.redis.Kill()
	}
	_ = os.RemoveAll(r.dir)
}

// decision makes a player who opted in to everything, and a decision about them.
func (r *rig) decision(ctx context.Context, id string, scores map[string]float64) (*ce.Event, *event.Recommendation, error) {
	now := time.Now().UTC()
	var updated *ce.Event
	for i, at := range []struct {
		typ  string
		data any
	}{
		{event.TypeAccountRegistered, event.AccountRegistered{Jurisdiction: "MT", BirthDate: "1986-01-01", Brand: "bench", Currency: "EUR"}},
		{event.TypeAccountUpdated, event.Account{TimeZone: "Europe/Malta"}},
		{event.TypeConsentChanged, event.ConsentChanged{Product: "all", Channel: "all", Granted: true}},
	} {
		e, err := tell(at.typ, id, fmt.Sprint(id, "-", i), now, at.data)
		if err != nil {
			return nil, nil, err
		}
		if updated, err = r.retried(ctx, r.profile, e); err != nil {
			return nil, nil, err
		}
	}
	in, err := event.Decode[event.PlayerUpdated](updated)
	if err != nil {
		return nil, nil, err
	}
	scored, err := event.Reply(updated, "score", event.TypePlayerScored, now, event.PlayerScored{PlayerUpdated: *in, Scores: scores})
	if err != nil {
		return nil, nil, err
	}
	out, err := r.retried(ctx, r.decide, scored)
	if err != nil {
		return nil, nil, err
	}
	rec, err := event.Decode[event.Recommendation](out)
	return out, rec, err
}

// outcome sends feedback that a decision was issued, or its outcome.
func (r *rig) outcome(ctx context.Context, issued *ce.Event, rec *event.Recommendation, typ string) error {
	e := issued
	if typ != event.TypeRecommendation {
		var err error
		e, err = tell(typ, issued.Subject(), rec.Decision+typ, time.Now().UTC(), event.Outcome{Recommendation: rec.Decision, Channel: rec.Channel})
		if err != nil {
			return err
		}
	}
	_, err := r.retried(ctx, r.feedback, e)
	return err
}

// retried delivers an event as the Broker does, and retries it if that may succeed.
func (r *rig) retried(ctx context.Context, f functions.Function, e *ce.Event) (out *ce.Event, err error) {
	for range 10 {
		if out, err = f.Handle(ctx, *e); err == nil || event.IsPermanent(err) {
			return out, err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return out, err
}

// tell makes an event as a platform or a team sends it.
func tell(typ, id, name string, at time.Time, data any) (*ce.Event, error) {
	e, err := event.New("bench", typ, id, name, at, data)
	if err != nil {
		return nil, err
	}
	e.SetSource("/platform/learnbench")
	return e, nil
}

// write writes the stream's actions.yaml, which has marketing actions with constant values
// and one learning arm, and a learning.yaml with the stream's settings.
func (s stream) write(dir string) error {
	var b strings.Builder
	b.WriteString("version: 1\nexperiment: {salt: learnbench, holdout: 0, arms: [{name: explore, share: 1, learned: true}]}\n" +
		"contact: {}\nmax_age: 15m\nlicensees: {default: [MT]}\nactions:\n")
	for i, n := range s.Actions {
		fmt.Fprintf(&b, "  - {id: %s, kind: marketing, channels: [in_app], product: casino, value: \"%.3f\", expiry: 1h, message: m}\n", n, s.Guesses[i])
	}
	if err := os.WriteFile(filepath.Join(dir, "actions.yaml"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	if s.Deviation == 0 {
		return nil
	}
	path := filepath.Join(dir, "learning.yaml")
	spec, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := regexp.MustCompile(`(?m)^deviation: \S+`).ReplaceAllString(string(spec), fmt.Sprint("deviation: ", s.Deviation))
	text = regexp.MustCompile(`(?m)^noise: \S+`).ReplaceAllString(text, fmt.Sprint("noise: ", s.Noise))
	return os.WriteFile(path, []byte(text), 0o644)
}
