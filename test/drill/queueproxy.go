package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/internal/event"
)

const (
	proxyLimit = 8 // containerConcurrency: the most requests in the function at once
	proxyQueue = 10 * proxyLimit
	// adminPort is queue-proxy's port for the kubelet's preStop hook.
	adminPort = 8022
)

// slowBroker is a Broker that answers slowly, so that requests wait in ingest, and counts
// them.
type slowBroker struct {
	hold   time.Duration
	taken  atomic.Int64
	inside atomic.Int64
	most   atomic.Int64 // the most at once
}

func (b *slowBroker) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := b.inside.Add(1)
	defer b.inside.Add(-1)
	for most := b.most.Load(); n > most && !b.most.CompareAndSwap(most, n); most = b.most.Load() {
	}
	time.Sleep(b.hold)
	b.taken.Add(1)
	w.WriteHeader(http.StatusAccepted)
}

// queueProxy runs Knative's queue-proxy in front of ingest, as in a pod. It checks that no
// more than containerConcurrency requests reach the function, and that nothing is lost
// when the pod is deleted under load.
func queueProxy(ctx context.Context, o options) (table, error) {
	dir, err := os.MkdirTemp("", "drill-")
	if err != nil {
		return table{}, err
	}
	t, err := proxyDrill(ctx, o, dir)
	if err == nil && t.passed {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "logs in", dir)
	}
	return t, err
}

func proxyDrill(ctx context.Context, o options, dir string) (table, error) {
	slow := &slowBroker{hold: 100 * time.Millisecond}
	broker := httptest.NewServer(slow)
	defer broker.Close()
	p := &launcher{o: o, dir: dir, env: []string{"K_SINK=" + broker.URL, "LOG_LEVEL=warn"}}
	function, err := p.start("ingest", filepath.Join(o.root, "models"))
	if err != nil {
		return table{}, err
	}
	defer function.cmd.Process.Kill()
	if err := function.ready(ctx); err != nil {
		return table{}, err
	}
	proxy, err := startProxy(ctx, o.proxy, dir, function)
	if err != nil {
		return table{}, err
	}
	defer proxy.cmd.Process.Kill()

	var t table
	l := newLoad(proxy.url, strconv.FormatInt(time.Now().Unix(), 36), 4*proxyQueue)
	fits := l.burst(ctx, 0, proxyLimit+proxyQueue)
	over := l.burst(ctx, proxyLimit+proxyQueue, 4*proxyQueue)
	most := slow.most.Load()
	drained, took, err := l.drain(ctx, proxy, function)
	if err != nil {
		return t, err
	}
	t.add("limit", proxyLimit)
	t.add("most_at_once", float64(most))
	t.add("queued_and_done", float64(fits[http.StatusAccepted]))
	t.add("over_done", float64(over[http.StatusAccepted]))
	t.add("over_refused", float64(over[http.StatusServiceUnavailable]))
	t.add("draining_done", float64(drained[http.StatusAccepted]))
	t.add("draining_failed", float64(total(drained)-drained[http.StatusAccepted]))
	t.add("drain_s", took.Seconds())
	done := fits[http.StatusAccepted] + over[http.StatusAccepted] + drained[http.StatusAccepted]
	t.add("lost", float64(int64(done)-slow.taken.Load()))
	t.passed = most == proxyLimit && fits[http.StatusAccepted] == proxyLimit+proxyQueue && over[http.StatusServiceUnavailable] > 0 &&
		over[http.StatusAccepted]+over[http.StatusServiceUnavailable] == 4*proxyQueue &&
		drained[http.StatusAccepted] > 0 && total(drained) == drained[http.StatusAccepted] && slow.taken.Load() == int64(done)
	return t, nil
}

// startProxy starts queue-proxy with the environment of a pod.
func startProxy(ctx context.Context, bin, dir string, function *release) (*release, error) {
	for _, port := range []int{adminPort, 9090, 9091} { // fixed; in a pod nothing else uses them
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return nil, fmt.Errorf("queue-proxy needs port %d: %w", port, err)
		}
		ln.Close()
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	_, userPort, _ := net.SplitHostPort(function.url[len("http://"):])
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "CONTAINER_CONCURRENCY="+strconv.Itoa(proxyLimit),
		"QUEUE_SERVING_PORT="+port, "QUEUE_SERVING_TLS_PORT=0", "USER_PORT="+userPort, "REVISION_TIMEOUT_SECONDS=30",
		"SERVING_LOGGING_CONFIG=", "SERVING_LOGGING_LEVEL=warn", "SERVING_NAMESPACE=default", "SERVING_SERVICE=pitboss-ingest",
		"SERVING_CONFIGURATION=pitboss-ingest", "SERVING_REVISION=pitboss-ingest-1", "SERVING_POD=pitboss-ingest-1-x", "SERVING_POD_IP=127.0.0.1",
		`SERVING_READINESS_PROBE={"httpGet":{"host":"127.0.0.1","path":"/health/readiness","port":`+userPort+`,"scheme":"HTTP"},"successThreshold":1}`)
	if err := begin(cmd, filepath.Join(dir, "queue-proxy.log")); err != nil {
		return nil, err
	}
	r := &release{cmd: cmd, url: "http://" + addr, done: make(chan struct{})}
	go func() { r.err = cmd.Wait(); close(r.done) }()
	err = until(ctx, 20*time.Second, 10*time.Millisecond, func() error { return r.probe(ctx) })
	if err != nil {
		_ = cmd.Process.Kill()
	}
	return r, err
}

// probe asks queue-proxy whether the pod is ready, as the activator does.
func (r *release) probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "Knative-Activator-Probe")
	req.Header.Set("K-Network-Probe", "queue")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("queue-proxy: %s", resp.Status)
	}
	return nil
}

// burst POSTs n events at once, each of another player, and counts the answers by status.
// Status 0 means that there was no answer.
func (l *load) burst(ctx context.Context, from, n int) map[int]int {
	var mu sync.Mutex
	answers := map[int]int{}
	var all sync.WaitGroup
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	for i := range n {
		all.Go(func() {
			status := 0
			e, err := l.event(i%l.players, fmt.Sprintf("%s-%d", l.run, from+i), event.TypePaymentFailed, failedPayment)
			if err == nil {
				var req *http.Request
				if req, err = cehttp.NewHTTPRequestFromEvent(ctx, l.url, *e); err == nil {
					var resp *http.Response
					if resp, err = client.Do(req); err == nil {
						status = resp.StatusCode
						resp.Body.Close()
					}
				}
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	all.Wait()
	return answers
}

// drain deletes the pod as the kubelet does, while requests are pending and more come until
// routes have learned of it. It sends SIGTERM to queue-proxy, which has no hook; calls the
// function's preStop hook, which queue-proxy answers once no request is pending; and then
// sends SIGTERM to the function.
func (l *load) drain(ctx context.Context, proxy, function *release) (answers map[int]int, took time.Duration, err error) {
	began := time.Now()
	counts := make(chan map[int]int, 1)
	go func() {
		sum := map[int]int{}
		for n := 0; time.Since(began) < 3*time.Second; n += proxyLimit { // routes learn of it within seconds
			for status, k := range l.burst(ctx, 1_000_000+n, proxyLimit) {
				sum[status] += k
			}
		}
		counts <- sum
	}()
	time.Sleep(150 * time.Millisecond) // then the first requests are pending
	if err := proxy.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, 0, err
	}
	// Once it is not ready, the endpoints drop the pod.
	if err := until(ctx, time.Second, 10*time.Millisecond, func() error {
		if proxy.probe(ctx) == nil {
			return errors.New("queue-proxy still says that it is ready")
		}
		return nil
	}); err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/wait-for-drain", adminPort), nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("preStop: %w", err)
	}
	resp.Body.Close()
	answers = <-counts
	err = errors.Join(function.terminate(), proxy.terminate())
	return answers, time.Since(began), err
}

func total(m map[int]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}
