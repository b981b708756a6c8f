package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/test/system"
)

// SoakConfig configures a long run of the whole path.
type SoakConfig struct {
	PathConfig
	For     time.Duration
	Rate    float64 // events/s; of a diurnal run the day's mean
	Every   time.Duration
	Diurnal bool // one day's curve, compressed into For
	// Keep is how long journal entries stay in Redis after they were written to segments,
	// which happens every minute, as by a deployment's CronJob. 0: they are not written.
	Keep time.Duration
}

// PlayersPerEvent is how many simulated players it takes to send one event a second
// during their first hour, with a margin.
const PlayersPerEvent = 40

// Sample is one reading of every component.
type Sample struct {
	At         float64            `json:"at_s"`
	Sent       int64              `json:"sent"`
	Rate       float64            `json:"rate"` // events/s since the sample before
	P50Ms      float64            `json:"p50_ms"`
	P99Ms      float64            `json:"p99_ms"`
	CPU        float64            `json:"cores"`     // busy since the sample before, all components
	RSS        map[string]int64   `json:"rss_bytes"` // by component, as the next three
	Threads    map[string]int     `json:"threads"`
	Handles    map[string]int     `json:"handles"`
	Goroutines map[string]float64 `json:"goroutines"` // of functions
	Redis      int64              `json:"redis_bytes"`
}

// Trend is how a series developed over the run.
type Trend struct {
	Series  string  `json:"series"`
	Mean    float64 `json:"mean"`
	PerHour float64 `json:"per_hour"` // slope of the least-squares line, without the first third
	Verdict string  `json:"verdict"`
}

// SoakResult holds the result of a run.
type SoakResult struct {
	Accepted    int64    `json:"accepted"`
	Applied     int64    `json:"applied"`    // events applied to players' states, by profile's count
	Asked       int64    `json:"asked"`      // decisions that were due, by profile's count of replies
	Decided     int64    `json:"decided"`    // distinct decisions at the consumer
	Lost        int64    `json:"lost"`       // accepted events without the decision that was due
	Repeated    int64    `json:"repeated"`   // decisions delivered again (delivery is at least once)
	Unexpected  int64    `json:"unexpected"` // decisions that follow from no event that was sent
	DeadLetters int64    `json:"dead_letters"`
	Samples     []Sample `json:"samples"`
	Trends      []Trend  `json:"trends"`
	Diurnal     bool     `json:"diurnal"`
	PeakRate    float64  `json:"peak_rate"`
}

// Soak sends events at a rate for a long time. It expects each event's decision by its
// id, which derives from the event's.
func Soak(ctx context.Context, cfg SoakConfig, progress io.Writer) (*SoakResult, error) {
	cfg.Metrics = true
	if ahead := rehearse(cfg); ahead > 0 {
		cfg.Back = lead + ahead
	}
	p, err := openPath(ctx, cfg.PathConfig)
	if err != nil {
		return nil, err
	}
	defer p.close()
	s := &soak{path: p, cfg: cfg, progress: progress, expected: map[uint64]int32{}, res: &SoakResult{Diurnal: cfg.Diurnal}}
	p.consumer.seen = s.seen
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	if _, err := p.drained(ctx); err != nil {
		return nil, err
	}
	return s.res, s.judge(ctx)
}

// rehearse returns how far the players' clock gets ahead of the real one: few players who
// send many events live faster. Events of the future are refused, so play must begin that
// much earlier.
func rehearse(cfg SoakConfig) (ahead time.Duration) {
	world := simulated(cfg.Players, 0)
	began := world.Peek()
	for n := range int(cfg.For.Seconds() * cfg.Rate) {
		wall := time.Duration(float64(n) / cfg.Rate * float64(time.Second))
		ahead = max(ahead, world.Next().Time().Sub(began)-wall)
	}
	return ahead
}

type soak struct {
	*path
	cfg      SoakConfig
	progress io.Writer
	res      *SoakResult

	mu       sync.Mutex
	expected map[uint64]int32 // the event of a decision's id
	times    []uint8          // how often each event's decision arrived
	cpu      time.Duration
}

// seen counts a decision at the consumer.
func (s *soak) seen(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.expected[xxhash.Sum64String(id)]
	switch {
	case !ok:
		s.res.Unexpected++
	case s.times[i] > 0:
		s.res.Repeated++
	default:
		s.times[i]++
		s.res.Decided++
	}
}

// expect notes the id that an event's decision will have.
func (s *soak) expect(e *ce.Event) {
	source, id := e.Source(), e.ID()
	for _, fn := range []struct{ name, typ string }{{"profile", event.TypePlayerUpdated}, {"score", event.TypePlayerScored}} {
		source, id = event.SourceOf(fn.name), event.ReplyID(source, id, fn.typ)
	}
	id = journal.DecisionID(e.Subject(), event.ReplyID(source, id, typeIssued)) // the same for issued and suppressed
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected[xxhash.Sum64String(id)] = int32(len(s.times))
	s.times = append(s.times, 0)
}

// chunk holds the events that are sent between two samples.
type chunk struct {
	reqs []request
	due  []time.Duration // since the beginning of the run
}

func (s *soak) run(ctx context.Context) error {
	chunks := make(chan chunk, 1)
	g, ctx := errgroup.WithContext(ctx)
	sent := make(chan struct{})
	g.Go(func() error { defer close(chunks); return s.prepare(ctx, chunks) })
	g.Go(func() error { return s.writeJournal(ctx, sent) })
	g.Go(func() error {
		defer close(sent)
		var begin time.Time
		for c := range chunks {
			if begin.IsZero() {
				begin = time.Now()
				for _, u := range s.system.Usage() {
					s.cpu += u.CPU
				}
			}
			s.consumer.reset()
			load, err := (&loop{host: s.host(), reqs: c.reqs, begin: begin, due: c.due, conns: 256}).run(ctx)
			if err != nil {
				return err
			}
			if load.Failed > 0 {
				return fmt.Errorf("bench: the Broker refused %d events", load.Failed)
			}
			if err := s.sample(ctx, load, time.Since(begin)); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// writeJournal runs pitboss journal write every minute until all is sent.
func (s *soak) writeJournal(ctx context.Context, sent <-chan struct{}) error {
	if s.cfg.Keep == 0 {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sent:
			return nil
		case <-time.After(time.Minute):
		}
		cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, "pitboss"), "journal", "write", "--redis", s.system.RedisURL,
			"--segments", filepath.Join(s.system.Dir, "segments"), "--keep", s.cfg.Keep.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bench: journal write: %w: %s", err, out)
		}
	}
}

// prepare makes the events of each interval while those of the one before are sent.
func (s *soak) prepare(ctx context.Context, out chan<- chunk) error {
	at := 0.0
	rng := newRand()
	for end := s.cfg.Every; end <= s.cfg.For; end += s.cfg.Every {
		var c chunk
		for {
			rate := s.rate(at)
			s.res.PeakRate = max(s.res.PeakRate, rate)
			if at += rng.ExpFloat64() / rate; at >= end.Seconds() {
				break
			}
			e := s.source.Next()
			s.expect(e)
			r, err := requestOf(e, s.host())
			if err != nil {
				return err
			}
			c.reqs, c.due = append(c.reqs, r), append(c.due, time.Duration(at*float64(time.Second)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out <- c:
		}
	}
	return nil
}

// rate returns the rate at a moment of the run, in events/s.
func (s *soak) rate(at float64) float64 {
	if !s.cfg.Diurnal {
		return s.cfg.Rate
	}
	return s.cfg.Rate * Diurnal(at/s.cfg.For.Seconds())
}

// Diurnal is a day's load curve. It returns the load at a point of the day (0 to 1) as a
// multiple of the day's mean: a quarter at night, and 4.9 at the evening's peak.
func Diurnal(day float64) float64 {
	const sharp, mean = 12, 2704156.0 / (1 << 24)               // the mean of the 24th power of a sine: C(24,12) / 2^24
	evening := math.Pow(math.Sin(math.Pi*(day-0.333)), 2*sharp) // highest at 20:00
	return 0.25 + 0.75*evening/mean
}

func (s *soak) sample(ctx context.Context, load Load, at time.Duration) error {
	h := s.consumer.histogram()
	out := Sample{At: at.Seconds(), P50Ms: ms(h, 50), P99Ms: ms(h, 99),
		RSS: map[string]int64{}, Threads: map[string]int{}, Handles: map[string]int{}, Goroutines: map[string]float64{}}
	s.res.Accepted += load.Sent
	out.Sent = s.res.Accepted
	since := at.Seconds()
	if n := len(s.res.Samples); n > 0 {
		since -= s.res.Samples[n-1].At
	}
	out.Rate = float64(load.Sent) / since
	var cpu time.Duration
	for part, u := range s.system.Usage() {
		out.RSS[part], out.Threads[part], out.Handles[part] = u.RSS, u.Threads, u.Handles
		cpu += u.CPU
	}
	out.CPU, s.cpu = (cpu-s.cpu).Seconds()/since, cpu
	metrics, err := scrape(ctx, s.system)
	if err != nil {
		return err
	}
	for fn, m := range metrics {
		out.Goroutines[fn] = m["go_goroutines"]
	}
	if out.Redis, err = redisMemory(ctx, s.system.RedisURL); err != nil {
		return err
	}
	stats, err := s.system.Stats(ctx)
	if err != nil {
		return err
	}
	if stats.DeadLetters > 0 { // the run has failed already
		list, _ := system.Get(ctx, s.system.BrokerURL+"/admin/deadletters")
		return fmt.Errorf("bench: %d dead letters after %.0f s: %.600s", stats.DeadLetters, out.At, list)
	}
	s.res.Samples = append(s.res.Samples, out)
	fmt.Fprintf(s.progress, "  %6.0f s  %7.0f events/s  p50 %.1f p99 %.1f ms  %.2f cores  Redis %.1f MiB\n",
		out.At, out.Rate, out.P50Ms, out.P99Ms, out.CPU, float64(out.Redis)/(1<<20))
	return nil
}

// judge counts what was lost and finds series that grow.
func (s *soak) judge(ctx context.Context) error {
	metrics, err := scrape(ctx, s.system)
	if err != nil {
		return err
	}
	s.res.Applied = int64(metrics["profile"][`pitboss_profile_events_total{result="applied"}`])
	for series, v := range metrics["profile"] {
		if strings.HasPrefix(series, "pitboss_function_events_total{") && strings.Contains(series, `result="replied"`) {
			s.res.Asked += int64(v)
		}
	}
	stats, err := s.system.Stats(ctx)
	if err != nil {
		return err
	}
	s.res.DeadLetters = stats.DeadLetters
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.res.Asked
	if !s.cfg.Mixed { // every event's decision is due, and each was expected by its id
		due = s.res.Accepted
	}
	s.res.Lost = due - s.res.Decided
	s.res.Trends = trends(s.res.Samples)
	return nil
}

// trends judges the series of the samples.
func trends(samples []Sample) (out []Trend) {
	var parts []string
	if len(samples) > 0 {
		for part := range samples[0].RSS {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	for _, part := range parts {
		out = append(out, trend(part+" RSS, MiB", samples, func(s Sample) float64 { return float64(s.RSS[part]) / (1 << 20) }))
		if _, ok := samples[0].Goroutines[part]; ok {
			out = append(out, trend(part+" goroutines", samples, func(s Sample) float64 { return s.Goroutines[part] }))
		} else {
			out = append(out, trend(part+" threads", samples, func(s Sample) float64 { return float64(s.Threads[part]) }))
		}
		out = append(out, trend(part+" handles", samples, func(s Sample) float64 { return float64(s.Handles[part]) }))
	}
	return append(out, trend("Redis data, MiB", samples, func(s Sample) float64 { return float64(s.Redis) / (1 << 20) }))
}

// Verdicts of a trend.
const (
	flat     = "flat"
	grows    = "grows"
	tooShort = "too short to tell"
)

// shortest is the least time that must remain after the first third, in which caches and
// heaps still grow to their size.
const shortest = 5 * time.Minute

// trend fits a line to the last two thirds. A series grows if an hour would add more than
// a tenth of its mean, and the line explains most of the variance, since noise is no
// growth.
func trend(name string, samples []Sample, of func(Sample) float64) Trend {
	t := Trend{Series: name, Verdict: tooShort}
	kept := samples[len(samples)/3:]
	n := float64(len(kept))
	var mx, my float64
	for _, s := range kept {
		mx, my = mx+s.At/n, my+of(s)/n
	}
	var xx, xy, yy float64
	for _, s := range kept {
		x, y := s.At-mx, of(s)-my
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	t.Mean = my
	if xx == 0 {
		return t
	}
	t.PerHour = 3600 * xy / xx
	if len(kept) < 12 || kept[len(kept)-1].At-kept[0].At < shortest.Seconds() {
		return t
	}
	t.Verdict = flat
	if t.PerHour > 0.1*my && yy > 0 && xy*xy/(xx*yy) > 0.5 {
		t.Verdict = grows
	}
	return t
}

// Verdict returns nil if nothing was lost, doubled or dead-lettered. A series that grows
// is reported but is no failure, since the journal in Redis grows by design.
func (r *SoakResult) Verdict() error {
	var all []error
	if r.Lost != 0 {
		all = append(all, fmt.Errorf("soak: %d of %d accepted events were not decided", r.Lost, r.Accepted))
	}
	if r.Applied != r.Accepted {
		all = append(all, fmt.Errorf("soak: %d events accepted, %d applied to state", r.Accepted, r.Applied))
	}
	if r.Unexpected != 0 || r.DeadLetters != 0 {
		all = append(all, fmt.Errorf("soak: %d decisions of no event that was sent, %d dead letters", r.Unexpected, r.DeadLetters))
	}
	return errors.Join(all...)
}

// Print writes the verdicts.
func (r *SoakResult) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%d accepted, %d applied, %d decisions due, %d decided; %d lost, %d delivered again, %d unexpected, %d dead letters\n\n",
		r.Accepted, r.Applied, r.Decided+r.Lost, r.Decided, r.Lost, r.Repeated, r.Unexpected, r.DeadLetters)
	t := &strings.Builder{}
	fmt.Fprint(t, "series\tmean\tan hour adds\tverdict\t\n")
	for _, trend := range r.Trends {
		fmt.Fprintf(t, "%s\t%.1f\t%+.1f\t%s\t\n", trend.Series, trend.Mean, trend.PerHour, trend.Verdict)
	}
	markdown(w, t.String())
}
