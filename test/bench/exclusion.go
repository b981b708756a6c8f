package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/simulator"
	"pitboss/test/system"
)

// ExclusionConfig configures the measurement of how fast an exclusion, or a withdrawn
// consent, stops marketing.
type ExclusionConfig struct {
	Bin     string
	Models  string  // folder of features.yaml, rules and models
	Rate    float64 // background load, events/s
	Players int     // players who are excluded or opt out, one after another
	Every   time.Duration
	// Linked gives each player a second account and excludes that one.
	Linked bool
}

// ExclusionResult holds the measured figures.
type ExclusionResult struct {
	Players int `json:"players"`
	Revoked int `json:"revoked"` // players whose marketing had to be revoked
	Issued  int `json:"issued"`  // marketing messages, before and after the exclusion
	// Late counts messages that arrived after the exclusion and were never revoked. They
	// are unlawful.
	Late int `json:"late"`
	// From the intended POST to the last moment at which a consuming team had marketing
	// for the player that was not revoked yet.
	P50Ms float64 `json:"p50_ms"`
	P99Ms float64 `json:"p99_ms"`
	MaxMs float64 `json:"max_ms"`
	// The background load, from POST to recommendation.
	LoadP99Ms float64 `json:"load_p99_ms"`
	Load      Load    `json:"-"`
}

// tempter is the policy of the measurement. It has one marketing message that is always
// worth sending, so every event of a player leads to one while that is lawful.
const tempter = `version: 1
experiment: {salt: bench, holdout: 0, arms: [{name: all, share: 1}]}
contact: {}
max_age: 15m
licensees: {default: [GB]}
actions:
  - {id: tempt, kind: marketing, channels: [in_app], product: casino, value: "10.0", expiry: 1h, message: m, prompts: [play]}
`

// Exclusions runs the whole system and measures the time from the POST of an exclusion
// (or, for every second player, of a withdrawn consent) to the last possible marketing
// message. The player's events keep coming all the time, and each leads to marketing if
// it may.
func Exclusions(ctx context.Context, cfg ExclusionConfig, progress io.Writer) (*ExclusionResult, error) {
	models, err := temptingModels(cfg.Models)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(models)
	w, err := newWatch()
	if err != nil {
		return nil, err
	}
	defer w.server.Close()
	s, err := system.Run(ctx, system.Config{Bin: cfg.Bin, Functions: pathFunctions, Consumer: w.addr, Env: []string{"SCORE_WHEN=always", "MODELS_DIR=" + models}})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	host := strings.TrimPrefix(s.BrokerURL, "http://")
	world := simulator.New(simulator.Config{Seed: 1, Players: 5000, Start: time.Now().Add(-15 * time.Minute), Pace: 1})
	warm, err := requests(world, 2000, host)
	if err != nil {
		return nil, err
	}
	whole := &path{system: s, consumer: w.consumer}
	if _, err := openLoop(ctx, host, warm, 0, 16); err != nil {
		return nil, err
	}
	if _, err := whole.drained(ctx); err != nil {
		return nil, err
	}
	w.consumer.reset()
	reqs, err := requests(world, int(cfg.Rate*(float64(cfg.Players)*cfg.Every.Seconds()+2)), host)
	if err != nil {
		return nil, err
	}
	res := &ExclusionResult{Players: cfg.Players}
	g, ctx := errgroup.WithContext(ctx)
	if cfg.Rate > 0 {
		g.Go(func() (err error) { res.Load, err = openLoop(ctx, host, reqs, cfg.Rate, 128); return err })
	}
	left := make([]departure, cfg.Players)
	begin := time.Now().Add(500 * time.Millisecond)
	for i := range left {
		g.Go(func() (err error) {
			left[i], err = leave(ctx, host, i, cfg.Linked, begin.Add(time.Duration(i)*cfg.Every))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if _, err := whole.drained(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	w.judge(left, res)
	fmt.Fprintln(progress, res.line(cfg.Rate))
	return res, nil
}

// temptingModels copies the models folder, with tempter as its actions.
func temptingModels(from string) (string, error) {
	dir, err := os.MkdirTemp("", "pitboss-models-")
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	for _, e := range entries {
		abs, err := filepath.Abs(filepath.Join(from, e.Name()))
		if err == nil && e.Name() != "actions.yaml" {
			err = os.Symlink(abs, filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return "", fmt.Errorf("bench: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "actions.yaml"), []byte(tempter), 0o600); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	return dir, nil
}

// departure is a player who is excluded or opts out.
type departure struct {
	player string
	at     time.Time // the intended POST
}

// act is one event of a player's schedule.
type act struct {
	after  time.Duration
	player string
	typ    string
	data   any
}

// departing returns one player's events: an account (two if linked), events every 25 ms,
// and at a random time among them the exclusion, which is last in the list.
func departing(n int, linked bool) []act {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	player := fmt.Sprintf("leaver-%d", n)
	account := event.AccountRegistered{Jurisdiction: "GB", BirthDate: "1986-01-01", Brand: "b", Tier: "gold", Currency: "GBP", TimeZone: "Europe/London"}
	acts := []act{
		{0, player, event.TypeAccountRegistered, account},
		{50 * time.Millisecond, player, event.TypeConsentChanged, event.ConsentChanged{Product: "all", Channel: "all", Granted: true}},
	}
	leaves := player
	if linked {
		leaves = player + "-other"
		acts = append(acts, act{0, leaves, event.TypeAccountRegistered, account})
		for _, id := range []string{player, leaves} {
			acts = append(acts, act{50 * time.Millisecond, id, event.TypeAccountLinked, event.AccountLinked{Person: fmt.Sprintf("person-%d", n), Reason: "identity", Confidence: 100}})
		}
	}
	round := event.RoundSettled{Game: "book", Product: "casino", Stake: 20, Win: 20, Currency: "GBP"}
	for i := range 22 { // the harm model needs a history, and marketing fails closed without its score
		acts = append(acts, act{60*time.Millisecond + time.Duration(i)*6*time.Millisecond, player, event.TypeRoundSettled, round})
	}
	for i := range 24 {
		acts = append(acts, act{200*time.Millisecond + time.Duration(i)*25*time.Millisecond, player, event.TypeRoundSettled, round})
	}
	out := act{450*time.Millisecond + time.Duration(rng.Int64N(int64(150*time.Millisecond))), leaves, event.TypeExcluded, event.Excluded{Scheme: "GAMSTOP"}}
	if n%2 == 1 {
		out.typ, out.data = event.TypeConsentChanged, event.ConsentChanged{Product: "all", Channel: "all"}
	}
	return append(acts, out)
}

// leave sends one player's events on a schedule that is fixed beforehand.
func leave(ctx context.Context, host string, n int, linked bool, begin time.Time) (departure, error) {
	acts := departing(n, linked)
	out := acts[len(acts)-1]
	d := departure{player: fmt.Sprintf("leaver-%d", n)}
	d.at = begin.Add(out.after)
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range acts {
		g.Go(func() error { // in parallel, so that no answer delays the next event
			at := begin.Add(s.after)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(at)):
			}
			e, err := event.New("bench", s.typ, s.player, fmt.Sprintf("%s-%d", d.player, i), at, s.data)
			if err != nil {
				return err
			}
			e.SetSource("/bench") // a platform's source, since profile ignores Pitboss's own events
			r, err := requestOf(e, host)
			if err != nil {
				return err
			}
			c, err := dial(host)
			if err != nil {
				return err
			}
			defer c.Close()
			status, err := c.post(r, at)
			if err == nil && status/100 != 2 {
				err = fmt.Errorf("bench: the Broker answered %d", status)
			}
			return err
		})
	}
	return d, g.Wait()
}

// watch is a consuming team that notes when marketing arrived and when it was revoked.
type watch struct {
	*consumer
	addr    string
	server  *http.Server
	mu      sync.Mutex
	issued  map[string]map[string]time.Time // player → decision → first arrival
	revoked map[string]time.Time            // decision → first arrival of its revocation
}

func newWatch() (*watch, error) {
	c, err := newConsumer()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", errors.Join(err, c.ln.Close()))
	}
	w := &watch{consumer: c, addr: ln.Addr().String(), issued: map[string]map[string]time.Time{}, revoked: map[string]time.Time{}}
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second}
	w.server.RegisterOnShutdown(c.close)
	go w.server.Serve(ln)
	return w, nil
}

// ServeHTTP receives one recommendation or revocation.
func (w *watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	player, id := r.Header.Get("Ce-Subject"), r.Header.Get("Ce-Id")
	switch {
	case !strings.HasPrefix(player, "leaver-"):
		w.consumer.note(r.Header.Get("Ce-Type"), id, r.Header.Get("Ce-Receivedtime"))
	case r.Header.Get("Ce-Type") == event.TypeRevoked:
		var rec event.Recommendation
		if err := json.UnmarshalRead(r.Body, &rec); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, d := range rec.Revoked {
			if _, ok := w.revoked[d]; !ok {
				w.revoked[d] = now
			}
		}
	case r.Header.Get("Ce-Type") == typeIssued && r.Header.Get("Ce-Kind") == "marketing":
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.issued[player] == nil {
			w.issued[player] = map[string]time.Time{}
		}
		if _, ok := w.issued[player][id]; !ok {
			w.issued[player][id] = now
		}
	}
}

// judge finds for each player the last moment at which marketing was possible.
func (w *watch) judge(left []departure, res *ExclusionResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := newHistogram()
	for _, d := range left {
		var last time.Duration
		for id, at := range w.issued[d.player] {
			res.Issued++
			dropped, ok := w.revoked[id]
			switch {
			case ok:
				last = max(last, dropped.Sub(d.at))
			case at.After(d.at):
				res.Late++
				last = max(last, at.Sub(d.at))
			}
		}
		if last > 0 {
			res.Revoked++
			_ = h.RecordValue(last.Microseconds())
		}
	}
	res.P50Ms, res.P99Ms, res.MaxMs = ms(h, 50), ms(h, 99), ms(h, 100)
	res.LoadP99Ms = ms(w.consumer.histogram(), 99)
}

func (r *ExclusionResult) line(rate float64) string {
	return fmt.Sprintf("%d players excluded or opted out beside %.0f events/s: %d marketing messages, revoked for %d players, %d late and never revoked; "+
		"POST to the last possible marketing message p50 %.1f, p99 %.1f, max %.1f ms (the load: p99 %.1f ms)",
		r.Players, rate, r.Issued, r.Revoked, r.Late, r.P50Ms, r.P99Ms, r.MaxMs, r.LoadP99Ms)
}
