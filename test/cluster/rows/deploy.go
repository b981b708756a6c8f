package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const ours = "app.kubernetes.io/part-of=pitboss"

// ready is how long after the deploy began in an empty namespace the last
// Service, Trigger, Broker or SinkBinding became Ready.
func ready(ctx context.Context, c *cluster) (figures, error) {
	var all []object
	err := await(ctx, 3*time.Minute, "all Ready", func() (bool, error) {
		var err error
		if all, err = list(ctx, ours, brokersPath, triggersPath, ksvcPath, bindingsPath); err != nil {
			return false, err
		}
		for _, o := range all {
			if !o.ready() {
				return false, fmt.Errorf("%s %s is not Ready", o.Kind, o.Metadata.Name)
			}
		}
		return len(all) > 0, nil
	})
	var last time.Time
	count := map[string]int{}
	for _, o := range all {
		count[o.Kind]++
		for _, s := range o.Status.Conditions {
			if s.Type == "Ready" && s.LastTransitionTime.After(last) {
				last = s.LastTransitionTime
			}
		}
	}
	f := figures{"services": count["Service"], "triggers": count["Trigger"], "sinkbindings": count["SinkBinding"]}
	if info, statErr := os.Stat(c.began); statErr == nil {
		f["ready_s"] = int(last.Sub(info.ModTime()).Seconds())
	}
	return f, err
}

// restarts counts the restarts of every container since the pods were made, and
// how long ago the oldest was.
func restarts(ctx context.Context, _ *cluster) (figures, error) {
	all, err := list(ctx, "", podsPath)
	n, who := 0, map[string]int{}
	for _, p := range all {
		for _, s := range p.Status.ContainerStatuses {
			if s.RestartCount > 0 {
				n += s.RestartCount
				who[p.Metadata.Name+"/"+s.Name] = s.RestartCount
			}
		}
	}
	return figures{"restarts": n, "who": who, "pods": len(all)}, err
}

var applied = regexp.MustCompile(`(\d+) events applied`)

func eventsApplied(explained string) int {
	m := applied.FindStringSubmatch(explained)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // digits
	return n
}

// shown returns when docs/consumer showed each player's first recommendation,
// by the kubelet's time of its log.
func shown(ctx context.Context) (map[string]time.Time, error) {
	out, err := consumerLog(ctx, "--timestamps")
	seen := map[string]time.Time{}
	for line := range strings.Lines(out) {
		stamp, rest, _ := strings.Cut(line, " ")
		player, ok := strings.CutPrefix(rest, "player ")
		when, errTime := time.Parse(time.RFC3339Nano, stamp)
		if player, _, _ = strings.Cut(player, ":"); ok && errTime == nil && seen[player].IsZero() {
			seen[player] = when
		}
	}
	return seen, err
}

// messages counts the consumer's messages that begin so.
func messages(ctx context.Context, prefix string) (int, error) {
	out, err := consumerLog(ctx)
	return strings.Count("\n"+out, "\n"+prefix), err
}

func consumerLog(ctx context.Context, more ...string) (string, error) {
	return kubectl(ctx, append([]string{"-n", namespace, "logs", "-l", "serving.knative.dev/service=lobby", "-c", "user-container", "--tail=-1", "--max-log-requests=20"}, more...)...)
}

// newPlayer registers a player and begins a session, so that a failed payment is
// one that something can be done about.
func (c *cluster) newPlayer(ctx context.Context, player string) error {
	for kind, data := range map[string]string{
		"pitboss.account.registered.v1": `{"jurisdiction":"GB","birth_date":"1980-05-01","brand":"b","currency":"GBP"}`,
		"pitboss.session.started.v1":    `{"device":"web"}`,
	} {
		if err := c.post(ctx, kind, player, player+"-"+kind, data); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) fail(ctx context.Context, player string) error {
	return c.post(ctx, "pitboss.payment.failed.v1", player, player+"-failed", `{"operation":"deposit","amount":2000,"currency":"GBP","error":"card declined"}`)
}

// story is one POST through the ingress to the consuming team's Service, with
// whatever is at zero started on the way.
func story(ctx context.Context, c *cluster) (figures, error) {
	f := figures{}
	for _, name := range []string{"first_ms", "warm_ms"} {
		took, err := c.helped(ctx, strings.TrimSuffix(name, "_ms"))
		if err != nil {
			return f, err
		}
		f[name] = took.Milliseconds()
	}
	return f, nil
}

// helped plays a new player's failed payment until the consumer shows the help
// for it, and tells how long that took. A player of the holdout is replaced.
func (c *cluster) helped(ctx context.Context, name string) (took time.Duration, err error) {
	for held := 1; held > 0; {
		player := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
		if err := await(ctx, time.Minute, "POST", func() (bool, error) { err := c.newPlayer(ctx, player); return err == nil, err }); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := c.fail(ctx, player); err != nil {
			return 0, err
		}
		looks := 0
		err := await(ctx, 2*time.Minute, "the consumer's message", func() (bool, error) {
			seen, err := shown(ctx)
			if err == nil && !seen[player].IsZero() {
				took, held = seen[player].Sub(began), 0
				return true, nil
			}
			if looks++; err == nil && looks%10 == 0 {
				held, err = heldOut(ctx, []string{player})
				return held > 0, err
			}
			return false, err
		})
		if err != nil {
			return 0, err
		}
		log.Printf("%s: shown after %v; held out: %d", player, took, held)
	}
	return took, nil
}
