package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pitboss/functions"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/setup"
	"pitboss/test/kustomize"
	"pitboss/test/redistest"
)

// busy are the processes that handle the drill's events. Each is killed o.times times, the
// others once.
var busy = []string{"ingest", "profile", "score", "decide", "timer", "console", "redis", "rabbitmq", "pitboss-broker-ingress",
	"pitboss-profile-dispatcher", "pitboss-score-dispatcher", "pitboss-decide-dispatcher", "pitboss-console-dispatcher"}

// cluster is Pitboss on Knative's RabbitMQ Broker, as processes that are
// started again when they end.
type cluster struct {
	dir      string
	models   string
	redis    *redistest.Server
	rabbit   *rabbit
	pods     map[string]*pod
	urls     map[string]string // of functions
	consumer *consumer
}

// consumer is a consuming team that remembers the decisions it received.
type consumer struct {
	server *httptest.Server
	mu     sync.Mutex
	seen   map[string]bool
}

func newConsumer() *consumer {
	c := &consumer{seen: map[string]bool{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var data event.Recommendation
		if err := json.NewDecoder(r.Body).Decode(&data); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[data.Decision] = true
	}))
	return c
}

// durable kills every process of Pitboss on a durable Broker under load, and then checks
// every event and every decision that was due.
func durable(ctx context.Context, o options) (table, error) {
	dir, err := os.MkdirTemp("", "drill-")
	if err != nil {
		return table{}, err
	}
	c := &cluster{dir: dir, models: filepath.Join(o.root, "models"), pods: map[string]*pod{}, urls: map[string]string{}, consumer: newConsumer()}
	defer c.stop()
	t, err := c.drill(ctx, o)
	if err != nil {
		return table{}, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	if t.passed {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "logs in", dir)
	}
	return t, nil
}

func (c *cluster) drill(ctx context.Context, o options) (table, error) {
	if err := c.start(ctx, o); err != nil {
		return table{}, err
	}
	run := strconv.FormatInt(time.Now().Unix(), 36)
	l, idle := newLoad(c.urls["ingest"], run, o.players), newIdle(c.urls["ingest"], run)
	if err := errors.Join(l.register(ctx), idle.register(ctx)); err != nil {
		return table{}, err
	}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 2)
	var sent int
	go func() {
		var err error
		sent, err = l.play(playing, o.rate)
		played <- err
	}()
	go func() { played <- idle.fail(ctx, 1500*time.Millisecond) }()
	kills, err := c.killAll(ctx, o.times)
	stop()
	err = errors.Join(err, <-played, <-played)
	if err == nil {
		err = c.settle(ctx, idle)
	}
	if err != nil {
		return table{}, err
	}
	t, err := c.count(ctx, l, idle, sent, kills)
	if err != nil {
		return table{}, err
	}
	kept, err := c.outlive(ctx, l)
	t.note("dead_letters_kept", float64(kept))
	t.passed = t.passed && kept == 1
	return t, err
}

func (c *cluster) start(ctx context.Context, o options) (err error) {
	if err := os.MkdirAll(filepath.Join(c.dir, "redis"), 0o755); err != nil {
		return err
	}
	// With everysec a killed redis-server may lose writes that it acknowledged while an
	// fsync was pending.
	if c.redis, err = redistest.Run(filepath.Join(c.dir, "redis"), "--appendonly", "yes", "--appendfsync", "always"); err != nil {
		return err
	}
	if c.rabbit, err = startRabbit(ctx, filepath.Join(c.dir, "rabbitmq")); err != nil {
		return err
	}
	ingress := map[string]string{"pitboss": "", "pitboss-dead-letters": ""}
	for broker := range ingress {
		if ingress[broker], err = freeAddr(); err != nil {
			return err
		}
	}
	p := launcher{o: o, dir: c.dir, redis: c.redis.URL(), env: []string{"K_SINK=http://" + ingress["pitboss"], "LOG_LEVEL=warn"}}
	for _, f := range functions.Names() {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		c.urls[f] = "http://" + addr
		if err := c.pod(f, o.function, p.environment(f, addr, c.models)); err != nil {
			return err
		}
	}
	t, err := c.plan(ctx, o, ingress)
	if err != nil {
		return err
	}
	if err := c.rabbit.declare(ctx, t); err != nil {
		return err
	}
	for _, proc := range t.Processes {
		_, port, _ := strings.Cut(ingress[proc.Broker], ":")
		env := []string{"PORT=" + port, quietLog}
		for k, v := range proc.Env {
			env = append(env, k+"="+v)
		}
		if err := c.pod(proc.Name, filepath.Join(o.rabbit, proc.Binary), env); err != nil {
			return err
		}
	}
	for _, f := range functions.Names() {
		if err := until(ctx, 30*time.Second, 20*time.Millisecond, func() error { return answers(ctx, c.urls[f]+"/health/readiness") }); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// quietLog is a config-logging with which dispatchers do not log every reply.
const quietLog = `K_LOGGING_CONFIG={"zap-logger-config":` +
	`"{\"level\":\"error\",\"encoding\":\"json\",\"outputPaths\":[\"stderr\"],\"errorOutputPaths\":[\"stderr\"]}"}`

func (c *cluster) pod(name, bin string, env []string) error {
	p := &pod{name: name, bin: bin, env: env, dir: c.dir}
	c.pods[name] = p
	return p.run()
}

// plan has test/durable print what the Broker's controller would create for the overlay
// and for a consuming team's Triggers. ingress is the address of each Broker's.
func (c *cluster) plan(ctx context.Context, o options, ingress map[string]string) (*topology, error) {
	text, err := kustomize.Render(filepath.Join(o.root, "broker", "rabbitmq"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"issued", "suppressed"} {
		more, err := os.ReadFile(filepath.Join(o.root, "broker", "local", "triggers", name+".yaml"))
		if err != nil {
			return nil, err
		}
		text = append(append(text, "\n---\n"...), more...)
	}
	args := []string{"-amqp", "amqp://guest:guest@" + c.rabbit.amqp, "-service", "pitboss-local-consumer=" + c.consumer.server.URL}
	for broker, addr := range ingress {
		args = append(args, "-ingress", broker+"=http://"+addr)
	}
	for f, url := range c.urls {
		args = append(args, "-service", "pitboss-"+f+"="+url)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.rabbit, "durable"), args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	t := &topology{}
	return t, json.Unmarshal(out, t)
}

// killAll kills everything, in random order and at random moments.
func (c *cluster) killAll(ctx context.Context, times int) (kills int, err error) {
	var order []string
	for name := range c.pods {
		order = append(order, name)
	}
	order = append(order, "redis", "rabbitmq")
	for range times - 1 {
		order = append(order, busy...)
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, name := range order {
		select {
		case <-ctx.Done():
			return kills, ctx.Err()
		case <-time.After(500*time.Millisecond + rand.N(time.Second)):
		}
		if err := c.kill(ctx, name); err != nil {
			return kills, fmt.Errorf("kill %s: %w", name, err)
		}
		kills++
		fmt.Fprintf(os.Stderr, "\r%d of %d killed: %-40s", kills, len(order), name)
	}
	fmt.Fprintln(os.Stderr)
	return kills, nil
}

func (c *cluster) kill(ctx context.Context, name string) error {
	switch name {
	case "redis":
		c.redis.Kill()
		time.Sleep(200 * time.Millisecond)
		return c.redis.Restart()
	case "rabbitmq":
		if err := c.rabbit.node.kill(); err != nil {
			return err
		}
		return c.rabbit.ready(ctx)
	}
	return c.pods[name].kill()
}

// settle waits, at most a minute, until the last reminders have led to decisions and all
// queues are empty. A timer that was killed has leased its reminders for 10 s.
func (c *cluster) settle(ctx context.Context, idle *load) error {
	_ = until(ctx, time.Minute, time.Second, func() error {
		made, _, err := c.decisions(ctx)
		for n := range idle.players {
			if made[idle.reminded(n)] == 0 {
				return errors.New("a reminder has not led to a decision yet")
			}
		}
		return err
	})
	return c.quiet(ctx, "")
}

// quiet waits until no queue whose name contains name holds a message, three times in a
// row, since RabbitMQ counts once a second.
func (c *cluster) quiet(ctx context.Context, name string) error {
	empty := 0
	return until(ctx, 5*time.Minute, 1500*time.Millisecond, func() error {
		all, dead, err := c.rabbit.waiting(ctx, name)
		if err != nil || all > 0 {
			empty = 0
			return errors.Join(err, fmt.Errorf("%d messages in RabbitMQ's queues, %d of them dead letters", all, dead))
		}
		if empty++; empty < 3 {
			return errors.New("the queues are empty, but only just")
		}
		return nil
	})
}

// count compares what was acknowledged with the players' states, the journal and what the
// consuming team received.
func (c *cluster) count(ctx context.Context, l, idle *load, sent, kills int) (table, error) {
	var lost, double, acknowledged int64
	for _, l := range []*load{l, idle} {
		less, _, _, err := l.differences(ctx, c.models, c.redis.URL())
		if err != nil {
			return table{}, err
		}
		lost += less
	}
	due, err := l.due(ctx, c.urls["profile"], sent)
	if err != nil {
		return table{}, err
	}
	for _, l := range []*load{l, idle} { // again, since redelivered events must not count
		_, more, _, err := l.differences(ctx, c.models, c.redis.URL())
		if err != nil {
			return table{}, err
		}
		double += more
		for i := range l.acknowledged {
			acknowledged += l.acknowledged[i].Load()
		}
	}
	for n := range idle.players {
		due = append(due, idle.reminded(n))
	}
	made, broken, err := c.decisions(ctx)
	if err != nil {
		return table{}, err
	}
	var undecided, undelivered, twice int
	for _, id := range due {
		if made[id] == 0 {
			undecided++
			tell(undecided, "undecided: %s", id)
		}
	}
	c.consumer.mu.Lock()
	for id, n := range made {
		twice += n - 1
		if !c.consumer.seen[id] {
			undelivered++
			tell(undelivered, "undelivered: %s", id)
		}
	}
	c.consumer.mu.Unlock()
	restarts := 0
	for _, p := range c.pods {
		restarts += p.starts - 1
	}
	var t table
	t.add("acknowledged", float64(acknowledged))
	t.add("applied", float64(acknowledged-lost+double))
	t.add("lost", float64(lost))
	t.add("double", float64(int(double)+twice))
	t.add("undecided", float64(undecided))
	t.add("kills", float64(kills))
	t.note("decisions", float64(len(made)))
	t.note("undelivered", float64(undelivered))
	t.note("journal_broken", float64(broken))
	t.note("repeated_posts", float64(l.failed.Load()))
	t.note("restarts", float64(restarts))
	t.passed = lost == 0 && double == 0 && undecided == 0 && undelivered == 0 && twice == 0 && broken == 0 && len(due) > idle.players
	return t, nil
}

// tell prints the first few items of a list.
func tell(n int, format string, args ...any) {
	if n <= 10 {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// due sends every event to profile again, as a Broker may, and returns the decisions that
// are due: a redelivered event changes nothing and is answered as before.
func (l *load) due(ctx context.Context, profile string, sent int) ([]string, error) {
	var mu sync.Mutex
	var due []string
	var next atomic.Int64
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() {
			for n := int(next.Add(1)) - 1; n < sent; n = int(next.Add(1)) - 1 {
				e, err := l.nth(n)
				if err != nil {
					errs <- err
					return
				}
				answer, err := once(ctx, profile, e)
				if err != nil {
					errs <- fmt.Errorf("redelivered to profile: %w", err)
					return
				}
				if answer != nil {
					mu.Lock()
					due = append(due, decisionOf(e.Source(), e.ID(), e.Subject()))
					mu.Unlock()
				}
			}
			errs <- nil
		}()
	}
	var err error
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return due, err
}

// decisionOf returns the decision's id that an event leads to through profile, score and
// decide, since the id of a reply derives from the id of its input.
func decisionOf(source, id, player string) string {
	updated := event.ReplyID(source, id, event.TypePlayerUpdated)
	scored := event.ReplyID(event.SourceOf("profile"), updated, event.TypePlayerScored)
	return journal.DecisionID(player, event.ReplyID(event.SourceOf("score"), scored, event.TypeRecommendation))
}

// decisions returns how often each decision is in the journal, and how many entries break
// its hash chain.
func (c *cluster) decisions(ctx context.Context) (made map[string]int, broken int, err error) {
	rdb, err := setup.Redis(ctx, c.redis.URL())
	if err != nil {
		return nil, 0, err
	}
	defer rdb.Close()
	j := journal.New(rdb, 16)
	shards, err := j.Shards(ctx)
	if err != nil {
		return nil, 0, err
	}
	made = map[string]int{}
	for _, shard := range shards {
		err := j.Each(ctx, shard, 0, true, func(e *journal.Entry) error {
			if e.Kind != journal.KindDecision {
				return nil
			}
			var open struct {
				Decision string `json:"decision"`
			}
			if err := json.Unmarshal(e.Open, &open); err != nil {
				return err
			}
			made[open.Decision]++
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	v, err := j.Verify(ctx, journal.Segments{})
	if err != nil {
		return nil, 0, err
	}
	for _, f := range v.Findings {
		fmt.Fprintln(os.Stderr, "journal:", f)
	}
	return made, len(v.Findings), nil
}

func (c *cluster) stop() {
	for _, p := range c.pods {
		p.stop()
	}
	if c.rabbit != nil {
		c.rabbit.stop()
	}
	if c.redis != nil {
		c.redis.Kill()
	}
	c.consumer.server.Close()
}

const (
	idlers       = 30
	idleReminder = "idle_after_fail" // features.yaml: nothing for 90 s after a game that failed to load
	idleAfter    = 90 * time.Second
)

// newIdle makes a load of players whose game fails to load and who then do nothing. Their
// events happened 80 s ago, so their reminders are due 10 s later, while processes are
// being killed.
func newIdle(url, run string) *load {
	l := newLoad(url, run+"-idle", idlers)
	l.age = 80 * time.Second
	return l
}

// fail sends, for one player after another, that a game failed to load.
func (l *load) fail(ctx context.Context, every time.Duration) error {
	l.failedAt = make([]time.Time, l.players)
	for n := range l.players {
		e, err := l.event(n, fmt.Sprintf("%s-failed-%d", l.run, n), event.TypeGameFailed, map[string]any{"game": "roulette", "error": "timeout"})
		if err != nil {
			return err
		}
		l.failedAt[n] = e.Time().Truncate(time.Second)
		e.SetTime(l.failedAt[n])
		if err := l.post(ctx, n, e); err != nil {
			return err
		}
		l.acknowledged[n].Add(1) // counts reminder.due, which timer sends once
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
	return nil
}

// reminded returns the id of the decision that an idle player's reminder leads to.
func (l *load) reminded(n int) string {
	at := l.failedAt[n].Add(idleAfter).UTC().Format(time.RFC3339)
	return decisionOf(event.SourceOf("timer"), event.ReplyID(l.player(n), idleReminder, at), l.player(n))
}
