package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// cold takes each function that scales to zero from 1 to 0 and asks it through
// the private ingress and the activator, until the first answer comes.
func cold(ctx context.Context, c *cluster) (figures, error) {
	const autoscaler = "config-autoscaler"
	// Zero comes sooner than users have it; what a start takes stays the same.
	patch := func(data string) error {
		_, err := kubectl(ctx, "-n", "knative-serving", "patch", "configmap", autoscaler, "--type=merge", "-p", `{"data":`+data+`}`)
		return err
	}
	if err := patch(`{"stable-window":"10s","scale-to-zero-grace-period":"6s"}`); err != nil {
		return nil, err
	}
	defer func() { _ = patch(`{"stable-window":null,"scale-to-zero-grace-period":null}`) }()
	address, err := internalIngress(ctx)
	if err != nil {
		return nil, err
	}
	f := figures{}
	var mu, one sync.Mutex // of f; and of the starts, one at a time
	g, ctx := errgroup.WithContext(ctx)
	for _, function := range []string{"score", "decide", "feedback", "privacy"} { // they wait for zero side by side
		g.Go(func() error {
			took, err := coldStarts(ctx, c.colds, &one, "http://"+address, function)
			slices.Sort(took)
			mu.Lock()
			defer mu.Unlock()
			f[function+"_starts"], f[function+"_p50_ms"], f[function+"_p99_ms"] = len(took), at(took, 50), at(took, 99)
			return err
		})
	}
	return f, g.Wait()
}

// coldStarts waits until the function is at zero and asks it, n times.
func coldStarts(ctx context.Context, n int, one *sync.Mutex, url, function string) (took []time.Duration, err error) {
	for range n {
		err := await(ctx, 5*time.Minute, function+" at zero", func() (bool, error) { p, err := pods(ctx, function); return err == nil && len(p) == 0, err })
		if err != nil {
			return took, err
		}
		one.Lock()
		d, err := ask(ctx, url, "pitboss-"+function+".pitboss.svc.cluster.local")
		one.Unlock()
		if err != nil {
			return took, fmt.Errorf("%s: %w", function, err)
		}
		took = append(took, d)
	}
	return took, nil
}

func ask(ctx context.Context, url, host string) (time.Duration, error) {
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health/readiness", nil)
	if err != nil {
		return 0, err
	}
	r.Host = host
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return time.Since(began), nil
}
