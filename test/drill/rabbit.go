package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// rabbit is a RabbitMQ node: Debian's rabbitmq-server with its files in a folder, on free
// ports of 127.0.0.1.
type rabbit struct {
	node, epmd *pod
	amqp       string // host:port
	api        string // URL of the management API
}

// rabbitServer avoids Debian's wrapper, which would change to another user.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

func startRabbit(ctx context.Context, dir string) (*rabbit, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var port [4]string
	for i := range port {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, port[i], _ = net.SplitHostPort(addr)
	}
	r := &rabbit{amqp: "127.0.0.1:" + port[0], api: "http://127.0.0.1:" + port[1] + "/api"}
	for name, text := range map[string]string{
		"rabbitmq.conf": "listeners.tcp.1 = " + r.amqp + "\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + port[1] +
			"\ncollect_statistics_interval = 1000\nlog.file.level = warning\n",
		"enabled_plugins": "[rabbitmq_management].\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return nil, err
	}
	r.epmd = &pod{name: "epmd", bin: epmd, args: []string{"-port", port[2], "-address", "127.0.0.1"}, dir: dir}
	r.node = &pod{name: "rabbitmq", bin: rabbitServer, dir: dir, env: []string{
		"HOME=" + dir, "RABBITMQ_NODENAME=durable@localhost", "ERL_EPMD_PORT=" + port[2], "RABBITMQ_DIST_PORT=" + port[3],
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq"), "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_ALLOW_INPUT=1", // the script execs the node, so that killing it kills the node
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}"}}
	for _, p := range []*pod{r.epmd, r.node} {
		if err := p.run(); err != nil {
			return r, err
		}
	}
	return r, r.ready(ctx)
}

// ready waits until the node accepts connections and answers.
func (r *rabbit) ready(ctx context.Context) error {
	return until(ctx, time.Minute, 100*time.Millisecond, func() error {
		c, err := net.DialTimeout("tcp", r.amqp, time.Second)
		if err != nil {
			return err
		}
		c.Close()
		return r.call(ctx, http.MethodGet, "/overview", nil, nil)
	})
}

func (r *rabbit) stop() {
	r.node.stop()
	r.epmd.stop()
}

// call calls the management API, as the messaging topology operator does.
func (r *rabbit) call(ctx context.Context, method, path string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.api+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.SetBasicAuth("guest", "guest") // RabbitMQ's own default, for loopback only
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s", bytes.TrimSpace(body))
	}
	if err == nil && out != nil {
		err = json.Unmarshal(body, out)
	}
	if err != nil {
		return fmt.Errorf("rabbitmq: %s %s: %s: %w", method, path, resp.Status, err)
	}
	return nil
}

// topology is what the RabbitMQ Broker's controller would create. test/durable prints
// it.
type topology struct {
	Exchanges []struct {
		Name, Type string
		Durable    bool
	}
	Queues []struct {
		Name, Type string
		Durable    bool
	}
	Bindings []struct {
		Source, Destination string
		Arguments           json.RawMessage
	}
	Policies []struct {
		Name, Pattern, ApplyTo string
		Priority               int
		Definition             json.RawMessage
	}
	Processes []struct {
		Name, Binary, Broker string
		Env                  map[string]string
	}
}

// declare creates the topology, as the messaging topology operator does.
func (r *rabbit) declare(ctx context.Context, t *topology) error {
	type object = map[string]any
	put := func(kind, name string, o object) error {
		return r.call(ctx, http.MethodPut, "/"+kind+"/%2F/"+url.PathEscape(name), o, nil)
	}
	for _, e := range t.Exchanges {
		if err := put("exchanges", e.Name, object{"type": e.Type, "durable": e.Durable}); err != nil {
			return err
		}
	}
	for _, q := range t.Queues {
		if err := put("queues", q.Name, object{"durable": q.Durable, "arguments": object{"x-queue-type": q.Type}}); err != nil {
			return err
		}
	}
	for _, p := range t.Policies {
		o := object{"pattern": p.Pattern, "apply-to": p.ApplyTo, "priority": p.Priority, "definition": p.Definition}
		if err := put("policies", p.Name, o); err != nil {
			return err
		}
	}
	for _, b := range t.Bindings {
		path := "/bindings/%2F/e/" + url.PathEscape(b.Source) + "/q/" + url.PathEscape(b.Destination)
		if err := r.call(ctx, http.MethodPost, path, object{"routing_key": "", "arguments": b.Arguments}, nil); err != nil {
			return err
		}
	}
	return nil
}

// waiting returns how many messages the queues hold whose names contain name, including
// those that are delivered but not acknowledged. dead counts those in dead-letter queues.
func (r *rabbit) waiting(ctx context.Context, name string) (all, dead int, err error) {
	var queues []struct {
		Name     string
		Messages int
	}
	if err := r.call(ctx, http.MethodGet, "/queues", nil, &queues); err != nil {
		return 0, 0, err
	}
	for _, q := range queues {
		if !strings.Contains(q.Name, name) {
			continue
		}
		all += q.Messages
		if strings.Contains(q.Name, ".dlq.") {
			dead += q.Messages
		}
	}
	return all, dead, nil
}
