package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deaf is a sender that refuses every third send and delivers results as it is told.
type deaf struct {
	n    int
	take func(e event)
}

func (d *deaf) send(e event) error {
	if d.n++; d.n%3 == 0 {
		return os.ErrDeadlineExceeded
	}
	d.take(e)
	return nil
}

func (*deaf) close() {}

func drive(t *testing.T, l *load, take func(l *ledger, e event)) *load {
	t.Helper()
	l.ledger = newLedger()
	l.result = func(e event) string { return e.id }
	l.open = func() sender { return &deaf{take: func(e event) { take(l.ledger, e) }} }
	l.run(context.Background())
	return l
}

func TestWhatIsRefusedIsSentAgainUntilItIsTaken(t *testing.T) {
	t.Parallel()
	l := drive(t, &load{source: everyPlayer("r", 500, []kind{account, consent})}, func(l *ledger, e event) { l.result(e.id, e.player, 1) })
	if due, _ := l.ledger.progress(); due != 0 || l.all != 1000 || l.refused == 0 || l.ledger.applied() != 500 {
		t.Errorf("%d sent, %d due, %d refused, %d applied", l.all, due, l.refused, l.ledger.applied())
	}
}

func TestLostAndRepeatedResultsAreCounted(t *testing.T) {
	t.Parallel()
	n := 0
	once := func() (event, bool) {
		n++
		return event{id: strings.Repeat("x", n), player: "p"}, n <= 100
	}
	l := drive(t, &load{source: once}, func(l *ledger, e event) {
		switch len(e.id) % 10 {
		case 0: // lost
		case 1:
			l.result(e.id, e.player, 0)
			fallthrough
		default:
			l.result(e.id, e.player, int64(len(e.id)))
		}
	})
	r := runner{ledger: l.ledger}
	if w := r.row(phase{what: whole, draw: uniform}, l); w.Sent != 100 || w.Results != 90 || w.Lost != 10 || w.Repeated != 10 {
		t.Errorf("%+v", w)
	}
}

// A late send counts its waiting. Events are due at 1,000/s, and no result comes in the first
// 300 ms.
func TestAStallShowsInTheLatency(t *testing.T) {
	t.Parallel()
	began := time.Now()
	l := drive(t, &load{source: play("r", zipf, 10, 0.05), rate: 1000, length: time.Second}, func(l *ledger, e event) {
		time.Sleep(time.Until(began.Add(300 * time.Millisecond)))
		l.result(e.id, e.player, 0)
	})
	if p99 := quantile(l.ledger.latency, 99); p99 < 200 {
		t.Errorf("p99 %.0f ms", p99)
	}
}

func TestPlayRepeatsItsShareAndSkews(t *testing.T) {
	t.Parallel()
	for draw, want := range map[string][2]int{uniform: {50, 200}, zipf: {1500, 4000}, hot: {9000, 10000}} {
		ids, of, again := map[string]bool{}, map[string]int{}, 0
		next := play("r", draw, 100, 0.05)
		for range 10000 {
			e, _ := next()
			if e.again != ids[e.id] {
				t.Fatalf("%s: %s again: %v", draw, e.id, e.again)
			}
			if ids[e.id] = true; e.again {
				again++
			} else {
				of[e.player]++
			}
		}
		if n := of[playerName(0)]; n < want[0] || n > want[1] {
			t.Errorf("%s: %d events of the first player, want %v", draw, n, want)
		}
		if again < 400 || again > 600 {
			t.Errorf("%s: %d of 10,000 repeated", draw, again)
		}
	}
}

func TestTheTableIsWrittenIntoTheDocument(t *testing.T) {
	t.Parallel()
	o := options{systems: []string{"pitboss", "kafka"}, reps: 3, rates: []float64{500}, kill: 250}
	r := &report{o: o, Systems: o.systems, Failed: []string{"kafka, 3 of 3"}}
	open := phase{what: whole, draw: uniform, rate: 500}.String()
	for _, p99 := range []float64{9, 7, 8} {
		r.Rows = append(r.Rows, row{System: "pitboss", Phase: open, PerS: 480, P50: 2, P99: p99, Lost: 1, Others: 0.2}, row{System: "kafka", Phase: open, PerS: 300})
	}
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a written document can be overwritten
		if err := r.writeDocs(file); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"before\n" + begin, end + "after\n", "| | pitboss | kafka |", "| path at 500/s: p50, p99 ms | 2.0, 8.0 (7.0 to 9.0) | does not keep up: 300/s |",
		"| all other phases: lost, double, repeated | 3, 0, 0 | 0, 0, 0 |", "20 %", "noisy", "Failed: kafka, 3 of 3.", "| path, uniform: events/s | — | — |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") || strings.Count(text, "| | pitboss") != 1 {
		t.Errorf("the old table stayed:\n%s", text)
	}
}
