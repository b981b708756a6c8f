package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"pitboss/broker"
	"pitboss/internal/cehttp"
	"pitboss/internal/setup"
	"pitboss/internal/simulator"
	"pitboss/test/cputime"
	"pitboss/test/redistest"
)

// BenchmarkPath is the whole path of an event in the Broker's process, from the
// POST to the recommendation at its consumer, every event decided. The loader
// writes prepared requests and the consumer only counts; their part, which is in
// the figures, stays the same.
func BenchmarkPath(b *testing.B) {
	setup.RelaxGC()
	var decided atomic.Int64
	consumer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if t := r.Header.Get("Ce-Type"); strings.HasPrefix(t, "pitboss.recommendation.") {
			decided.Add(1)
		}
	}))
	b.Cleanup(consumer.Close)
	br := openPath(b, consumer.URL)
	conns, requests := dialAll(b, br.URL(), 64), preparedRequests(b, br.URL(), b.N+2000)
	postAll(b, conns, requests[:2000]) // connections, caches, stacks
	awaitQuiet(b, br)
	decided.Store(0)
	b.ReportAllocs()
	before := cputime.Own(b)
	b.ResetTimer()
	postAll(b, conns, requests[2000:])
	awaitQuiet(b, br)
	b.StopTimer()
	b.ReportMetric(float64((cputime.Own(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
	if n := decided.Load(); n < int64(b.N) {
		b.Fatalf("%d decisions about %d events", n, b.N)
	}
}

// openPath opens a Broker with the functions of an event's way in its process.
func openPath(b *testing.B, consumer string) *broker.Broker {
	b.Helper()
	for name, value := range map[string]string{"REDIS_URL": redistest.Start(b), "SCORE_WHEN": "always", "MODELS_DIR": "../../models", "LOG_LEVEL": "error"} {
		b.Setenv(name, value)
	}
	a := alone{functions: []string{"profile", "score", "decide"}, services: map[string]string{"pitboss-local-consumer": consumer}}
	for _, name := range []string{"ingest", "feedback", "timer", "privacy", "console"} {
		a.services["pitboss-"+name] = consumer
	}
	a.broker = broker.Config{DataDir: b.TempDir(), BrokerFile: "../base/broker.yaml", TriggerDirs: []string{"../../triggers", "triggers"}}
	all, err := newHosts(a.functions, nil, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	br, err := a.open(all, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	failed := make(chan error, 2*len(all)+1)
	for name, h := range all {
		h.start(context.Background(), functionEnviron(name, br.URL()), failed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := all.ready(ctx); err != nil {
		b.Fatal(err)
	}
	go func() { failed <- br.Serve() }()
	b.Cleanup(func() {
		_ = br.Drain(context.Background())
		all.stop(context.Background())
	})
	return br
}

// preparedRequests are n events of simulated play as POSTs.
func preparedRequests(b *testing.B, url string, n int) [][]byte {
	b.Helper()
	w := simulator.New(simulator.Config{Seed: 1, Players: 2000, Start: time.Now().Add(-15 * time.Minute), Pace: 1})
	out := make([][]byte, n)
	for i := range out {
		e := w.Next()
		h := http.Header{}
		cehttp.WriteHeader(h, e)
		var buf bytes.Buffer
		fmt.Fprintf(&buf, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", strings.TrimPrefix(url, "http://"), len(e.Data()))
		_ = h.Write(&buf)
		buf.WriteString("\r\n")
		buf.Write(e.Data())
		out[i] = buf.Bytes()
	}
	return out
}

func dialAll(b *testing.B, url string, n int) []net.Conn {
	b.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		conns[i] = c
	}
	return conns
}

// postAll sends every request and reads its answer's header: there is no body.
func postAll(b *testing.B, conns []net.Conn, requests [][]byte) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			in := bufio.NewReaderSize(c, 1024)
			for n := next.Add(1); n <= int64(len(requests)); n = next.Add(1) {
				if _, err := c.Write(requests[n-1]); err != nil {
					b.Error(err)
					return
				}
				for first := true; ; first = false {
					line, err := in.ReadSlice('\n')
					if err != nil || first && !bytes.Contains(line, []byte(" 202 ")) {
						b.Errorf("%s %v", line, err)
						return
					}
					if len(line) <= 2 {
						break
					}
				}
			}
		})
	}
	wg.Wait()
}

func awaitQuiet(b *testing.B, br *broker.Broker) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := br.Quiet(ctx); err != nil {
		b.Fatal(err)
	}
}
