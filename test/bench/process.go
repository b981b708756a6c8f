// Package bench measures Pitboss as it is deployed: release binaries, a real
// redis-server, the Broker and every function as a process of its own, and an
// open-loop loader that notices queueing.
package bench

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

	"pitboss/test/redistest"
)

// process is one running component.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
}

// start runs a command with its output in dir/<name>.log.
func start(dir, name string, env []string, argv ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A benchmark that is killed must leave nothing running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("bench: start %s: %w", name, err)
	}
	return &process{name: name, cmd: cmd, log: log}, nil
}

// stop sends SIGTERM, as Kubernetes does, and waits.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
	p.log.Close()
}

// usage is what one process has used and holds, from proc(5).
type usage struct {
	CPU              time.Duration
	RSS, Peak        int64 // bytes resident, now and at most so far
	Threads, Handles int
}

// usageOf reads the usage of a process; what cannot be read is 0.
func usageOf(pid int) (u usage) {
	u.CPU, _ = redistest.ProcessCPU(pid)
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

// await polls url until it answers 200.
func await(ctx context.Context, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(body)))
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bench: %s is not ready after %s: %w", url, limit, last)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
