package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// pod is a process that is restarted whenever it ends, as by a kubelet.
type pod struct {
	name string
	bin  string
	env  []string // in addition to this process's
	args []string
	dir  string // for its log

	mu      sync.Mutex
	cmd     *exec.Cmd
	stopped bool
	done    chan struct{} // closed when it has ended for good
	starts  int
}

// run starts the pod.
func (p *pod) run() error {
	p.done = make(chan struct{})
	if err := p.start(); err != nil {
		close(p.done)
		return err
	}
	go func() {
		defer close(p.done)
		for {
			_ = p.cmd.Wait()
			time.Sleep(200 * time.Millisecond)
			if p.ended() || p.start() != nil { // every process that was started is waited for
				return
			}
		}
	}()
	return nil
}

func (p *pod) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil
	}
	cmd := exec.Command(p.bin, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	if err := begin(cmd, filepath.Join(p.dir, p.name+".log")); err != nil {
		return err
	}
	p.cmd = cmd
	p.starts++
	return nil
}

func (p *pod) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// kill sends SIGKILL. The process is restarted.
func (p *pod) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(syscall.SIGKILL)
}

// stop ends the pod for good.
func (p *pod) stop() {
	p.mu.Lock()
	p.stopped = true
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
	}
	p.mu.Unlock()
	if p.done != nil {
		<-p.done
	}
}
