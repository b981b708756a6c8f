package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
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
	address, err := kubectl(ctx, "-n", "kourier-system", "get", "service", "ingress-internal", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	f := figures{"starts": c.colds}
	for _, function := range []string{"score", "decide", "feedback", "privacy"} {
		var took []time.Duration
		for range c.colds {
			err := await(ctx, 5*time.Minute, function+" at zero", func() (bool, error) { p, err := pods(ctx, function); return err == nil && len(p) == 0, err })
			if err != nil {
				return f, err
			}
			d, err := ask(ctx, "http://"+address, "pitboss-"+function+".pitboss.svc.cluster.local")
			if err != nil {
				return f, fmt.Errorf("%s: %w", function, err)
			}
			took = append(took, d)
		}
		slices.Sort(took)
		f[function+"_p50_ms"], f[function+"_p99_ms"] = at(took, 50), at(took, 99)
	}
	return f, nil
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
