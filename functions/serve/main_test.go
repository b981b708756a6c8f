package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets a test run this binary as the function's process.
func TestMain(m *testing.M) {
	if os.Getenv("PITBOSS_TEST_AS") == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// knative is what Knative Serving sets in every container, with its port.
func knative(port string) []string {
	return []string{"PORT=" + port, "K_SERVICE=pitboss-ingest", "K_REVISION=pitboss-ingest-00001", "K_CONFIGURATION=pitboss-ingest"}
}

// The kubelet's probes reach a function of the image from outside its pod, but a function
// that is started by hand can be reached from this machine only. A process that listens on
// 127.0.0.1 does not answer on 127.0.0.2.
func TestWhereAFunctionListens(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("acme 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env     func(port string) []string
		outside bool
	}{
		"in the image on Knative": {func(port string) []string { return append(image(t, port), knative(port)...) }, true},
		"in the image":            {func(port string) []string { return image(t, port) }, true},
		"by hand":                 {func(port string) []string { return []string{"PORT=" + port} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serving(t, append(c.env(freePort(t)), "FUNCTION_TARGET=ingest", "INGEST_HMAC_KEYS_FILE="+keys))
			if status, body := p.get(t, "127.0.0.1"); status != http.StatusInternalServerError || !strings.Contains(body, "K_SINK") {
				t.Errorf("readiness without a Broker: %d %s", status, body)
			}
			conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.2", p.port), time.Second)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != c.outside {
				t.Errorf("from another address: %v", err)
			}
			if said := p.log(); strings.Count(said, "K_SINK") != 1 {
				t.Errorf("the reason is not in one line of the log:\n%s", said)
			}
		})
	}
}

// image returns the environment that the Dockerfile sets, on another port.
func image(t *testing.T, port string) []string {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ENV ((?:.*\\\n)*.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the Dockerfile has no ENV")
	}
	env := strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " "))
	for i := range env {
		env[i] = strings.Replace(env[i], ":8080", ":"+port, 1)
	}
	return env
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

type process struct {
	port  string
	mu    sync.Mutex
	lines bytes.Buffer
	ended chan struct{}
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines.String()
}

// serving starts this binary with env as its whole environment.
func serving(t *testing.T, env []string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	for _, e := range env {
		if i := strings.LastIndexByte(e, ':'); strings.HasPrefix(e, "LISTEN_ADDRESS=") {
			p.port = e[i+1:]
		} else if strings.HasPrefix(e, "PORT=") && p.port == "" {
			p.port = e[len("PORT="):]
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(env, "PITBOSS_TEST_AS=serve")
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.ended })
	return p
}

// get requests readiness until an answer names a reason.
func (p *process) get(t *testing.T, host string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case <-p.ended:
			t.Fatalf("the process has ended:\n%s", p.log())
		case <-time.After(10 * time.Millisecond):
		}
		resp, err := http.Get("http://" + net.JoinHostPort(host, p.port) + "/health/readiness")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if status, body = resp.StatusCode, string(text); status != http.StatusServiceUnavailable {
			return status, body
		}
	}
	t.Fatalf("no answer: %d %s\n%s", status, body, p.log())
	return status, body
}

// A function's base image has no time zones, but quiet hours and calendar months follow the
// player's.
func TestTimeZonesAreInTheBinary(t *testing.T) {
	t.Parallel()
	deps, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "\ntime/tzdata\n") {
		t.Error("time/tzdata is not linked")
	}
}
