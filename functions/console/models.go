package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"pitboss/internal/access"
	"pitboss/internal/journal"
	"pitboss/internal/model"
)

// modelView is one version of a model.
type modelView struct {
	Name       string             `json:"name"`
	Version    string             `json:"version"`
	Role       string             `json:"role"` // live | shadow | "" (not served)
	Previous   bool               `json:"previous,omitzero"`
	Kind       string             `json:"kind"`
	Output     string             `json:"output"`
	SHA256     string             `json:"sha256"`
	Features   []string           `json:"features"`
	Trained    model.Trained      `json:"trained"`
	Metrics    map[string]any     `json:"metrics"`
	Thresholds map[string]float64 `json:"thresholds"`
	Domain     *model.Domain      `json:"domain,omitempty"` // the players it covers; nil: all
	Problem    string             `json:"problem,omitzero"`
	Serving    *servingView       `json:"serving"` // what score measured, if score runs in this process
	// Calibrated says how its scores are calibrated online and how far off they are;
	// nil: no outcome is known.
	Calibrated *journal.Calibration `json:"calibrated,omitempty"`
}

// servingView is what score's metrics say about a version.
type servingView struct {
	Calls   uint64     `json:"calls"`
	Errors  float64    `json:"errors"`
	P50us   float64    `json:"p50_us"`
	P99us   float64    `json:"p99_us"`
	Scores  []bucket   `json:"scores"` // histogram of the scores given
	Drift   []psi      `json:"drift"`  // worst first
	Compare *compareTo `json:"compare,omitempty"`
}

type bucket struct {
	Le float64 `json:"le"`
	N  uint64  `json:"n"`
}

type psi struct {
	Feature string  `json:"feature"`
	PSI     float64 `json:"psi"`
}

// compareTo says how a shadow differs from the live model.
type compareTo struct {
	N     uint64  `json:"n"`
	Mean  float64 `json:"mean"`  // the mean distance of the scores
	Agree float64 `json:"agree"` // events where both are on the same side of the threshold
	Other float64 `json:"other"` // events where they are not
}

func (f *Function) servingFile() string {
	if f.cfg.ServingFile != "" {
		return f.cfg.ServingFile
	}
	return filepath.Join(f.cfg.ModelsDir, "serving.yaml")
}

func (f *Function) listModels(w http.ResponseWriter, r *http.Request) (any, error) {
	serving, err := model.ReadServing(f.servingFile())
	if err != nil {
		return nil, err
	}
	metrics, note := scoreMetrics()
	f.experiments.expire(f.now())
	calibrated := f.calibrations(r.Context())
	models := []modelView{}
	for name, line := range serving {
		dirs, _ := filepath.Glob(filepath.Join(f.cfg.ModelsDir, name, "*", "model.yaml"))
		for _, file := range dirs {
			m := readModel(filepath.Dir(file))
			switch {
			case m.Version == line.Live:
				m.Role = "live"
			case slices.Contains(line.Shadow, m.Version):
				m.Role = "shadow"
			}
			m.Previous = m.Version == line.Previous
			m.Serving = metrics.of(m.Name, m.Version)
			if c, ok := calibrated[m.SHA256]; ok {
				m.Calibrated = &c
			}
			models = append(models, m)
		}
	}
	rank := map[string]int{"live": 0, "shadow": 1, "": 2}
	slices.SortFunc(models, func(a, b modelView) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(rank[a.Role], rank[b.Role]), strings.Compare(b.Version, a.Version))
	})
	return map[string]any{"models": models, "note": note, "writable": writable(f.servingFile()), "calibration": f.experiments.calibrated()}, nil
}

// calibrations returns the calibration of each model by its SHA-256. It is empty if
// Redis cannot be read.
func (f *Function) calibrations(ctx context.Context) map[string]journal.Calibration {
	if f.store.journal == nil {
		return nil
	}
	all, err := f.store.journal.Calibrations(ctx)
	if err != nil {
		f.Log.Warn("calibrations are not shown", zap.Error(err))
	}
	return all
}

func readModel(dir string) modelView {
	v := modelView{Name: filepath.Base(filepath.Dir(dir)), Version: filepath.Base(dir)}
	m, err := model.ReadManifest(dir, nil)
	if err != nil {
		v.Problem = err.Error()
		return v
	}
	v.Kind, v.Output, v.SHA256, v.Features = m.Kind, m.Output, m.SHA256, m.Features
	v.Trained, v.Metrics, v.Thresholds, v.Domain = m.Trained, m.Metrics, m.Thresholds, m.Domain
	return v
}

func writable(file string) bool {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// promoting is the body of a request to promote a version, or to roll back.
type promoting struct {
	Version string `json:"version"` // not for a rollback
	Note    string `json:"note"`
}

// promote proposes to make a version live, or to roll back to the one before. score
// watches serving.yaml, so a change of its line acts within seconds, without a deploy.
func (f *Function) promote(w http.ResponseWriter, r *http.Request, in promoting) (any, error) {
	name, back := r.PathValue("name"), filepath.Base(r.URL.Path) == "rollback"
	next, err := f.nextLine(name, in.Version, back)
	if err != nil {
		return nil, err
	}
	what := journal.ProposePromote
	if back {
		what = journal.ProposeRollback
	}
	was, err := f.liveVersion(name)
	if err != nil {
		return nil, err
	}
	return f.propose(w, r, what, name+"/"+next.Live, in.Note, promotion{Was: was})
}

// promotion is the body of a proposal to promote.
type promotion struct {
	Was string `json:"was"` // the version that was live when this was proposed
}

func (f *Function) liveVersion(name string) (version string, err error) {
	serving, err := model.ReadServing(f.servingFile())
	return serving[name].Live, err
}

// makeLive makes the version that a proposal names live, if the version that it is to
// replace still is. It checks the named version again.
func (f *Function) makeLive(ctx context.Context, by *access.Person, p journal.Proposal, approved string) error {
	name, version, _ := strings.Cut(p.Subject, "/")
	live, err := f.liveVersion(name)
	if err != nil || live == version {
		return err
	}
	var change promotion
	if len(p.Body) > 0 && json.Unmarshal(p.Body, &change) == nil && change.Was != "" && change.Was != live {
		return fmt.Errorf("%w: %s/%s is live since this was proposed: propose it again", errConflict, name, live)
	}
	next, err := f.nextLine(name, version, false)
	if err != nil {
		return err
	}
	if err := f.journalFor(ctx, by, p.What, p.Subject, noteOf(p, approved)); err != nil {
		return err
	}
	return f.writeLine(name, next)
}

func (f *Function) nextLine(name, version string, back bool) (model.Line, error) {
	serving, err := model.ReadServing(f.servingFile())
	if err != nil {
		return model.Line{}, err
	}
	line, ok := serving[name]
	if !ok {
		return model.Line{}, errNotFound
	}
	if back {
		version = line.Previous
	}
	switch {
	case version == "":
		return model.Line{}, fmt.Errorf("%w: there is no version to go back to", errConflict)
	case version == line.Live:
		return model.Line{}, fmt.Errorf("%w: %s/%s is live already", errConflict, name, version)
	}
	if _, err := model.ReadManifest(filepath.Join(f.cfg.ModelsDir, name, filepath.Base(version)), nil); err != nil {
		return model.Line{}, fmt.Errorf("%w: %w", errConflict, err)
	}
	return line.Promote(version), nil
}

func (f *Function) writeLine(name string, line model.Line) error {
	path := f.servingFile()
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	text, err := model.SetLine(path, old, name, line)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := errors.Join(os.WriteFile(tmp, text, 0o644), os.Rename(tmp, path)); err != nil {
		return fmt.Errorf("%w: serving.yaml cannot be written here (on a cluster it is a ConfigMap: edit that, and score follows): %w", errConflict, err)
	}
	return nil
}

// measured holds score's metrics by name.
type measured map[string]*dto.MetricFamily

// scoreMetrics reads score's metrics if it runs in this process, and otherwise says
// why not. On a cluster they are in Prometheus: docs/observability.md.
func scoreMetrics() (measured, string) {
	families, err := prometheus.DefaultGatherer.Gather()
	out := measured{}
	for _, fam := range families {
		out[fam.GetName()] = fam
	}
	if err != nil || out["pitboss_score_model_seconds"] == nil {
		return out, "score runs in another process: its latency, drift and comparisons are on the Grafana dashboard"
	}
	return out, ""
}

func (m measured) each(name, model, version string, visit func(labels map[string]string, metric *dto.Metric)) {
	for _, metric := range m[name].GetMetric() {
		labels := map[string]string{}
		for _, l := range metric.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["model"] == model && labels["version"] == version {
			visit(labels, metric)
		}
	}
}

func (m measured) of(model, version string) *servingView {
	v := &servingView{Scores: []bucket{}, Drift: []psi{}}
	m.each("pitboss_score_model_seconds", model, version, func(_ map[string]string, x *dto.Metric) {
		h := x.GetHistogram()
		v.Calls += h.GetSampleCount()
		v.P50us, v.P99us = quantile(h, .5)*1e6, quantile(h, .99)*1e6
	})
	m.each("pitboss_score_errors_total", model, version, func(_ map[string]string, x *dto.Metric) { v.Errors += x.GetCounter().GetValue() })
	m.each("pitboss_score_value", model, version, func(_ map[string]string, x *dto.Metric) {
		if h := x.GetHistogram(); h.GetSampleCount() > 0 {
			v.Scores = bucketsOf(h)
		}
	})
	m.each("pitboss_score_feature_psi", model, version, func(l map[string]string, x *dto.Metric) {
		v.Drift = append(v.Drift, psi{l["feature"], x.GetGauge().GetValue()})
	})
	sort.Slice(v.Drift, func(a, b int) bool { return v.Drift[a].PSI > v.Drift[b].PSI })
	v.Compare = m.compare(model, version)
	if v.Calls == 0 && len(v.Drift) == 0 {
		return nil
	}
	return v
}

func (m measured) compare(model, version string) *compareTo {
	var c *compareTo
	m.each("pitboss_score_shadow_difference", model, version, func(_ map[string]string, x *dto.Metric) {
		h := x.GetHistogram()
		c = &compareTo{N: h.GetSampleCount()}
		if c.N > 0 {
			c.Mean = h.GetSampleSum() / float64(c.N)
		}
	})
	if c == nil {
		return nil
	}
	m.each("pitboss_score_shadow_threshold_total", model, version, func(l map[string]string, x *dto.Metric) {
		if l["verdict"] == "agree" {
			c.Agree += x.GetCounter().GetValue()
		} else {
			c.Other += x.GetCounter().GetValue()
		}
	})
	return c
}

// bucketsOf turns a histogram's cumulative counts into counts by bucket.
func bucketsOf(h *dto.Histogram) []bucket {
	out := make([]bucket, 0, len(h.GetBucket())+1)
	var before uint64
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() <= 1 {
			out = append(out, bucket{b.GetUpperBound(), b.GetCumulativeCount() - before})
			before = b.GetCumulativeCount()
		}
	}
	return append(out, bucket{1, h.GetSampleCount() - before})
}

// quantile interpolates within a bucket, as Prometheus does.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := q * float64(h.GetSampleCount())
	var low, before float64
	for _, b := range h.GetBucket() {
		n := float64(b.GetCumulativeCount())
		if n >= rank && n > before {
			return low + (b.GetUpperBound()-low)*(rank-before)/(n-before)
		}
		low, before = b.GetUpperBound(), n
	}
	return low
}
