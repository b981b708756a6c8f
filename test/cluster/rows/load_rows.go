package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// throughput is the latency POST → consumer at a steady rate, each for a player
// of its own, with ingress, queue-proxy, activator and Broker in the way.
func throughput(ctx context.Context, c *cluster) (figures, error) {
	run := fmt.Sprint("t", time.Now().Unix())
	before, err := processors(ctx)
	if err != nil {
		return nil, err
	}
	began := map[string]time.Time{}
	var mu sync.Mutex
	var done sync.WaitGroup
	var errs []error
	start, every := time.Now(), time.Second/time.Duration(max(1, c.rate/3)) // three events for each player
	for n := 0; time.Duration(n)*every < c.load && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(start.Add(time.Duration(n) * every)))
		player := fmt.Sprintf("%s-%d", run, n)
		done.Go(func() {
			err := c.newPlayer(ctx, player)
			now := time.Now()
			if err == nil {
				err = c.fail(ctx, player)
			}
			mu.Lock()
			defer mu.Unlock()
			if began[player] = now; err != nil {
				errs = append(errs, err)
				delete(began, player)
			}
		})
	}
	done.Wait()
	spent := time.Since(start)
	var took []time.Duration
	holdout := 0
	err = await(ctx, 2*time.Minute, "the consumer's messages", func() (bool, error) {
		seen, err := shown(ctx)
		was := len(took)
		took = took[:0]
		var missing []string
		for player, at := range began {
			if at, ok := seen[player].Sub(at), !seen[player].IsZero(); ok {
				took = append(took, at)
			} else {
				missing = append(missing, player)
			}
		}
		if err != nil || len(took) != was {
			return len(missing) == 0, err // more are coming
		}
		holdout, err = heldOut(ctx, missing)
		return holdout == len(missing), err
	})
	after, errUsed := processors(ctx)
	slices.Sort(took)
	return figures{"cpu_us": after.perEvent(before, 3*len(began)), "events_per_s": int(float64(3*len(began)) / spent.Seconds()), "stories": len(began), "shown": len(took), "holdout": holdout, "refused": len(errs),
		"p50_ms": at(took, 50), "p99_ms": at(took, 99)}, errors.Join(err, errUsed)
}

// heldOut counts the players who get no service message by design: they are in
// the holdout, so that the effect on the others can be measured.
func heldOut(ctx context.Context, players []string) (n int, err error) {
	for _, player := range players {
		text, err := cli(ctx, "explain", "--player", player)
		if err != nil {
			return n, err
		}
		if strings.Contains(text, "in the holdout") {
			n++
		}
	}
	return n, nil
}

// revise makes a new revision of a function and waits until it has the traffic.
func revise(ctx context.Context, function string) (time.Duration, error) {
	began := time.Now()
	name := "pitboss-" + function
	var was, now object
	if err := read(ctx, ksvcPath+"/"+name, "", &was); err != nil {
		return 0, err
	}
	patch := fmt.Sprintf(`[{"op":"add","path":"/spec/template/metadata/annotations/pitboss~1try","value":"%d"}]`, began.UnixNano())
	c, err := server()
	if err != nil {
		return 0, err
	}
	if err := c.Patch(types.JSONPatchType).AbsPath(ksvcPath + "/" + name).Body([]byte(patch)).Do(ctx).Error(); err != nil {
		return 0, err
	}
	err = await(ctx, 3*time.Minute, name+" rolled out", func() (bool, error) {
		now = object{}
		err := read(ctx, ksvcPath+"/"+name, "", &now)
		s := now.Status
		return s.LatestReadyRevisionName != was.Status.LatestReadyRevisionName && now.ready() && len(s.Traffic) > 0 && s.Traffic[0].RevisionName == s.LatestReadyRevisionName, err
	})
	return time.Since(began), err
}

// rollout replaces each function on the way, under load.
func rollout(ctx context.Context, c *cluster) (figures, error) {
	return c.under(ctx, "rollout", func(f figures, l *load) error {
		for _, function := range functions[:4] {
			l.now(function)
			took, err := revise(ctx, function)
			if err != nil {
				return err
			}
			f[function+"_ms"] = took.Milliseconds()
		}
		return nil
	})
}

// kills deletes a pod of everything in turn under load, Redis and the Broker's
// parts included, then drains the node of Pitboss' pods.
func kills(ctx context.Context, c *cluster) (figures, error) {
	return c.under(ctx, "kills", func(f figures, l *load) error {
		deleted := 0
		for _, k := range []struct{ namespace, selector string }{
			{namespace, "serving.knative.dev/service=pitboss-profile"}, {namespace, "serving.knative.dev/service=pitboss-score"},
			{namespace, "serving.knative.dev/service=pitboss-decide"}, {namespace, "serving.knative.dev/service=pitboss-ingest"},
			{namespace, "serving.knative.dev/service=pitboss-console"}, {namespace, "serving.knative.dev/service=pitboss-timer"},
			{"knative-serving", "app=activator"}, {"knative-serving", "app=autoscaler"}, {"knative-serving", "app=controller"}, {"kourier-system", "app=ingress"},
			{namespace, "app.kubernetes.io/name=redis"}, {"knative-eventing", "eventing.knative.dev/brokerRole=ingress"},
			{"knative-eventing", "eventing.knative.dev/brokerRole=filter"}, {"knative-eventing", "messaging.knative.dev/channel=in-memory-channel,messaging.knative.dev/role=dispatcher"},
			{"knative-eventing", "app=kafka-broker-receiver"}, {"knative-eventing", "app=kafka-broker-dispatcher"}, {"knative-eventing", "app=kafka-controller"}, {"kafka", "app=kafka"},
		} {
			l.now(k.selector)
			out, err := kubectl(ctx, "-n", k.namespace, "delete", "pod", "-l", k.selector, "--wait=true", "--timeout=90s")
			if err != nil {
				return err
			}
			if strings.Contains(out, "deleted") { // the other Broker's parts are not there
				deleted++
			}
		}
		f["deleted"] = deleted
		l.now("drain")
		drained, held, err := drain(ctx)
		f["drained"], f["held"] = drained, held
		return err
	})
}

// drain evicts pods of the functions from the one node, and lets new ones in
// again. On one node an evicted pod has nowhere else to go, so a disruption
// budget may hold the last one: held names those functions.
func drain(ctx context.Context) (drained int, held []string, err error) {
	const node = "pitboss-node"
	evicted := []string{"profile", "score", "decide", "timer"}
	was := map[string][]object{}
	for _, function := range evicted {
		if was[function], err = pods(ctx, function); err != nil {
			return 0, nil, err
		}
	}
	_, refused := kubectl(ctx, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s",
		"--pod-selector", "serving.knative.dev/service in (pitboss-"+strings.Join(evicted, ",pitboss-")+")")
	for _, function := range evicted {
		left, err := pods(ctx, function)
		if err != nil {
			return drained, held, err
		}
		for _, p := range was[function] {
			if slices.ContainsFunc(left, func(l object) bool { return l.Metadata.Name == p.Metadata.Name }) {
				held = append(held, function)
			} else {
				drained++
			}
		}
	}
	if len(held) > 0 {
		refused = nil
	}
	_, err = kubectl(ctx, "uncordon", node)
	return drained, held, errors.Join(refused, err)
}

// under plays a part under load and says what became of the load's events.
func (c *cluster) under(ctx context.Context, name string, part func(figures, *load) error) (figures, error) {
	if _, err := c.helped(ctx, name+"-warm"); err != nil { // no function is at zero: the row cold measures those
		return nil, err
	}
	l := c.start(ctx, name, c.rate, c.load)
	time.Sleep(3 * time.Second) // the load is under way
	mine := figures{"rate": c.rate}
	err := part(mine, l)
	f, errLoad := l.end(ctx)
	for k, v := range mine {
		f[k] = v
	}
	return f, errors.Join(err, errLoad)
}

// scale sends more than the node can take, sees what it goes on at meanwhile, and
// how fast it is well again once the load ends and nothing is sent again.
func scale(ctx context.Context, c *cluster) (figures, error) {
	rate := c.over * c.rate
	over := time.Now().Add(c.load)
	l := c.begin(ctx, over, "scale", rate, c.load)
	most := map[string]int{}
	for ; time.Now().Before(over) && ctx.Err() == nil; time.Sleep(2 * time.Second) {
		for _, function := range functions[:4] {
			if p, err := pods(ctx, function); err == nil {
				most[function] = max(most[function], len(p))
			}
		}
	}
	l.mu.Lock()
	during := float64(l.acked) / c.load.Seconds()
	l.mu.Unlock()
	recovered := await(ctx, 5*time.Minute, "a POST within a second", func() (bool, error) {
		began := time.Now()
		err := c.post(ctx, "pitboss.session.started.v1", "scale-after", fmt.Sprint("scale-after-", began.UnixNano()), `{"device":"web"}`)
		return err == nil && time.Since(began) < time.Second, err
	})
	after := time.Since(over)
	f, err := l.end(ctx)
	f["rate"], f["most_pods"], f["recovery_s"], f["acknowledged_per_s"] = rate, most, int(after.Seconds()), int(during)
	return f, errors.Join(recovered, err)
}
