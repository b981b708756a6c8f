package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pitboss/broker"
	"pitboss/internal/event"
	"pitboss/test/kustomize"
	"pitboss/test/redistest"
	"pitboss/test/scenario"
)

// path is all of Pitboss as a scenario: the in-memory overlay as it is deployed, which
// Knative's webhooks must accept, with the functions as subscribers. A platform's events go
// in, and a consumer of everything records what comes out. The ids of replies derive from
// their inputs', so two Brokers can be compared.
type path struct {
	root, dir string
	url       map[string]string // of functions, by Service
	procs     []*exec.Cmd
	redis     *redistest.Server
	tap       *tap
}

// functionsOnPath are the functions that take CloudEvents from the Broker. A server that
// answers nothing stands in for the other subscribers.
var functionsOnPath = []string{"profile", "score", "decide", "feedback", "privacy"}

// tap is a consumer of everything.
type tap struct {
	mu    sync.Mutex
	lines scenario.Outcome
	last  time.Time
	url   string
}

func (t *tap) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/tap" {
		return // a request to the stand-in for the console, timer and the dead-letter sink
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := r.Header
	t.last = time.Now()
	t.lines = append(t.lines, fmt.Sprintf("%s %s %s subject=%s action=%s kind=%s jurisdiction=%s", h.Get("Ce-Type"), h.Get("Ce-Source"), h.Get("Ce-Id"),
		h.Get("Ce-Subject"), h.Get("Ce-Action"), h.Get("Ce-Kind"), h.Get("Ce-Jurisdiction")))
}

// newPath starts Redis and the functions.
func newPath(ctx context.Context, root, dir string) (*path, error) {
	p := &path{root: root, dir: dir, url: map[string]string{}, tap: &tap{}}
	if err := os.MkdirAll(filepath.Join(dir, "redis"), 0o755); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.tap.url = "http://" + ln.Addr().String()
	go http.Serve(ln, p.tap)
	if p.redis, err = redistest.Run(filepath.Join(dir, "redis")); err != nil {
		return p, err
	}
	for _, f := range functionsOnPath {
		if err := p.startFunction(ctx, f); err != nil {
			return p, err
		}
	}
	for _, f := range []string{"ingest", "timer", "console"} {
		p.url["pitboss-"+f] = p.tap.url
	}
	return p, nil
}

func (p *path) startFunction(ctx context.Context, name string) error {
	port, err := redistest.FreePort()
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	log, err := os.Create(filepath.Join(p.dir, "function-"+name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.root, "bin", "function"))
	cmd.Env = append(os.Environ(), "FUNCTION_TARGET="+name, "LISTEN_ADDRESS="+addr, "REDIS_URL="+p.redis.URL(), "MODELS_DIR="+filepath.Join(p.root, "models"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w (make build)", name, err)
	}
	p.procs = append(p.procs, cmd)
	p.url["pitboss-"+name] = "http://" + addr
	return wait(ctx, name, 30*time.Second, func(ctx context.Context) error {
		resp, err := http.Get("http://" + addr + "/health/readiness")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readiness: %s", resp.Status)
		}
		return nil
	})
}

func (p *path) stop() {
	for _, cmd := range p.procs {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	if p.redis != nil {
		p.redis.Kill()
	}
}

// onKnative deploys the overlay and returns the Broker's address.
func (p *path) onKnative(ctx context.Context, k *plane) (string, error) {
	const ns = "pitboss"
	setup := `{apiVersion: v1, kind: Namespace, metadata: {name: ` + ns + `}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: services.serving.knative.dev, labels: {duck.knative.dev/addressable: "true"}},
spec: {group: serving.knative.dev, scope: Namespaced, names: {kind: Service, plural: services, singular: service}, versions: [{name: v1, served: true, storage: true,
subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`
	if err := k.api.applyText(ctx, []byte(setup)); err != nil {
		return "", err
	}
	for service, url := range p.url { // what Serving's controller would write
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": map[string]any{"name": service, "namespace": ns}}}
		if err := wait(ctx, "the Service CRD", 10*time.Second, func(ctx context.Context) error { return k.api.apply(ctx, o.DeepCopy()) }); err != nil {
			return "", err
		}
		o.Object["status"] = map[string]any{"url": url, "address": map[string]any{"url": url}}
		if err := k.api.apply(ctx, o, "status"); err != nil {
			return "", err
		}
	}
	text, err := kustomize.Render(filepath.Join(p.root, "broker", "in-memory"))
	if err != nil {
		return "", err
	}
	names, err := k.applyInto(ctx, ns, text)
	if err != nil {
		return "", fmt.Errorf("overlay in-memory: %w", err)
	}
	tapTrigger := fmt.Sprintf("{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: tap}, spec: {broker: pitboss, subscriber: {uri: %q}}}", p.tap.url+"/tap")
	more, err := k.applyInto(ctx, ns, []byte(tapTrigger))
	if err != nil {
		return "", err
	}
	err = wait(ctx, "Pitboss's Broker and Triggers", 60*time.Second, func(ctx context.Context) error { return k.triggersReady(ctx, ns, append(names, more...)) })
	return fmt.Sprintf("http://127.0.0.1:%s/%s/pitboss", k.port("ingress"), ns), err
}

// onLocal opens the one-machine Broker on the same manifests.
func (p *path) onLocal(context.Context) (string, *broker.Broker, error) {
	taps := filepath.Join(p.dir, "tap")
	if err := os.MkdirAll(taps, 0o755); err != nil {
		return "", nil, err
	}
	text := fmt.Sprintf("{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: tap}, spec: {broker: pitboss, subscriber: {uri: %q}}}", p.tap.url+"/tap")
	if err := os.WriteFile(filepath.Join(taps, "tap.yaml"), []byte(text), 0o644); err != nil {
		return "", nil, err
	}
	b, err := broker.Open(broker.Config{DataDir: filepath.Join(p.dir, "log"), BrokerFile: filepath.Join(p.root, "broker", "base", "broker.yaml"),
		TriggerDirs: []string{filepath.Join(p.root, "triggers"), taps},
		Resolve:     func(service string) (string, bool) { url, ok := p.url[service]; return url, ok }})
	if err != nil {
		return "", nil, err
	}
	go b.Serve()
	return b.URL(), b, nil
}

// post sends one event of a player.
func post(ctx context.Context, url, typ, id, player string, at time.Time, data map[string]any) (status int, err error) {
	body, err := json.Marshal(data)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for k, v := range map[string]string{"Specversion": "1.0", "Id": id, "Source": "/conformance", "Type": "pitboss." + typ + ".v1",
		"Subject": player, "Time": at.Format(time.RFC3339Nano), "Partitionkey": player} {
		req.Header.Set("Ce-"+k, v)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// probe sends events until one arrives. A Trigger of the in-memory channel is ready a moment
// before its dispatcher knows it, and events in between are lost.
func (p *path) probe(ctx context.Context, url string) error {
	n := 0
	err := wait(ctx, "an event to arrive", 30*time.Second, func(ctx context.Context) error {
		n++
		if _, err := post(ctx, url, "account.registered", fmt.Sprint("probe-", n), "probe", time.Now().UTC(), map[string]any{"jurisdiction": "MT"}); err != nil {
			return err
		}
		if len(p.tap.settled()) == 0 {
			return errors.New("nothing arrived")
		}
		return nil
	})
	p.tap.mu.Lock()
	defer p.tap.mu.Unlock()
	p.tap.lines = nil
	return err
}

// play POSTs a short story of three players and returns what the tap saw.
func (p *path) play(ctx context.Context, url string) (scenario.Outcome, error) {
	if err := p.probe(ctx, url); err != nil {
		return nil, err
	}
	at := time.Now().Add(-time.Minute).UTC()
	var out scenario.Outcome
	for n, jurisdiction := range []string{"GB", "SE", "NL"} {
		player := fmt.Sprintf("conformance-%d", n)
		for i, e := range []struct {
			typ  string
			data map[string]any
		}{
			{"account.registered", map[string]any{"jurisdiction": jurisdiction, "birth_date": "1980-05-01", "brand": "blue", "currency": "EUR"}},
			{"consent.changed", map[string]any{"product": "all", "channel": "all", "granted": true}},
			{"session.started", map[string]any{"device": "web"}},
			{"game.failed", map[string]any{"game": "roulette", "error": "timeout"}},
			{"game.failed", map[string]any{"game": "roulette", "error": "timeout"}},
			{"payment.failed", map[string]any{"operation": "deposit", "amount": 2000, "currency": "EUR", "error": "declined"}},
			{"round.settled", map[string]any{"game": "roulette", "product": "casino", "stake": 100, "win": 0, "currency": "EUR"}},
			{"protection.excluded", map[string]any{"scheme": "operator"}},
			{"round.unheard", map[string]any{}}, // not in the catalogue
		} {
			at = at.Add(time.Second)
			status, err := post(ctx, url, e.typ, fmt.Sprintf("%d-%d", n, i), player, at, e.data)
			if err != nil {
				return nil, err
			}
			out = append(out, fmt.Sprintf("POST %s: %d", e.typ, status))
			p.tap.settled() // one after another, so that decisions on both Brokers see the same states
		}
	}
	out = append(out, p.tap.settled()...)
	slices.Sort(out)
	return out, nil
}

// settled waits until nothing has come for half a second, and returns what was seen.
func (t *tap) settled() scenario.Outcome {
	t.mu.Lock()
	t.last = time.Now()
	t.mu.Unlock()
	for {
		time.Sleep(50 * time.Millisecond)
		t.mu.Lock()
		if time.Since(t.last) > 500*time.Millisecond {
			defer t.mu.Unlock()
			return slices.Clone(t.lines)
		}
		t.mu.Unlock()
	}
}

// comparePath plays the story on each Broker, each with its own Redis.
func comparePath(ctx context.Context, k *plane, root, dir string) comparison {
	began := time.Now()
	c := comparison{Scenario: scenario.Scenario{Name: "pitboss"}}
	one := func(name string, open func(p *path) (string, error)) scenario.Outcome {
		if c.err != nil {
			return nil
		}
		p, err := newPath(ctx, root, filepath.Join(dir, name))
		if p != nil {
			defer p.stop()
		}
		var url string
		if err == nil {
			url, err = open(p)
		}
		var out scenario.Outcome
		if err == nil {
			out, err = p.play(ctx, url)
		}
		if err != nil {
			c.err = fmt.Errorf("%s: %w", name, err)
		}
		return out
	}
	ours := one("path-local", func(p *path) (string, error) {
		url, _, err := p.onLocal(ctx)
		return url, err
	})
	theirs := one("path-knative", func(p *path) (string, error) { return p.onKnative(ctx, k) })
	c.diff, c.took = scenario.Differ(ours, theirs), time.Since(began)
	seen := map[string]int{}
	for _, l := range ours {
		typ, _, _ := strings.Cut(l, " ")
		seen[typ]++
	}
	for _, typ := range []string{event.TypePlayerUpdated, event.TypePlayerScored, event.TypeRecommendation} {
		if c.err == nil && seen[typ] == 0 {
			c.err = fmt.Errorf("no %s was seen: equal, but nothing was decided:\n%s", typ, ours)
		}
	}
	delete(seen, "POST")
	fmt.Fprintln(os.Stderr, "pitboss: events seen on each Broker:", seen)
	return c
}
