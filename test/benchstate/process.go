package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"pitboss/test/cputime"
	"pitboss/test/redistest"
)

// process is this program in one of its roles.
type process struct {
	cmd *exec.Cmd
	out *bufio.Reader
	in  io.WriteCloser
	err bytes.Buffer
}

func start(env []string, role string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own path: %w", err)
	}
	p := &process{cmd: exec.Command(self, append([]string{role}, args...)...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	p.out = bufio.NewReader(out)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu returns the processor time that p has used.
func (p *process) cpu() time.Duration {
	d, _ := cputime.Of(p.cmd.Process.Pid)
	return d
}

// function is a func-go server in another process.
type function struct {
	*process
	addr string
}

func startFunction(role string, env ...string) (*function, error) {
	port, err := redistest.FreePort()
	if err != nil {
		return nil, err
	}
	f := &function{addr: fmt.Sprintf("127.0.0.1:%d", port)}
	f.process, err = start(append(env, "LISTEN_ADDRESS="+f.addr, "LOG_LEVEL=error"), role)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		res, err := http.Get("http://" + f.addr + "/health/readiness")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return f, nil
		}
	}
	f.stop()
	return nil, fmt.Errorf("%s is not ready after 10 s: %s", role, f.err.String())
}

// measured is a load's result with the processor time that it took.
type measured struct {
	loadResult
	function, redis, load time.Duration // processor time
}

func (m *measured) rate() float64 { return float64(m.Sent) / m.Took.Seconds() }

// us returns the processor time for each event, in microseconds.
func (m *measured) us(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1e3 / float64(m.Sent)
}

// measure runs a load process against a function (nil: none) and redis (nil: none).
func measure(f *function, r *redistest.Server, role string, args ...string) (*measured, error) {
	p, err := start([]string{"GOGC=400"}, role, args...)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if _, err := p.out.ReadString('\n'); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", role, err, p.err.String())
	}
	used := func() (fn, rd time.Duration) {
		if f != nil {
			fn = f.cpu()
		}
		if r != nil {
			rd, _ = r.CPU()
		}
		return fn, rd
	}
	m := &measured{load: -p.cpu()}
	fn, rd := used()
	if _, err := p.in.Write([]byte("go\n")); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", role, err, p.err.String())
	}
	fn2, rd2 := used()
	m.function, m.redis, m.load = fn2-fn, rd2-rd, m.load+p.cpu()
	if err := json.Unmarshal(line, &m.loadResult); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	if m.Errors > 0 {
		return nil, fmt.Errorf("%s: %d of %d failed, e.g. %s", role, m.Errors, m.Sent, m.Example)
	}
	return m, nil
}
