package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
)

// Every query of every dashboard, every alert and every metric of the
// documentation finds data in a real Prometheus that scrapes all functions,
// each a process of its own, and runs our rules.
func TestDashboardsAndAlertsHaveData(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus here: make test installs it (scripts/deps.sh prometheus)")
	}
	d := deploy(t, "SCORE_WHEN=always")
	p := d.prometheus(program)
	defer d.traffic()()
	panels := dashboards(t)
	if len(panels) < 15 {
		t.Fatalf("%d panels", len(panels))
	}
	for _, q := range panels {
		d.await(q.title+" has data: "+q.expr, func() bool { return len(p.query(t, q.expr)) > 0 })
	}
	p.checkRules(t)
	p.checkDocs(t)
	p.checkExemplars(t, d.spans)
}

// traffic is events of all kinds and fates: of simulated players, one refused at
// the door, one behind it, a reminder, an outage of Redis, a model that is
// refused. Play goes on until end is called, since a rate needs more than one
// scrape, however slow the machine is.
func (d *deployment) traffic() (end func()) {
	d.t.Helper()
	s := &system{t: d.t, url: d.urls["ingest"]}
	events := worldEvents(30000) // score tells of drift after 5,000
	s.send(events[:1000])
	bad := aFailedPayment("mallory")
	_ = bad.SetData(ce.ApplicationJSON, []byte(`{}`))
	d.post(d.broker, bad)
	reminded := aFailedPayment("erin")
	reminded.SetType(event.TypeGameFailed)
	reminded.SetTime(time.Now().Add(-2 * time.Minute))
	_ = reminded.SetData(ce.ApplicationJSON, []byte(`{"game":"starburst","error":"timeout"}`))
	d.post(d.broker, reminded)
	d.redis.Kill()
	during := make(chan struct{})
	go func() { defer close(during); s.send(events[1000:1200]) }()
	time.Sleep(time.Second) // the outage: long enough for retries to be under way
	if err := d.redis.Restart(); err != nil {
		d.t.Fatal(err)
	}
	<-during
	serving, err := os.ReadFile(d.serving)
	if err == nil {
		err = os.WriteFile(d.serving, append(serving, "broken: {live: v9}\n"...), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for e := range slices.Chunk(events[1200:], 40) {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				s.send(e)
			}
		}
	}()
	return func() { close(stop); <-over }
}

// prom is a running Prometheus.
type prom struct{ url string }

func (d *deployment) prometheus(program string) *prom {
	d.t.Helper()
	folder := filepath.Join(d.dir, "prometheus")
	rules, err := os.ReadFile("../../docs/observability/rules.yml")
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "rules.yml"), rules, 0o600)
	}
	conf := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n" +
		"  - job_name: pitboss\n    static_configs:\n"
	for name, addr := range d.metrics {
		conf += fmt.Sprintf("      - {targets: [%q], labels: {service: pitboss-%s}}\n", addr, name)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(conf), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	addr := freeAddr(d.t)
	d.run("prometheus", exec.Command(program, "--config.file="+filepath.Join(folder, "prometheus.yml"), "--web.listen-address="+addr,
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--enable-feature=exemplar-storage", "--log.level=warn"), syscall.SIGKILL)
	p := &prom{"http://" + addr}
	d.await("prometheus is ready", func() bool { return answers(p.url + "/-/ready") })
	return p
}

// get asks the API and decodes data into v.
func (p *prom) get(t *testing.T, path string, args url.Values, v any) {
	t.Helper()
	res, err := http.Get(p.url + path + "?" + args.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	answer := struct {
		Status string
		Error  string
		Data   any
	}{Data: v}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s %v: %s %s %v", path, args, answer.Status, answer.Error, err)
	}
}

type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query returns the samples that are numbers. Rates are of ten minutes: on a
// slow machine the traffic is over for a while when the last panel is asked for.
func (p *prom) query(t *testing.T, expr string) []sample {
	t.Helper()
	var data struct{ Result []sample }
	p.get(t, "/api/v1/query", url.Values{"query": {strings.ReplaceAll(expr, "$__rate_interval", "10m")}}, &data)
	return slices.DeleteFunc(data.Result, func(s sample) bool {
		v, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		return err != nil || math.IsNaN(v)
	})
}

type panel struct{ title, expr string }

func dashboards(t *testing.T) (out []panel) {
	t.Helper()
	files, _ := filepath.Glob("../../docs/observability/dashboards/*.json")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(raw, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				out = append(out, panel{filepath.Base(file) + ": " + p.Title, target.Expr})
			}
		}
	}
	return out
}

// selector finds the series that an expression selects.
var selector = regexp.MustCompile(`\b(?:pitboss[a-z0-9_:]*|up)\b(?:\{[^}]*\})?`)

// checkRules holds that Prometheus takes the rules, that what they record is
// there, and that each series an alert looks at exists with the labels it
// looks for, so that it can fire.
func (p *prom) checkRules(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Query, Health, LastError, Type string }
		}
	}
	p.get(t, "/api/v1/rules", nil, &data)
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if n++; r.Health != "ok" {
				t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.Type == "recording" && len(p.query(t, r.Name)) == 0 {
				t.Errorf("%s records nothing", r.Name)
			}
			found := selector.FindAllString(r.Query, -1)
			if len(found) == 0 {
				t.Errorf("%s: no series in %s", r.Name, r.Query)
			}
			for _, s := range found {
				if len(p.query(t, s)) == 0 {
					t.Errorf("%s looks at %s, which nobody tells", r.Name, s)
				}
			}
		}
	}
	if n < 13 {
		t.Errorf("%d rules", n)
	}
}

// documented is a metric as docs/observability.md names it.
var documented = regexp.MustCompile("`(pitboss_[a-z_]+)(?:\\{([a-z0-9,]+)\\})?`")

// checkDocs holds the documentation's table against what there is, both ways.
func (p *prom) checkDocs(t *testing.T) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range documented.FindAllStringSubmatch(string(raw), -1) {
		name := m[1]
		told[name] = true
		var series []map[string]string
		p.get(t, "/api/v1/series", url.Values{"match[]": {fmt.Sprintf(`{__name__=~"%s|%s_count"}`, name, name)}}, &series)
		if len(series) == 0 {
			t.Errorf("docs/observability.md names %s, which nobody tells", name)
		}
		for _, label := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }) {
			if !slices.ContainsFunc(series, func(s map[string]string) bool { return s[label] != "" }) {
				t.Errorf("docs/observability.md: %s has no label %s", name, label)
			}
		}
	}
	var names []string
	p.get(t, "/api/v1/label/__name__/values", nil, &names)
	for _, name := range names {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if strings.HasPrefix(name, "pitboss_") && !told[name] {
			t.Errorf("docs/observability.md does not tell of %s", name)
		}
	}
}

// checkExemplars holds that a bucket of a latency leads to a trace that the
// collector has.
func (p *prom) checkExemplars(t *testing.T, spans *spanStore) {
	t.Helper()
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	p.get(t, "/api/v1/query_exemplars", url.Values{"query": {`pitboss_since_received_seconds_bucket{function="decide"}`},
		"start": {fmt.Sprint(time.Now().Add(-5 * time.Minute).Unix())}, "end": {fmt.Sprint(time.Now().Unix() + 1)}}, &data)
	n := 0
	for _, series := range data {
		for _, x := range series.Exemplars {
			if n++; len(spans.of(x.Labels["trace_id"])) == 0 {
				t.Errorf("an exemplar leads to trace %q, which has no span", x.Labels["trace_id"])
			}
		}
	}
	if n == 0 {
		t.Error("no exemplars")
	}
}
