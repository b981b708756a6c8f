package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/functions"
	"pitboss/internal/event"
	"pitboss/test/redistest"
)

// coldFunctions are in the order of an event's path: each is sent the answer of the one
// before.
var coldFunctions = []string{"profile", "score", "decide"}

// coldOthers are not on the path, so they are timed until they are ready.
var coldOthers = slices.DeleteFunc(functions.Names(), func(name string) bool { return slices.Contains(coldFunctions, name) })

// coldstart starts each function o.times times and measures the time from exec to the
// first event answered with 200, or to readiness. It POSTs the event as soon as the port
// accepts connections, and again until it is answered, as the activator does.
func coldstart(ctx context.Context, o options) (table, error) {
	dir, err := os.MkdirTemp("", "drill-")
	if err != nil {
		return table{}, err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "redis"), 0o755); err != nil {
		return table{}, err
	}
	redis, err := redistest.Run(filepath.Join(dir, "redis"))
	if err != nil {
		return table{}, err
	}
	defer redis.Kill()
	p := &launcher{o: o, dir: dir, redis: redis.URL(), env: []string{"LOG_LEVEL=warn", "MALLOC_ARENA_MAX=1"}} // as in func.yaml and the image
	models := filepath.Join(o.root, "models")

	ask, err := firstEvent(ctx, p, models)
	if err != nil {
		return table{}, err
	}
	took := map[string][]time.Duration{}
	for _, f := range coldFunctions {
		var answer *ce.Event
		for range o.times {
			d, a, err := p.cold(ctx, f, models, ask)
			if err != nil {
				return table{}, err
			}
			took[f] = append(took[f], d)
			answer = a
		}
		if answer == nil && f != "decide" {
			return table{}, fmt.Errorf("%s answered without an event", f)
		}
		ask = answer
	}
	for _, f := range coldOthers {
		for range o.times {
			d, err := p.coldReady(ctx, f, models)
			if err != nil {
				return table{}, err
			}
			took[f] = append(took[f], d)
		}
	}
	t := table{passed: true}
	for _, q := range []int{50, 99} {
		for _, f := range slices.Concat(coldFunctions, coldOthers) {
			d := took[f]
			sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
			at := d[min(len(d)-1, len(d)*q/100)]
			t.add(fmt.Sprintf("%s_p%d_ms", f, q), float64(at.Microseconds())/1000)
		}
	}
	return t, nil
}

// firstEvent makes an event that asks for a decision, of a player with an account.
func firstEvent(ctx context.Context, p *launcher, models string) (*ce.Event, error) {
	r, err := p.start("profile", models)
	if err != nil {
		return nil, err
	}
	defer r.terminate()
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	l := newLoad(r.url, strconv.FormatInt(time.Now().Unix(), 36), 1)
	if err := l.register(ctx); err != nil {
		return nil, err
	}
	return l.event(0, l.run+"-failed", event.TypePaymentFailed, failedPayment)
}

// coldReady starts a function, waits until it is ready, and stops it.
func (p *launcher) coldReady(ctx context.Context, function, models string) (time.Duration, error) {
	began := time.Now()
	r, err := p.start(function, models, "K_SINK=http://127.0.0.1:9") // nobody listens there, and nothing is sent
	if err != nil {
		return 0, err
	}
	defer r.terminate()
	err = r.readyWithin(ctx, 200*time.Microsecond)
	return time.Since(began), err
}

// cold starts a function, POSTs until it answers, and stops it.
func (p *launcher) cold(ctx context.Context, function, models string, ask *ce.Event) (time.Duration, *ce.Event, error) {
	began := time.Now()
	r, err := p.start(function, models)
	if err != nil {
		return 0, nil, err
	}
	defer r.terminate()
	for {
		answer, err := once(ctx, r.url, ask)
		if err == nil {
			return time.Since(began), answer, nil
		}
		select {
		case <-r.done:
			return 0, nil, fmt.Errorf("%s ended: %w (%w)", function, r.err, err)
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		default:
			time.Sleep(200 * time.Microsecond)
		}
		if time.Since(began) > 20*time.Second {
			return 0, nil, fmt.Errorf("%s gave no answer for 20 s: %w", function, err)
		}
	}
}

func once(ctx context.Context, url string, e *ce.Event) (*ce.Event, error) {
	req, err := cehttp.NewHTTPRequestFromEvent(ctx, url, *e)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusNoContent {
		return nil, fmt.Errorf("answered %s: %s", resp.Status, bytes.TrimSpace(body))
	}
	if resp.Header.Get("Ce-Id") == "" {
		return nil, nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return cehttp.NewEventFromHTTPResponse(resp)
}
