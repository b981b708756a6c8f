package main

import (
	"context"
	"errors"
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
	err  error         // why it ended; valid once done is closed
}

// launcher starts releases of functions.
type launcher struct {
	o     options
	dir   string // for logs
	redis string
	env   []string
}

// start starts a function on a free port. It does not wait for readiness.
func (p *launcher) start(function, models string, env ...string) (*release, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.o.function)
	cmd.Env = append(append(os.Environ(), p.environment(function, addr, models)...), env...)
	if err := begin(cmd, filepath.Join(p.dir, function+".log")); err != nil {
		return nil, err
	}
	r := &release{cmd: cmd, url: "http://" + addr, done: make(chan struct{})}
	go func() { r.err = cmd.Wait(); close(r.done) }()
	return r, nil
}

// environment returns the variables that a cluster would set for a function, and its
// address.
func (p *launcher) environment(function, addr, models string) []string {
	return append([]string{"FUNCTION_TARGET=" + function, "LISTEN_ADDRESS=" + addr, "REDIS_URL=" + p.redis, "MODELS_DIR=" + models}, p.env...)
}

// begin starts a process that appends its output to a log file and does not outlive this
// one.
func begin(cmd *exec.Cmd, log string) error {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

// ready waits until the readiness endpoint answers 200, as the kubelet and
// queue-proxy do before a pod gets requests.
func (r *release) ready(ctx context.Context) error { return r.readyWithin(ctx, 2*time.Millisecond) }

// readyWithin is ready with another interval between requests.
func (r *release) readyWithin(ctx context.Context, every time.Duration) error {
	return until(ctx, 30*time.Second, every, func() error {
		select {
		case <-r.done:
			return fmt.Errorf("%w: %s before it was ready: %w", errEnded, r.cmd.Path, r.err)
		default:
			return answers(ctx, r.url+"/health/readiness")
		}
	})
}

// errEnded ends waiting for a process that has ended.
var errEnded = errors.New("ended")

// until calls check repeatedly until it returns nil.
func until(ctx context.Context, limit, every time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(every):
		}
	}
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
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
