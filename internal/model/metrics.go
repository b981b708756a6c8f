package model

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	modelLabels = []string{"model", "version", "role"}

	modelSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_score_model_seconds", Help: "Time of one model call, seconds.",
		Buckets: []float64{2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1},
	}, modelLabels)
	explainSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_score_explain_seconds", Help: "Time to explain one score, seconds.",
		Buckets: []float64{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2},
	}, modelLabels)
	scoreValue = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_score_value", Help: "Scores given.",
		Buckets: prometheus.LinearBuckets(0.05, 0.05, 19),
	}, modelLabels)
	modelErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_score_errors_total", Help: "Events a model could not score.",
	}, modelLabels)
	modelOutside = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_score_outside_total",
		Help: "Players whom a model did not score because they are outside the domain it was trained on, by reason: history (too new for it), product, or a feature.",
	}, append(slices.Clip(modelLabels), "by"))
	shadowDifference = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_score_shadow_difference", Help: "Distance of a shadow's score from the live one's.",
		Buckets: []float64{.001, .005, .01, .02, .05, .1, .2, .3, .5, .75},
	}, []string{"model", "version"})
	shadowMean = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_score_shadow_compared_total",
		Help: "Scores of a shadow, by whether they are above or below the live model's.",
	}, []string{"model", "version", "side"})
	shadowVerdict = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_score_shadow_threshold_total",
		Help: "Events on which a shadow and the live model agree or disagree about whether a threshold of the live model is reached.",
	}, []string{"model", "version", "threshold", "verdict"})
	reloads = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_score_model_loads_total", Help: "Models loaded or refused.",
	}, []string{"model", "version", "result"})
)

// modelMetrics holds a model's series, so that they are looked up once.
type modelMetrics struct {
	seconds, explain, value prometheus.Observer
	errors                  prometheus.Counter
	outside                 *prometheus.CounterVec
}

func metricsOf(m *Manifest, role string) *modelMetrics {
	return &modelMetrics{
		seconds: modelSeconds.WithLabelValues(m.Name, m.Version, role),
		explain: explainSeconds.WithLabelValues(m.Name, m.Version, role),
		value:   scoreValue.WithLabelValues(m.Name, m.Version, role),
		errors:  modelErrors.WithLabelValues(m.Name, m.Version, role),
		outside: modelOutside.MustCurryWith(prometheus.Labels{"model": m.Name, "version": m.Version, "role": role}),
	}
}

// compareShadow records how a shadow's score differs from the live model's.
func compareShadow(live, shadow *lineupModel, liveScore, shadowScore float64) {
	name, version := shadow.Manifest.Name, shadow.Manifest.Version
	shadowDifference.WithLabelValues(name, version).Observe(max(liveScore-shadowScore, shadowScore-liveScore))
	side := "below"
	if shadowScore > liveScore {
		side = "above"
	}
	shadowMean.WithLabelValues(name, version, side).Inc()
	for threshold, at := range live.Manifest.Thresholds {
		verdict := "agree"
		switch l, s := liveScore >= at, shadowScore >= at; {
		case l && !s:
			verdict = "live-only"
		case s && !l:
			verdict = "shadow-only"
		}
		shadowVerdict.WithLabelValues(name, version, threshold, verdict).Inc()
	}
}

func resultLabel(err error) string {
	if err != nil {
		return "refused"
	}
	return "loaded"
}

// collector computes drift and the serving models when metrics are scraped.
type collector struct {
	mu         sync.Mutex
	registries map[*Registry]bool
}

var (
	psiDesc = prometheus.NewDesc("pitboss_score_feature_psi",
		"Population stability index of a feature against the model's training set (above 0.25: another population).",
		[]string{"model", "version", "feature"}, nil)
	infoDesc = prometheus.NewDesc("pitboss_score_model_info",
		"1 for each model that serves.", []string{"model", "version", "role", "sha256"}, nil)
	rejectedDesc = prometheus.NewDesc("pitboss_score_model_rejected",
		"1 for each model (or serving.yaml) whose current files are refused.", []string{"what"}, nil)

	registryCollector = func() *collector {
		c := &collector{registries: map[*Registry]bool{}}
		prometheus.MustRegister(c)
		return c
	}()
)

func (c *collector) add(r *Registry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registries[r] = true
}

func (c *collector) remove(r *Registry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.registries, r)
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- psiDesc
	ch <- infoDesc
	ch <- rejectedDesc
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := map[string]bool{} // two registries in a process may serve the same model
	once := func(key string, desc *prometheus.Desc, v float64, labels ...string) {
		if !sent[key] {
			sent[key] = true
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
		}
	}
	for r := range c.registries {
		for what := range r.Status().Rejected {
			once("rejected "+what, rejectedDesc, 1, what)
		}
		l := r.acquire()
		if l == nil {
			continue
		}
		l.each(func(m *lineupModel, shadow bool) {
			man, role := m.Manifest, "live"
			if shadow {
				role = "shadow"
			}
			once("info "+man.Key()+role, infoDesc, 1, man.Name, man.Version, role, man.SHA256)
			if m.drift != nil {
				m.drift.psi(func(feature string, psi float64) {
					once("psi "+man.Key()+" "+feature, psiDesc, psi, man.Name, man.Version, feature)
				})
			}
		})
		_ = l.release() // a scrape can't do anything about a failure to free; Reload logs it
	}
}
