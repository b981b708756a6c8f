package broker_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pitboss/broker"
)

// sink answers 200 and calls seen with each event's id.
func sink(b testing.TB, seen func(id string)) *subscriber {
	s := &subscriber{Server: httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen(r.Header.Get("Ce-Id"))
	}))}
	b.Cleanup(s.Close)
	return s
}

var round = strings.Repeat("x", 180)

// send POSTs one event of a round's size.
func send(b testing.TB, c *http.Client, url, id string) {
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"game":"`+round+`"}`))
	h := req.Header
	h["Content-Type"], h["Ce-Specversion"], h["Ce-Type"] = []string{"application/json"}, []string{"1.0"}, []string{"pitboss.round.settled.v1"}
	h["Ce-Source"], h["Ce-Id"], h["Ce-Subject"] = []string{"/platform"}, []string{id}, []string{"player-" + id}
	h["Ce-Time"] = []string{"2026-01-02T15:04:05.123Z"}
	resp, err := c.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		b.Errorf("status %d", resp.StatusCode)
	}
}

func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256}}
}

// BenchmarkThroughput is POST to delivered, 64 senders, one Trigger with an
// exact type. Sender and subscriber run in the same process.
func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct {
		name  string
		fsync bool
	}{{"written", false}, {"fsync", true}} {
		b.Run(c.name, func(b *testing.B) {
			var delivered atomic.Int64
			s := sink(b, func(string) { delivered.Add(1) })
			br := open(b, options{config: func(cfg *broker.Config) { cfg.Fsync = c.fsync }}, spec{name: "t", filter: "  filter: {attributes: {type: pitboss.round.settled.v1}}\n", to: s})
			cl := client()
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 64 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						send(b, cl, br.URL(), strconv.FormatInt(n, 10))
					}
				}()
			}
			wg.Wait()
			for delivered.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLatency is the time from the start of the POST to the subscriber's
// receipt at 1,000 events/s.
func BenchmarkLatency(b *testing.B) {
	var mu sync.Mutex
	sent := map[string]time.Time{}
	var took []time.Duration
	done := make(chan struct{}, b.N)
	s := sink(b, func(id string) {
		mu.Lock()
		took = append(took, time.Since(sent[id]))
		mu.Unlock()
		done <- struct{}{}
	})
	br := open(b, options{}, spec{name: "t", filter: "  filter: {attributes: {type: pitboss.round.settled.v1}}\n", to: s})
	cl := client()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for n := range b.N {
		<-tick.C
		id := strconv.Itoa(n)
		mu.Lock()
		sent[id] = time.Now()
		mu.Unlock()
		go send(b, cl, br.URL(), id)
	}
	for range b.N {
		<-done
	}
	b.StopTimer()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
