package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Two people of the cluster's Secret pitboss-console: what loosens a running
// system takes both.
const (
	vera = "0123456789abcdef-vera"
	carl = "0123456789abcdef-carl"
)

// console does through the cluster what people do on the console's page: it stops
// an action by its kill switch and lets it go again, erases a player, and exports
// one. Each goes through the console's Service, Redis and the Broker.
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
	}{{"kill_switch", killSwitch}, {"export", exportPlayer}, {"erase", erasePlayer}} {
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
	turn := map[string]any{"what": "action", "name": "payment_help", "on": true, "reason": "tried on a cluster"}
	if _, err := p.ask(ctx, vera, http.MethodPost, "/api/switches", turn); err != nil {
		return err
	}
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
	_, err = c.helped(ctx, "helped")
	return err
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
