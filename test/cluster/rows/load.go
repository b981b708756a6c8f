package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	producer   = "acme"
	secret     = "0123456789abcdef0123456789abcdef"
	ingestHost = "pitboss-ingest.pitboss.pitboss.test"
)

var client = &http.Client{Timeout: 35 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}

// turnedAway is an answer that is not 2xx.
type turnedAway struct {
	retryAfter time.Duration
	text       string
}

func (t *turnedAway) Error() string { return t.text }

// post sends one event, signed; an answer that is not 2xx is a *turnedAway.
func (c *cluster) post(ctx context.Context, kind, player, id, data string) error {
	body := fmt.Sprintf(`{"specversion":"1.0","type":%q,"source":"/acme/lobby","id":%q,"time":%q,"subject":%q,"datacontenttype":"application/json","data":%s}`,
		kind, id, time.Now().UTC().Format(time.RFC3339Nano), player, data)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return err
	}
	const media = "application/cloudevents+json"
	now := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%s\n", now, media, body)
	r.Host = ingestHost
	r.Header.Set("Content-Type", media)
	r.Header.Set("Pitboss-Producer", producer)
	r.Header.Set("Pitboss-Signature", "t="+now+",v1="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	if resp.StatusCode/100 != 2 {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // none: 0
		return &turnedAway{time.Duration(seconds) * time.Second, fmt.Sprintf("%s: %s", resp.Status, bytes.TrimSpace(text))}
	}
	return nil
}

// players is how many a load is spread over.
const players = 20

// load is a platform's: events at a rate, each sent again until it is acknowledged.
type load struct {
	run      string
	deadline time.Time // after it nothing is sent again; zero: there is none
	done     sync.WaitGroup

	mu       sync.Mutex
	sent     int
	acked    int
	refused  int // answers that were not 2xx, and none
	gaveUp   int
	why      map[string]int
	took     []time.Duration
	last     time.Time
	gap      time.Duration
	during   string // what was done when the gap was
	doing    string
	finished time.Time
}

// start sends rate events/s for a while. Every fifth is a failed payment.
func (c *cluster) start(ctx context.Context, name string, rate int, long time.Duration) *load {
	return c.begin(ctx, time.Time{}, name, rate, long)
}

func (c *cluster) begin(ctx context.Context, deadline time.Time, name string, rate int, long time.Duration) *load {
	l := &load{deadline: deadline, run: fmt.Sprintf("%s-%d", name, time.Now().Unix()), why: map[string]int{}, last: time.Now()}
	l.done.Go(func() {
		// The times are fixed beforehand: a loader that was held up catches up.
		for began := time.Now(); ; {
			due := time.Duration(l.sent) * time.Second / time.Duration(rate)
			if due >= long || ctx.Err() != nil {
				return
			}
			time.Sleep(time.Until(began.Add(due)))
			n := l.sent
			l.sent++
			l.done.Go(func() { l.one(ctx, c, n) })
		}
	})
	return l
}

// now names what is done to the cluster from now on.
func (l *load) now(doing string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doing = doing
}

func (l *load) one(ctx context.Context, c *cluster, n int) {
	kind, data := "pitboss.session.started.v1", `{"device":"web"}`
	if n%5 == 4 {
		kind, data = "pitboss.payment.failed.v1", `{"operation":"deposit","amount":2000,"currency":"GBP","error":"card declined"}`
	}
	began := time.Now()
	for try := range 60 {
		err := c.post(ctx, kind, fmt.Sprintf("%s-p%d", l.run, n%players), fmt.Sprintf("%s-%d", l.run, n), data)
		l.mu.Lock()
		if err == nil {
			l.acked++
			now := time.Now()
			if gap := now.Sub(l.last); gap > l.gap {
				l.gap, l.during = gap, l.doing
			}
			l.took, l.last = append(l.took, now.Sub(began)), now
			l.mu.Unlock()
			return
		}
		l.refused++
		l.why[err.Error()[:min(len(err.Error()), 120)]]++
		l.mu.Unlock()
		pause := time.Duration(200+50*min(try, 20)) * time.Millisecond
		if away := (*turnedAway)(nil); errors.As(err, &away) && away.retryAfter > 0 {
			pause = away.retryAfter
		}
		pause += rand.N(pause / 4)
		if !l.deadline.IsZero() && time.Now().Add(pause).After(l.deadline) {
			break
		}
		time.Sleep(pause)
	}
	l.mu.Lock()
	l.gaveUp++
	l.mu.Unlock()
}

// end waits for the last answers and compares what was acknowledged with what
// the players' states say was applied.
func (l *load) end(ctx context.Context) (figures, error) {
	l.done.Wait()
	slices.Sort(l.took)
	f := figures{"sent": l.sent, "acknowledged": l.acked, "refused": l.refused, "given_up": l.gaveUp, "gap_ms": l.gap.Milliseconds(),
		"p50_ms": at(l.took, 50), "p99_ms": at(l.took, 99)}
	if l.during != "" {
		f["gap_during"] = l.during
	}
	if len(l.why) > 0 {
		f["why"] = l.why
	}
	applied, outcomes, err := l.applied(ctx)
	f["applied"], f["outcomes"], f["lost"], f["double"] = applied, outcomes, max(0, l.acked+outcomes-applied), max(0, applied-outcomes-l.sent)
	return f, err
}

// applied counts the events in the players' states, once it is as many as
// were acknowledged or no more come. The consumer's replies are among them: one
// outcome for each recommendation that it has shown.
func (l *load) applied(ctx context.Context) (n, outcomes int, err error) {
	for still := time.Now(); time.Since(still) < 60*time.Second; {
		was := n
		n = 0
		for i := range min(players, l.sent) {
			out, err := cli(ctx, "features", "explain", fmt.Sprintf("%s-p%d", l.run, i))
			if err != nil {
				return n, outcomes, err
			}
			n += eventsApplied(out)
		}
		if outcomes, err = messages(ctx, "player "+l.run+"-"); err != nil || n >= l.acked+outcomes {
			return n, outcomes, err
		}
		if n != was {
			still = time.Now()
		}
	}
	return n, outcomes, nil
}

func at(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, len(sorted)*percent/100)].Microseconds()) / 1000
}
