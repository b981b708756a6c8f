package bench

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// Plot draws the figures into dir: bench-latency.svg, bench-cpu.svg and bench-hops.svg.
func (r *Report) Plot(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	drawings := map[string]func(*plot.Plot) (drawn bool, err error){
		"bench-latency.svg": r.plotLatency, "bench-cpu.svg": r.plotCPU, "bench-hops.svg": r.plotHops,
	}
	for name, draw := range drawings {
		p := plot.New()
		p.BackgroundColor = color.White // readable on a dark page too
		p.Legend.Top, p.Legend.Left = true, true
		p.Legend.Padding = vg.Millimeter
		p.Title.Padding = 2 * vg.Millimeter
		drawn, err := draw(p)
		if err == nil && drawn {
			err = p.Save(16*vg.Centimeter, 9*vg.Centimeter, filepath.Join(dir, name))
		}
		if err != nil {
			return fmt.Errorf("bench: %s: %w", name, err)
		}
	}
	return nil
}

// plotLatency draws the slowest hundredth's latency against load.
func (r *Report) plotLatency(p *plot.Plot) (bool, error) {
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "POST to recommendation, p99", "offered events/s", "ms"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	var lines []any
	for _, run := range []string{RunEvery, RunMix} {
		for _, delivery := range []string{OverHTTP, InProcess} {
			var line plotter.XYs
			for _, pt := range r.Path {
				if pt.Run == run && pt.Delivery == delivery && pt.Rate > 0 && pt.P99Ms > 0 {
					line = append(line, plotter.XY{X: pt.Rate, Y: pt.P99Ms})
				}
			}
			if len(line) > 0 {
				lines = append(lines, run+", "+delivery, line)
			}
		}
	}
	if lines == nil {
		return false, nil
	}
	err := plotutil.AddLinePoints(p, lines...)
	p.X.Min = 0
	p.X.Max *= 1.03
	p.Y.Min, p.Y.Max = 1, math.Pow(10, math.Ceil(math.Log10(p.Y.Max)+0.6)) // whole decades have labels; the rest is room for the legend
	return true, err
}

// inLines breaks the name of a run, so that it fits below a bar.
var inLines = strings.NewReplacer(" decided", "\ndecided", ", ", ",\n")

// plotCPU draws CPU by component, one bar for each run.
func (r *Report) plotCPU(p *plot.Plot) (bool, error) {
	p.Title.Text, p.Y.Label.Text = "CPU by component, as fast as it goes", "µs an event"
	var runs []Point
	for _, pt := range r.Path {
		if pt.Rate == 0 {
			runs = append(runs, pt)
		}
	}
	if len(runs) == 0 {
		return false, nil
	}
	var names []string
	for _, pt := range runs {
		names = append(names, inLines.Replace(pt.Run)+"\n"+pt.Delivery)
	}
	var bars []stackedBar
	for _, c := range components {
		b := stackedBar{name: c}
		for _, pt := range runs {
			b.values = append(b.values, pt.CPUByPart[c])
		}
		bars = append(bars, b)
	}
	err := stack(p, names, bars)
	p.Legend.Left = false // the bars on the left are the highest
	return true, err
}

// plotHops draws how the mean latency of an event splits into hops.
func (r *Report) plotHops(p *plot.Plot) (bool, error) {
	p.Title.Text, p.Y.Label.Text = fmt.Sprintf("Where the time goes, at %.0f events/s", r.HopRate), "ms, mean"
	if len(r.Hops) == 0 {
		return false, nil
	}
	between, own := stackedBar{name: "delivery and waiting"}, stackedBar{name: "the component itself"}
	var names []string
	before := 0.0
	for _, h := range r.Hops {
		names = append(names, h.Name)
		between.values, own.values = append(between.values, max(0, h.SinceP-before-h.OwnMs)), append(own.values, h.OwnMs)
		before = h.SinceP
	}
	return true, stack(p, names, []stackedBar{between, own})
}

// stackedBar is one colour of a bar chart.
type stackedBar struct {
	name   string
	values plotter.Values
}

// stack draws stacked bars, one stack for each name.
func stack(p *plot.Plot, names []string, bars []stackedBar) error {
	p.NominalX(names...)
	var below *plotter.BarChart
	for i, b := range bars {
		c, err := plotter.NewBarChart(b.values, 1.5*vg.Centimeter)
		if err != nil {
			return err
		}
		c.Color, c.LineStyle.Width = plotutil.Color(i), 0
		if below != nil {
			c.StackOn(below)
		}
		below = c
		p.Add(c)
		p.Legend.Add(b.name, c)
	}
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4 // leaves half a bar's width on both sides
	p.Y.Max *= 1.3                                   // room for the legend
	return nil
}
