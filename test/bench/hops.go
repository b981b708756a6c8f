package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"pitboss/test/system"
)

// Hop says how long after its POST an event has passed a component, and how much of that
// the component itself took. The rest is delivery by the Broker, and waiting.
type Hop struct {
	Name   string  `json:"name"`
	SinceP float64 `json:"since_post_ms"`     // mean, from the intended POST
	P99Ms  float64 `json:"since_post_p99_ms"` // as exact as the histogram's buckets
	OwnMs  float64 `json:"own_ms"`            // mean, inside the component
	OwnP99 float64 `json:"own_p99_ms"`        // as exact as the histogram's buckets
}

// Hops runs one open-loop rate and reads the hops from the functions' metrics. Means add
// up; percentiles do not.
func Hops(ctx context.Context, cfg PathConfig, rate float64, progress io.Writer) ([]Hop, error) {
	cfg.Metrics, cfg.Profile = true, ""
	p, err := openPath(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if _, err := p.measure(ctx, rate/2, int(rate)); err != nil { // warms connections, caches and pages
		return nil, err
	}
	before, err := scrape(ctx, p.system)
	if err != nil {
		return nil, err
	}
	if _, err := p.measure(ctx, rate, int(rate*cfg.Phase.Seconds())); err != nil {
		return nil, err
	}
	after, err := scrape(ctx, p.system)
	if err != nil {
		return nil, err
	}
	var out []Hop
	for _, fn := range pathFunctions {
		d := after[fn].minus(before[fn])
		out = append(out, Hop{Name: fn, SinceP: 1000 * d.mean("pitboss_since_received_seconds", fn),
			P99Ms: 1000 * d.quantile("pitboss_since_received_seconds", fn, 0.99), OwnMs: 1000 * d.mean("pitboss_function_seconds", fn),
			OwnP99: 1000 * d.quantile("pitboss_function_seconds", fn, 0.99)})
	}
	h := p.consumer.histogram()
	out = append(out, Hop{Name: "consumer", SinceP: h.Mean() / 1000, P99Ms: ms(h, 99)})
	for _, hop := range out {
		fmt.Fprintf(progress, "  %-8s %.2f ms after the POST (p99 %.1f), of them %.2f its own\n", hop.Name, hop.SinceP, hop.P99Ms, hop.OwnMs)
	}
	return out, nil
}

// samples holds the values of a Prometheus exposition by series.
type samples map[string]float64

// scrape reads every function's metrics.
func scrape(ctx context.Context, s *system.System) (map[string]samples, error) {
	out := map[string]samples{}
	for fn, host := range s.Metrics {
		body, err := system.Get(ctx, "http://"+host+"/metrics")
		if err != nil {
			return nil, err
		}
		if out[fn], err = parseSamples(body); err != nil {
			return nil, fmt.Errorf("bench: metrics of %s: %w", fn, err)
		}
	}
	return out, nil
}

func parseSamples(body []byte) (samples, error) {
	out := samples{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, " ")
		if close := strings.LastIndexByte(line, '}'); close > 0 { // labels may hold spaces
			name, value, ok = line[:close+1], strings.TrimSpace(line[close+1:]), true
		}
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		out[name] = v
	}
	return out, nil
}

func (s samples) minus(o samples) samples {
	out := samples{}
	for name, v := range s {
		out[name] = v - o[name]
	}
	return out
}

// mean returns the mean of a function's histogram.
func (s samples) mean(name, fn string) float64 {
	label := fmt.Sprintf("{function=%q}", fn)
	return s[name+"_sum"+label] / max(1, s[name+"_count"+label])
}

// quantile interpolates a quantile of a function's histogram.
func (s samples) quantile(name, fn string, q float64) float64 {
	prefix := fmt.Sprintf("%s_bucket{function=%q,le=\"", name, fn)
	bounds := map[float64]float64{}
	for series, v := range s {
		if rest, ok := strings.CutPrefix(series, prefix); ok {
			le, err := strconv.ParseFloat(strings.TrimSuffix(rest, `"}`), 64)
			if err == nil {
				bounds[le] = v
			}
		}
	}
	return interpolate(bounds, q)
}

// interpolate finds a quantile in cumulative counts by upper bound.
func interpolate(cumulative map[float64]float64, q float64) float64 {
	want := q * cumulative[math.Inf(1)]
	lower, below := 0.0, 0.0
	upper, above := math.Inf(1), cumulative[math.Inf(1)]
	for le, n := range cumulative {
		if n < want && le >= lower {
			lower, below = le, n
		}
		if n >= want && le < upper {
			upper, above = le, n
		}
	}
	if math.IsInf(upper, 1) || above == below {
		return lower
	}
	return lower + (upper-lower)*(want-below)/(above-below)
}
