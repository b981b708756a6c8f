package console

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	lagDesc         = prometheus.NewDesc("pitboss_broker_trigger_lag", "Events in the Broker's log that a Trigger's subscriber has not taken yet.", []string{"trigger"}, nil)
	deliverDesc     = prometheus.NewDesc("pitboss_broker_trigger_delivered_total", "Events delivered to a Trigger's subscriber.", []string{"trigger"}, nil)
	retriedDesc     = prometheus.NewDesc("pitboss_broker_trigger_retried_total", "Attempts after the first.", []string{"trigger"}, nil)
	deadDesc        = prometheus.NewDesc("pitboss_broker_trigger_dead_lettered_total", "Events that became dead letters.", []string{"trigger"}, nil)
	fullDesc        = prometheus.NewDesc("pitboss_broker_full", "1 while the one-machine Broker takes no events, since its log cannot be written.", nil, nil)
	lostDesc        = prometheus.NewDesc("pitboss_broker_lost_events", "Acknowledged events that the one-machine Broker's log lost when its files were damaged.", nil, nil)
	deadLettersDesc = prometheus.NewDesc("pitboss_dead_letters", "Dead letters that wait to be replayed or discarded.", nil, nil)
	reviewsDesc     = prometheus.NewDesc("pitboss_reviews_waiting", "Decisions that wait for a person's review.", nil, nil)
	seenDesc        = prometheus.NewDesc("pitboss_console_events_total", "Events the console counted, each once.", []string{"stage"}, nil)
	switchesDesc    = prometheus.NewDesc("pitboss_switches_on", "Kill switches that are on.", []string{"what"}, nil)
	starvedDesc     = prometheus.NewDesc("pitboss_place_starved", "1 while a place's players have been decided about many times in a row and got nothing.", []string{"by", "name"}, nil)
	missingDesc     = prometheus.NewDesc("pitboss_model_missing_ratio", "Share of the last five minutes' decisions without the model's score, those about players who are too new for it apart.", []string{"model"}, nil)
	tooNewDesc      = prometheus.NewDesc("pitboss_model_too_new_ratio", "Share of the last five minutes' decisions about players who are too new for the model.", []string{"model"}, nil)
	pagesDesc       = prometheus.NewDesc("pitboss_console_pages", "Pages that are open.", nil, nil)
	timelineDesc    = prometheus.NewDesc("pitboss_console_timeline_bytes", "Memory that players' timelines take.", nil, nil)
)

// overtaken belongs to the process: several consoles in one (in tests) share it.
var overtaken = promauto.NewCounter(prometheus.CounterOpts{
	Name: "pitboss_dead_letters_overtaken_total", Help: "Dead letters that were dropped because their player was erased after the event.",
})

// collector exports what only the console knows, including the one-machine Broker's
// counters.
type collector struct{ f *Function }

func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lagDesc, deliverDesc, retriedDesc, deadDesc, fullDesc, lostDesc, deadLettersDesc, reviewsDesc, switchesDesc, starvedDesc, missingDesc, tooNewDesc, seenDesc, pagesDesc, timelineDesc} {
		to <- d
	}
}

func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	total := func(d *prometheus.Desc, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	status := c.f.broker.status()
	if status.Known {
		full := 0.0
		if status.Full != "" {
			full = 1
		}
		gauge(fullDesc, full)
		gauge(lostDesc, float64(status.lostEvents()))
	}
	for _, t := range status.Triggers {
		gauge(lagDesc, float64(t.Lag), t.Name)
		total(deliverDesc, t.Delivered, t.Name)
		total(retriedDesc, t.Retried, t.Name)
		total(deadDesc, t.DeadLettered, t.Name)
	}
	gauge(deadLettersDesc, float64(c.f.deadLetters.count()))
	gauge(reviewsDesc, float64(countAt(c.f.waiting(), anywhere)))
	c.f.health.collect(gauge, c.f.now())
	on, _ := c.f.stopped.now()
	for _, what := range []string{"jurisdiction", "action", "model", "rule"} {
		n := 0.0
		for _, s := range on {
			if s.What == what {
				n++
			}
		}
		gauge(switchesDesc, n, what)
	}
	gauge(pagesDesc, float64(c.f.hub.open()))
	_, bytes := c.f.players.kept()
	gauge(timelineDesc, float64(bytes))
	for name, n := range c.f.flow.totals() {
		total(seenDesc, n, name)
	}
}

func (h *health) collect(gauge func(d *prometheus.Desc, v float64, labels ...string), now time.Time) {
	for by, list := range h.view(now) {
		for _, p := range list {
			starved := 0.0
			if p.Starved {
				starved = 1
			}
			gauge(starvedDesc, starved, by, p.Name)
		}
	}
	for _, m := range h.scores(now) {
		gauge(missingDesc, m.Missing, m.Name)
		gauge(tooNewDesc, m.TooNew, m.Name)
	}
}

func (f *flow) totals() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int64, stages)
	for st := range stages {
		out[stageNames[st]] = f.byStage[st]
	}
	return out
}

// publish registers the console's metrics. Of several consoles in one process (in
// tests) the first is exported.
func (f *Function) publish() (withdraw func()) {
	c := collector{f}
	if prometheus.Register(c) != nil {
		return func() {}
	}
	return func() { prometheus.Unregister(c) }
}
