package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pitboss/test/system"
)

// phase is one measurement of a running system.
type phase struct {
	what path
	draw string
	rate float64 // 0: full speed
	kill bool    // kill the application's processes after a third of the time
}

func (p phase) String() string {
	load := "as fast as it goes"
	if p.rate > 0 {
		load = fmt.Sprintf("%g/s", p.rate)
	}
	if p.kill {
		load += ", killed"
	}
	return fmt.Sprintf("%s, %s, %s", p.what, p.draw, load)
}

// phases lists the phases of every system, in order.
func (o options) phases(alone bool) (out []phase) {
	for _, draw := range []string{uniform, zipf, hot} {
		out = append(out, phase{what: whole, draw: draw})
	}
	for _, rate := range o.rates {
		out = append(out, phase{what: whole, draw: uniform, rate: rate})
	}
	if alone {
		for _, draw := range []string{uniform, zipf, hot} {
			out = append(out, phase{what: state, draw: draw})
		}
	}
	return append(out, phase{what: whole, draw: uniform, rate: o.kill, kill: true})
}

// row holds the figures of a phase.
type row struct {
	System   string             `json:"system"`
	Phase    string             `json:"phase"`
	Rep      int                `json:"rep"`
	Sent     int                `json:"sent"`     // including events that were sent again
	Results  int                `json:"results"`  // distinct
	Lost     int                `json:"lost"`     // acknowledged events without a result
	Applied  int64              `json:"applied"`  // events added to players' states, by the states' own counts
	Double   int64              `json:"double"`   // how many more were applied than were sent
	Repeated int                `json:"repeated"` // results delivered again
	Refused  int                `json:"refused"`  // sends that were refused and repeated until they were acknowledged
	Reason   string             `json:"reason,omitempty"`
	PerS     float64            `json:"results_per_s"` // up to the last result
	P50      float64            `json:"p50_ms"`        // since the intended send
	P99      float64            `json:"p99_ms"`
	Gap      float64            `json:"longest_gap_ms"`              // the longest time without a result
	CPU      map[string]float64 `json:"cpu_us_per_result,omitempty"` // by process; missing if one was killed
	Loader   float64            `json:"loader_cpu_us_per_result"`
	Others   float64            `json:"others_share_of_cpu"` // the share of other processes than the system and the loader
}

func (r row) cpu() (sum float64) {
	for _, v := range r.CPU {
		sum += v
	}
	return sum
}

func (r row) String() string {
	return fmt.Sprintf("%-14s %-44s %7.0f/s  p50 %.1f  p99 %.1f ms  CPU %.0f µs  %d sent, %d applied, %d results: %d lost, %d double, %d repeated, %d refused  gap %.0f ms  others %.0f %%",
		r.System, r.Phase, r.PerS, r.P50, r.P99, r.cpu(), r.Sent, r.Applied, r.Results, r.Lost, r.Double, r.Repeated, r.Refused, r.Gap, 100*r.Others)
}

// start says how long a system takes to start, and how much memory it takes.
type start struct {
	System string    `json:"system"`
	Rep    int       `json:"rep"`
	All    float64   `json:"all_ms"`         // start of the whole system with empty stores, to the first result
	App    []float64 `json:"application_ms"` // from exec of the application alone to its first result
	Rest   float64   `json:"rest_mib"`       // resident, a second after the start
	Peak   float64   `json:"peak_mib"`       // the sum of each process's peak
}

// runner measures one system once.
type runner struct {
	o       options
	system  string
	rep     int
	peer    peer
	ledger  *ledger
	out     *report
	log     io.Writer
	runs    int
	applied int64 // events applied to the states before the phase
}

// measure starts the system, runs all phases and stops it. The report keeps what was
// measured before a failure.
func (r *runner) measure(ctx context.Context, alone bool) (err error) {
	r.ledger = newLedger()
	defer r.peer.stop()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, r.peer.Said())
		}
	}()
	s := start{System: r.system, Rep: r.rep}
	if err := r.bringUp(ctx, &s); err != nil {
		return err
	}
	for _, p := range r.o.phases(alone) {
		if err := r.phase(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	_, s.Peak = mebibytes(r.peer.Usage())
	r.out.Starts = append(r.out.Starts, s)
	return nil
}

// bringUp starts everything, gives every player a state, restarts the application several
// times, and warms up.
func (r *runner) bringUp(ctx context.Context, s *start) (err error) {
	began := time.Now()
	if err := r.peer.start(ctx, r.ledger); err != nil {
		return err
	}
	if s.All, err = r.first(ctx, began); err != nil {
		return err
	}
	time.Sleep(time.Second)
	s.Rest, _ = mebibytes(r.peer.Usage())
	if err := r.run(ctx, &load{source: everyPlayer(r.id(), r.o.players, r.peer.first())}, whole); err != nil {
		return err
	}
	for range r.o.colds {
		for _, p := range r.peer.Application() {
			p.Stop()
		}
		began := time.Now()
		if err := r.restart(ctx); err != nil {
			return err
		}
		took, err := r.first(ctx, began)
		if err != nil {
			return err
		}
		s.App = append(s.App, took)
	}
	fmt.Fprintf(r.log, "%-14s up in %.0f ms, the application in %.0f, %.0f MiB at rest\n", r.system, s.All, median(s.App), s.Rest)
	if err := r.run(ctx, &load{source: play(r.id(), uniform, r.o.players, 0), length: r.o.warm}, whole); err != nil {
		return err
	}
	r.applied, err = r.peer.applied(ctx)
	return err
}

// id returns the id of an event of the run.
func (r *runner) id() string {
	r.runs++
	return fmt.Sprintf("%x-%d", time.Now().UnixMicro()&0xffffff, r.runs)
}

// run loads one path and waits for the results.
func (r *runner) run(ctx context.Context, l *load, what path) error {
	ctx, cancel := context.WithTimeout(ctx, l.length+3*time.Minute)
	defer cancel()
	l.ledger, l.open = r.ledger, func() sender { return r.peer.open(what) }
	l.result = func(e event) string { return r.peer.result(what, e) }
	l.run(ctx)
	r.ledger.drained(ctx)
	if due, _ := r.ledger.progress(); due > 0 && l.length == 0 {
		return fmt.Errorf("%d events without a result: %s", due, l.reason)
	}
	return nil
}

// first sends one event and returns how long after began its result came.
func (r *runner) first(ctx context.Context, began time.Time) (float64, error) {
	if err := r.run(ctx, &load{source: everyPlayer(r.id(), 1, []kind{round})}, whole); err != nil {
		return 0, err
	}
	_, last := r.ledger.progress()
	return milliseconds(last.Sub(began)), nil
}

func (r *runner) restart(ctx context.Context) error {
	for _, p := range r.peer.Application() {
		if err := p.Restart(); err != nil {
			return err
		}
	}
	return r.peer.Ready(ctx)
}

// phase runs one phase and adds its row.
func (r *runner) phase(ctx context.Context, p phase) error {
	before, began := r.meter(), time.Now()
	crashed := make(chan error, 1)
	go func() { crashed <- r.crash(ctx, p) }()
	l := &load{source: play(r.id(), p.draw, r.o.players, r.o.again), rate: p.rate, length: r.o.length}
	err := r.run(ctx, l, p.what)
	if err := errors.Join(err, <-crashed); err != nil {
		return err
	}
	after, took := r.meter(), time.Since(began)
	w := r.row(p, l)
	if !p.kill {
		w.charge(before, after, took)
	}
	applied, err := r.peer.applied(ctx)
	if err != nil {
		return err
	}
	w.Applied, r.applied = applied-r.applied, applied
	w.Double = max(0, w.Applied-int64(w.Results+w.Lost))
	r.out.Rows = append(r.out.Rows, w)
	fmt.Fprintln(r.log, w)
	return nil
}

// crash kills the application under load and restarts it half a second later.
func (r *runner) crash(ctx context.Context, p phase) error {
	if !p.kill {
		return nil
	}
	time.Sleep(r.o.length / 3)
	for _, p := range r.peer.Application() {
		p.Kill()
	}
	time.Sleep(500 * time.Millisecond)
	return r.restart(ctx)
}

func (r *runner) row(p phase, l *load) row {
	led := r.ledger
	led.mu.Lock()
	defer led.mu.Unlock()
	return row{System: r.system, Phase: p.String(), Rep: r.rep, Sent: l.all, Results: led.results, Lost: len(led.sent) - led.results,
		Repeated: led.repeated, Refused: l.refused, Reason: l.reason, PerS: float64(led.results) / led.last.Sub(l.began).Seconds(),
		P50: quantile(led.latency, 50), P99: quantile(led.latency, 99), Gap: milliseconds(led.gap)}
}

// meter holds the processor time that each process has used.
func (r *runner) meter() map[string]time.Duration {
	out := map[string]time.Duration{"loader": system.UsageOf(os.Getpid()).CPU, "machine": machineCPU()}
	for name, u := range r.peer.Usage() {
		out[name] = u.CPU
	}
	return out
}

// charge adds to the row what the results cost, and what other processes used.
func (w *row) charge(before, after map[string]time.Duration, took time.Duration) {
	w.CPU = map[string]float64{}
	others := after["machine"] - before["machine"]
	for name := range after {
		if name == "machine" {
			continue
		}
		used := after[name] - before[name]
		others -= used
		each := float64(used.Microseconds()) / float64(max(1, w.Results))
		if name == "loader" {
			w.Loader = each
		} else {
			w.CPU[name] = each
		}
	}
	w.Others = max(0, others.Seconds()/took.Seconds()/float64(runtime.NumCPU()))
}

func mebibytes(all map[string]system.Usage) (now, peak float64) {
	for _, u := range all {
		now += float64(u.RSS) / (1 << 20)
		peak += float64(u.Peak) / (1 << 20)
	}
	return now, peak
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtQuantile(q)) / 1000
}
