package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"pitboss/test/cputime"
	"pitboss/test/redistest"
)

// proxied repeats the full load through Knative's queue-proxy, which is in front of every
// function on a cluster.
func (b *bench) proxied() error {
	if b.opt.proxy == "" {
		fmt.Fprintln(os.Stderr, "proxy: no -proxy; left out")
		return nil
	}
	if err := b.populate(b.opt.players); err != nil {
		return err
	}
	cmd, addr, err := startProxy(b.opt.proxy, b.fn.addr)
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	before, err := cputime.Of(cmd.Process.Pid)
	if err != nil {
		return err
	}
	m, err := b.load(b.opt.players, 0, "-addr", addr)
	if err != nil {
		return err
	}
	after, err := cputime.Of(cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.figures.ProxiedEventsPerS, b.figures.ProxyCPUUs = m.rate(), m.us(after-before)
	b.row("behind queue-proxy: events/s", m.rate(), "")
	b.row("  CPU an event, queue-proxy, µs", m.us(after-before), "")
	b.row("  CPU an event, function + Redis, µs", m.us(m.function+m.redis), "")
	return nil
}

// startProxy starts queue-proxy with the environment of a pod, without a concurrency limit,
// and waits until it sees the function ready.
func startProxy(bin, function string) (*exec.Cmd, string, error) {
	port, err := redistest.FreePort()
	if err != nil {
		return nil, "", err
	}
	_, userPort, err := net.SplitHostPort(function)
	if err != nil {
		return nil, "", fmt.Errorf("function's address: %w", err)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "CONTAINER_CONCURRENCY=0", fmt.Sprint("QUEUE_SERVING_PORT=", port), "QUEUE_SERVING_TLS_PORT=0",
		"USER_PORT="+userPort, "REVISION_TIMEOUT_SECONDS=30", "SERVING_LOGGING_CONFIG=", "SERVING_LOGGING_LEVEL=warn", "SERVING_NAMESPACE=default",
		"GODEBUG=", "SERVING_SERVICE=pitboss-profile", "SERVING_CONFIGURATION=pitboss-profile", "SERVING_REVISION=pitboss-profile-1",
		"SERVING_POD=pitboss-profile-1-x", "SERVING_POD_IP=127.0.0.1",
		`SERVING_READINESS_PROBE={"httpGet":{"host":"127.0.0.1","path":"/health/readiness","port":`+userPort+`,"scheme":"HTTP"},"successThreshold":1}`)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("queue-proxy: %w", err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		req, _ := http.NewRequest(http.MethodGet, "http://"+addr, nil)
		req.Header.Set("User-Agent", "Knative-Activator-Probe")
		req.Header.Set("K-Network-Probe", "queue")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return cmd, addr, nil
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, "", fmt.Errorf("queue-proxy at %s is not ready after 20 s (it needs ports 8022, 9090 and 9091)", addr)
}
