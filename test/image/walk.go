package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// walk starts every function from the image and sends an event through profile, score and
// decide.
func walk(ctx context.Context, root, dir string, c *container) error {
	redis, stop, err := startRedis(dir)
	if err != nil {
		return err
	}
	defer stop()
	sink, err := net.Listen("tcp", "127.0.0.1:0") // for ingest and timer, which send nothing here
	if err != nil {
		return err
	}
	defer sink.Close()
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "func.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no func.yaml: %w", err)
	}
	urls := map[string]string{}
	for _, file := range files {
		p, err := c.start(ctx, file, redis, "http://"+sink.Addr().String())
		if err != nil {
			return err
		}
		defer p.kill()
		if err := p.ready(ctx); err != nil {
			return fmt.Errorf("%s: %w\n%s", p.function, err, p.log.String())
		}
		if err := p.lockedUp(); err != nil {
			return fmt.Errorf("%s: %w", p.function, err)
		}
		urls[p.function] = p.url
		defer p.end(&err)
	}
	id, err := decision(ctx, urls)
	if err != nil {
		return err
	}
	env := map[string]string{"REDIS_URL": redis, "MODELS_DIR": "/func/models"} // as in the console's container
	for _, cli := range []struct{ args, says string }{
		{"journal verify", "every chain is whole"},
		{"explain " + id, "payment_help"},
		{"features explain alice", "2 events applied"},
	} {
		out, err := c.command(ctx, c.user(), env, append([]string{"/func/cli"}, strings.Fields(cli.args)...)...).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(cli.says)) {
			return fmt.Errorf("/func/cli %s: %v: %s", cli.args, err, out)
		}
		line, _, _ := bytes.Cut(out, []byte("\n"))
		fmt.Printf("%-18s %s: %s\n", "/func/cli", cli.args, line)
	}
	return nil
}

// process is a confined function.
type process struct {
	function, url string
	cmd           *exec.Cmd
	log           *bytes.Buffer
	done          chan struct{}
	uid           string
}

// anybody is a user that neither the image nor a func.yaml names, as in clusters that choose
// one for each namespace.
const anybody = "1000730000"

// start starts a function with the environment of the image, of its func.yaml and of
// Knative, and with Secrets of this run. It probes the function on 127.0.0.2, which a
// process that listens only on 127.0.0.1 does not answer, as probes come from outside.
func (c *container) start(ctx context.Context, file, redis, sink string) (*process, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f struct {
		Run struct {
			Envs    []struct{ Name, Value string }
			Volumes []struct{ Secret, ConfigMap, Path string }
		}
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	env := c.env()
	for k, v := range map[string]string{"PORT": port, "K_SERVICE": "pitboss", "K_REVISION": "pitboss-00001", "K_CONFIGURATION": "pitboss", "K_SINK": sink} {
		env[k] = v
	}
	env["LISTEN_ADDRESS"] = strings.Replace(env["LISTEN_ADDRESS"], ":8080", ":"+port, 1) // each pod has its own port 8080
	for _, e := range f.Run.Envs {
		env[e.Name] = e.Value
	}
	if env["METRICS_ADDR"] != "" {
		env["METRICS_ADDR"] = "127.0.0.1:0" // in a cluster each pod has its own 9464
	}
	if env["REDIS_URL"] != "" {
		env["REDIS_URL"] = redis
	}
	for _, v := range f.Run.Volumes {
		if err := c.mount(v.Secret+v.ConfigMap, v.Path); err != nil {
			return nil, err
		}
	}
	p := &process{function: filepath.Base(filepath.Dir(file)), url: "http://127.0.0.2:" + port, log: &bytes.Buffer{}, done: make(chan struct{}), uid: anybody}
	p.cmd = c.command(ctx, p.uid, env, c.conf.Cmd...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// mount makes a file of the cluster available at the path where the function reads it.
func (c *container) mount(name, path string) error {
	to := filepath.Join(c.root, path)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	write := func(key, text string) error { return os.WriteFile(filepath.Join(to, key), []byte(text), 0o644) }
	switch name {
	case "pitboss-ingest-hmac":
		return write("keys", "platform 0123456789abcdef\n")
	case "pitboss-console":
		return write("tokens", "viewer vera 0123456789abcdef\n")
	case "pitboss-serving":
		serving, err := os.ReadFile(filepath.Join(c.root, "func/models/serving.yaml"))
		return errors.Join(err, write("serving.yaml", string(serving)))
	}
	return fmt.Errorf("image: nobody makes %s", name)
}

// command runs a program of the image in its own mount namespace, with a read-only root and
// only /proc mounted, as user, and without capabilities or a way to get them. env is its
// whole environment.
func (c *container) command(ctx context.Context, user string, env map[string]string, args ...string) *exec.Cmd {
	const cage = `mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -o remount,ro,bind "$0" && cd / &&
exec setpriv --no-new-privs /usr/sbin/chroot --userspec="$1:$1" --groups="$1" "$0" "${@:2}"`
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation", "private", "bash", "-c", cage, c.root, user}, args...)...)
	cmd.Dir = c.root
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *process) ready(ctx context.Context) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(p.url + "/health/readiness")
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}

// lockedUp checks with the kernel that the process is confined.
func (p *process) lockedUp() error {
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return err
	}
	for _, want := range []string{"Uid:\t" + p.uid + "\t", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !bytes.Contains(status, []byte(want)) {
			return fmt.Errorf("it is not locked up: no %q in\n%s", want, status)
		}
	}
	if err := os.WriteFile(proc+"root/func/written", nil, 0o644); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("its root can be written to: %v", err)
	}
	exe, err := os.Readlink(proc + "exe")
	fmt.Printf("%-18s ready: %s, user %s, no capabilities, read-only root\n", p.function, exe[strings.LastIndex(exe, "/func/"):], p.uid)
	return err
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// end sends SIGTERM, as the kubelet does.
func (p *process) end(err *error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if !p.cmd.ProcessState.Success() && *err == nil {
			*err = fmt.Errorf("%s: %v on SIGTERM\n%s", p.function, p.cmd.ProcessState, p.log.String())
		}
	case <-time.After(35 * time.Second):
		*err = errors.Join(*err, fmt.Errorf("%s does not end on SIGTERM", p.function))
	}
}

// decision sends a player's account and a failed payment through the functions.
func decision(ctx context.Context, urls map[string]string) (id string, err error) {
	post := func(function string, h http.Header, body []byte) (http.Header, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, urls[function], bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		for k, v := range h {
			if strings.HasPrefix(k, "Ce-") || k == "Content-Type" {
				req.Header[k] = v
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode/100 != 2 {
			err = fmt.Errorf("%s: %s: %s", function, resp.Status, body)
		}
		return resp.Header, body, err
	}
	event := func(id, typ string, data map[string]any) (http.Header, []byte) {
		body, _ := json.Marshal(data)
		return http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/image"}, "Ce-Type": {typ}, "Ce-Subject": {"alice"},
			"Ce-Time": {time.Now().UTC().Format(time.RFC3339)}, "Content-Type": {"application/json"}}, body
	}
	h, body := event("1", "pitboss.account.registered.v1", map[string]any{"jurisdiction": "GB", "birth_date": "1980-05-01", "brand": "b", "currency": "GBP"})
	if _, _, err := post("profile", h, body); err != nil {
		return "", err
	}
	h, body = event("2", "pitboss.payment.failed.v1", map[string]any{"operation": "deposit", "amount": 2000, "currency": "GBP", "error": "card declined"})
	for _, f := range []string{"profile", "score", "decide"} {
		if h, body, err = post(f, h, body); err != nil {
			return "", err
		}
	}
	if typ := h.Get("Ce-Type"); !slices.Contains([]string{"pitboss.recommendation.issued.v1", "pitboss.recommendation.suppressed.v1"}, typ) {
		return "", fmt.Errorf("decide answered %q: %s", typ, body)
	}
	fmt.Printf("%-18s %s %s\n", "an event", h.Get("Ce-Type"), h.Get("Ce-Action"))
	var data struct{ Decision string }
	err = json.Unmarshal(body, &data)
	return data.Decision, err
}

func startRedis(dir string) (url string, stop func(), err error) {
	addr, err := freeAddr()
	if err != nil {
		return "", nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	return "redis://" + addr, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
