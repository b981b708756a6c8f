// Package redistest runs real redis-server processes for tests and benchmarks: one server,
// a primary with replicas and sentinels, or a Redis Cluster. Every process listens on a free
// port of 127.0.0.1, has its own folder, and can be killed and restarted.
//
// It needs redis-server 7.0 or later in PATH. Tests are skipped without it.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/test/cputime"
)

// Server is one redis-server process.
type Server struct {
	Addr string // host:port
	Dir  string // its working folder

	bin  string
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// ErrNoServer says that redis-server is not installed.
var ErrNoServer = errors.New("redistest: redis-server is not in PATH")

// Start runs a redis-server without persistence until tb ends and returns its
// URL. args are redis-server options, e.g. "--appendonly", "yes".
func Start(tb testing.TB, args ...string) (url string) {
	tb.Helper()
	return New(tb, args...).URL()
}

// Client returns a client of the server at url, which is closed when tb ends.
func Client(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	c := redis.NewClient(opt)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// New is [Start] for tests that kill or inspect the server.
func New(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s, err := Run(tb.TempDir(), args...)
	if errors.Is(err, ErrNoServer) {
		tb.Skip("redis-server is not installed: scripts/deps.sh installs it")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Run starts a redis-server in dir and waits until it answers. The caller ends
// it with [Server.Kill].
func Run(dir string, args ...string) (*Server, error) {
	return run(dir, nil, args...)
}

func run(dir string, mode []string, args ...string) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoServer
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: dir, bin: bin}
	s.args = append(s.args, mode...)
	s.args = append(s.args, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir,
		"--daemonize", "no", "--loglevel", "notice")
	if len(mode) == 0 {
		s.args = append(s.args, "--save", "", "--appendonly", "no")
	}
	s.args = append(s.args, args...)
	return s, s.Restart()
}

// URL returns the server's address as a redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Pid returns the process id, for CPU accounting.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Restart starts the process, again if it has ended, with the same port and files. It waits
// until the server answers PING.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	logFile, err := os.OpenFile(filepath.Join(s.Dir, "redis.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("redistest: log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(s.bin, s.args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // leaves no orphan if the test binary dies
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("redistest: start redis-server: %w", err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case <-done:
			out, _ := os.ReadFile(filepath.Join(s.Dir, "redis.log"))
			return fmt.Errorf("redistest: redis-server ended at once: %s", out)
		case <-time.After(5 * time.Millisecond):
		}
		if s.answers() {
			return nil
		}
	}
	return fmt.Errorf("redistest: redis-server at %s does not answer", s.Addr)
}

// answers reports whether the server has loaded its data set.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	// -NOAUTH is an answer too.
	return err == nil && !strings.HasPrefix(line, "-LOADING")
}

// Kill ends the process with SIGKILL and waits for it. It may be called again.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Pause stops the process (SIGSTOP), like a stalled host.
func (s *Server) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	<-s.done
}

// Ports are below those that Linux assigns by itself (net.ipv4.ip_local_port_range). So no
// other process gets a port after it is chosen and before a server listens on it, or while
// that server restarts.
const firstPort, ports = 10000, 22000

// nextPort is the next port to try. Each process starts at another one.
var nextPort atomic.Int64

func init() { nextPort.Store(int64(os.Getpid()) * 211) }

// FreePort returns a TCP port of 127.0.0.1 that is free and that it has not returned in this
// process before.
func FreePort() (int, error) {
	for range ports {
		port := firstPort + int(nextPort.Add(1)%ports)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("redistest: no port is free")
}

// CPU returns the processor time that the process has used.
func (s *Server) CPU() (time.Duration, error) { return cputime.Of(s.Pid()) }
