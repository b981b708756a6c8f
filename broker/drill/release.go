package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// release is one running version of a function: a process, as in a pod.
type release struct {
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when the process has ended
	err  error         // why; valid once done is closed
}

// plant starts releases.
type plant struct {
	o     options
	dir   string // logs
	redis string
	env   []string
}

// start starts a function on a free port. It does not wait for readiness.
func (p *plant) start(function, models string, env ...string) (*release, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(p.dir, function+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	bin, err := filepath.Abs(p.o.function)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin)
	cmd.Env = append(append(os.Environ(), p.env...), "FUNCTION_TARGET="+function, "LISTEN_ADDRESS="+addr, "REDIS_URL="+p.redis, "MODELS_DIR="+models)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", function, err)
	}
	r := &release{cmd: cmd, url: "http://" + addr, done: make(chan struct{})}
	go func() { r.err = cmd.Wait(); close(r.done) }()
	return r, nil
}

// ready waits until the readiness endpoint answers 200, as the kubelet and
// queue-proxy do before a pod gets requests.
func (r *release) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if answers(ctx, r.url+"/health/readiness") {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("%s ended before it was ready: %v", r.cmd.Path, r.err)
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready: %w", r.url, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// terminate sends SIGTERM and waits for the process to drain and end.
func (r *release) terminate() error {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
		return nil
	case <-time.After(40 * time.Second): // func-go gives requests 30 s
		_ = r.cmd.Process.Kill()
		return fmt.Errorf("%s did not end within 40 s of SIGTERM", r.url)
	}
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
