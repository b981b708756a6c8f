package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	what  string
	value float64
	goal  string
}

func (b *bench) row(format string, value float64, goal string, args ...any) {
	b.rows = append(b.rows, row{fmt.Sprintf(format, args...), value, goal})
}

func cores() int { return runtime.NumCPU() }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func (b *bench) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "what\tmeasured\tgoal")
	for _, r := range b.rows {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.what, number(r.value), r.goal)
	}
	if len(b.sweeps) == 0 {
		return
	}
	fmt.Fprintln(t, "\t\t")
	fmt.Fprintln(t, "players\tevents/s\tCPU an event (function + Redis), µs")
	for _, s := range b.sweeps {
		fmt.Fprintf(t, "%s\t%s\t%.1f (%.1f + %.1f)\n", number(float64(s.players)), number(s.m.rate()),
			s.m.us(s.m.function+s.m.redis), s.m.us(s.m.function), s.m.us(s.m.redis))
	}
}

// number writes 20153.4 as 20,153 and 9.87 as 9.87.
func number(x float64) string {
	if x < 1000 {
		return fmt.Sprintf("%.4g", x)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
