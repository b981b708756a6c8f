package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Two people of the cluster's Secret pitboss-console: what loosens a running
// system takes both.
const (
	vera = "0123456789abcdef-vera"
	carl = "0123456789abcdef-carl"
)

// untilRead: each instance reads the switches every 250 ms.
const untilRead = time.Second

// console does through the cluster what people do on the console's page: it stops
// an action by its kill switch and lets it go again, decides a case, exports a
// player and erases one. Each goes through the console's Service, Redis and the
// Broker. And another version of a model is made live, which on a cluster
// scripts/promote.sh does.
func console(ctx context.Context, c *cluster) (figures, error) {
	address, err := internalIngress(ctx)
	if err != nil {
		return nil, err
	}
	p := &people{url: "http://" + address}
	f := figures{}
	for _, step := range []struct {
		name string
		do   func(context.Context, *cluster, *people) error
	}{{"kill_switch", killSwitch}, {"review", reviewCase}, {"export", exportPlayer}, {"erase", erasePlayer}, {"promote", promote}} {
		began := time.Now()
		if err := step.do(ctx, c, p); err != nil {
			return f, fmt.Errorf("%s: %w", step.name, err)
		}
		f[step.name+"_ms"] = time.Since(began).Milliseconds()
	}
	return f, nil
}

// killSwitch: while payment_help is stopped a failed payment is decided on and
// nothing is sent; after two people let it go, the next one's help is shown.
func killSwitch(ctx context.Context, c *cluster, p *people) error {
	turn := map[string]any{"what": "action", "name": "payment_help", "on": true, "note": "tried on a cluster"}
	if _, err := p.ask(ctx, vera, http.MethodPost, "/api/switches", turn); err != nil {
		return err
	}
	time.Sleep(untilRead)
	stopped := fmt.Sprintf("stopped-%d", time.Now().UnixNano())
	if err := c.newPlayer(ctx, stopped); err != nil {
		return err
	}
	if err := c.fail(ctx, stopped); err != nil {
		return err
	}
	err := await(ctx, time.Minute, "a decision that says why", func() (bool, error) {
		text, err := cli(ctx, "explain", "--player", stopped)
		return strings.Contains(text, "suppressed"), err
	})
	if err != nil {
		return err
	}
	if n, err := messages(ctx, "player "+stopped+":"); err != nil || n > 0 {
		return fmt.Errorf("%d messages although the action is stopped: %v", n, err)
	}
	turn["on"] = false
	var proposed struct {
		Proposal struct {
			ID string `json:"id"`
		} `json:"proposal"`
	}
	text, err := p.ask(ctx, vera, http.MethodPost, "/api/switches", turn)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &proposed); err != nil || proposed.Proposal.ID == "" {
		return fmt.Errorf("no proposal: %s: %v", text, err)
	}
	approve := "/api/proposals/" + proposed.Proposal.ID + "/approve"
	if _, err := p.ask(ctx, vera, http.MethodPost, approve, map[string]any{}); err == nil {
		return fmt.Errorf("vera approved what vera proposed")
	}
	if _, err := p.ask(ctx, carl, http.MethodPost, approve, map[string]any{}); err != nil {
		return err
	}
	time.Sleep(untilRead)
	_, err = c.helped(ctx, "helped")
	return err
}

// reviewCase: a deposit of 5,000 GBP in a day is a strong marker, so somebody is
// asked to look at the protection that follows; what is said leaves the queue.
func reviewCase(ctx context.Context, c *cluster, p *people) error {
	player := fmt.Sprintf("reviewed-%d", time.Now().UnixNano())
	if err := c.newPlayer(ctx, player); err != nil {
		return err
	}
	if err := c.post(ctx, "pitboss.payment.deposited.v1", player, player+"-deposit", `{"amount":500000,"currency":"GBP"}`); err != nil {
		return err
	}
	var cases struct {
		Open, Done []struct{ Decision, Player string }
	}
	find := func(list *[]struct{ Decision, Player string }) func() (bool, error) {
		return func() (bool, error) {
			text, err := p.ask(ctx, vera, http.MethodGet, "/api/reviews", nil)
			if err == nil {
				err = json.Unmarshal(text, &cases)
			}
			*list = slices.DeleteFunc(*list, func(d struct{ Decision, Player string }) bool { return d.Player != player })
			return len(*list) > 0, err
		}
	}
	if err := await(ctx, time.Minute, "a case to look at", find(&cases.Open)); err != nil {
		return err
	}
	said := map[string]any{"verdict": "approved", "note": "looked at on a cluster"}
	if _, err := p.ask(ctx, vera, http.MethodPost, "/api/reviews/"+cases.Open[0].Decision, said); err != nil {
		return err
	}
	return await(ctx, time.Minute, "the case among those that are done", find(&cases.Done))
}

// promote makes leave's shadow version live and goes back: score follows the
// ConfigMap without a new revision.
func promote(ctx context.Context, c *cluster, _ *people) error {
	for _, step := range []struct{ to, version string }{{"v2", "v2"}, {"--rollback", "v1"}} {
		if out, err := exec.CommandContext(ctx, "scripts/promote.sh", "leave", step.to).CombinedOutput(); err != nil {
			return fmt.Errorf("promote.sh leave %s: %w: %s", step.to, err, out)
		}
		err := await(ctx, 3*time.Minute, "a decision by leave "+step.version, func() (bool, error) { return c.decidesBy(ctx, step.version) })
		if err != nil {
			return err
		}
	}
	return nil
}

// decidesBy asks for a new player's decision, and whether it rests on this version of leave.
func (c *cluster) decidesBy(ctx context.Context, version string) (bool, error) {
	player := fmt.Sprintf("promoted-%d", time.Now().UnixNano())
	if err := c.newPlayer(ctx, player); err != nil {
		return false, err
	}
	if err := c.fail(ctx, player); err != nil {
		return false, err
	}
	var decision string
	err := await(ctx, time.Minute, "a decision on "+player, func() (bool, error) {
		text, err := cli(ctx, "explain", "--player", player)
		if fields := strings.Fields(text); len(fields) > 1 {
			decision = fields[1]
		}
		return decision != "", err
	})
	if err != nil {
		return false, err
	}
	text, err := cli(ctx, "explain", decision)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "model leave "+version+" ") {
			return !strings.Contains(line, "shadow"), err
		}
	}
	return false, err
}

func exportPlayer(ctx context.Context, c *cluster, p *people) error {
	player := fmt.Sprintf("exported-%d", time.Now().UnixNano())
	if err := c.newPlayer(ctx, player); err != nil {
		return err
	}
	reference := "E-" + player
	if err := p.known(ctx, player); err != nil {
		return err
	}
	if _, err := p.ask(ctx, vera, http.MethodPost, "/api/players/"+player+"/export", map[string]any{"request": reference}); err != nil {
		return err
	}
	return await(ctx, time.Minute, "the export", func() (bool, error) {
		text, err := cli(ctx, "privacy", "fetch", reference)
		return strings.Contains(text, "1980-05-01"), err
	})
}

func erasePlayer(ctx context.Context, c *cluster, p *people) error {
	player := fmt.Sprintf("erased-%d", time.Now().UnixNano())
	if err := c.newPlayer(ctx, player); err != nil {
		return err
	}
	if err := p.known(ctx, player); err != nil {
		return err
	}
	in := map[string]any{"request": "R-" + player, "confirm": player}
	if _, err := p.ask(ctx, vera, http.MethodPost, "/api/players/"+player+"/erase", in); err != nil {
		return err
	}
	return await(ctx, time.Minute, "the erasure", func() (bool, error) {
		text, err := p.ask(ctx, vera, http.MethodGet, "/api/players/"+player, nil)
		return err != nil && strings.Contains(err.Error(), "404") || bytes.Contains(text, []byte("erased_at")), nil
	})
}

// people ask the console, each with a token.
type people struct{ url string }

// known waits until the console shows the player.
func (p *people) known(ctx context.Context, player string) error {
	return await(ctx, time.Minute, "the player's page", func() (bool, error) {
		text, err := p.ask(ctx, vera, http.MethodGet, "/api/players/"+player, nil)
		return bytes.Contains(text, []byte("GB")), err
	})
}

func (p *people) ask(ctx context.Context, token, method, path string, in any) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = "pitboss-console.pitboss.svc.cluster.local"
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

// internalIngress is the address of the ingress for Services inside the cluster.
func internalIngress(ctx context.Context) (string, error) {
	return kubectl(ctx, "-n", "kourier-system", "get", "service", "ingress-internal", "-o", "jsonpath={.spec.clusterIP}")
}
