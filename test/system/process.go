package system

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pitboss/test/cputime"
)

// Process is a program that this process has started.
type Process struct {
	Name string

	dir       string
	env, argv []string
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
}

// Start runs a command with its output in dir/<name>.log.
func Start(dir, name string, env []string, argv ...string) (*Process, error) {
	p := &Process{Name: name, dir: dir, env: env, argv: argv}
	if err := os.Remove(p.log()); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("system: %w", err)
	}
	if err := p.Restart(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) log() string { return filepath.Join(p.dir, p.Name+".log") }

// Restart runs the command again after the process has ended, and appends to its log.
func (p *Process) Restart() error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("system: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A benchmark that is killed must not leave processes behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("system: start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	p.cmd, p.done = cmd, done
	return nil
}

// Stop sends SIGTERM, as Kubernetes does, and waits.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// Kill sends SIGKILL and waits.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Ended returns a channel that is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Succeeded reports whether a process that has ended had status 0.
func (p *Process) Succeeded() bool { return p.cmd.ProcessState.Success() }

// Usage returns what the process has used and holds.
func (p *Process) Usage() Usage { return UsageOf(p.cmd.Process.Pid) }

// LogTail returns the end of the process's log, for error messages.
func (p *Process) LogTail() string {
	raw, _ := os.ReadFile(p.log())
	if len(raw) > 600 {
		raw = raw[len(raw)-600:]
	}
	return strings.TrimSpace(string(raw))
}

// Usage is what one process has used and holds, from proc(5).
type Usage struct {
	CPU              time.Duration
	RSS, Peak        int64 // resident bytes, now and at the peak
	Threads, Handles int
}

// UsageOf reads the usage of a process. Values that cannot be read are 0.
func UsageOf(pid int) (u Usage) {
	u.CPU, _ = cputime.Of(pid)
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.RSS = n << 10
		case "VmHWM":
			u.Peak = n << 10
		case "Threads":
			u.Threads = int(n)
		}
	}
	handles, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.Handles = len(handles)
	return u
}

// Await requests url until it answers 200.
func Await(ctx context.Context, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		_, err := Get(ctx, url)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("system: %s is not ready after %s: %w", url, limit, last)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Get returns the body of a 200 answer.
func Get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("system: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("system: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("system: %s: %s: %.200s", url, res.Status, body)
	}
	return body, err
}
