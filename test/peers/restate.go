package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
	"github.com/valyala/fasthttp"

	"pitboss/test/system"
)

// restateServer is one restate-server with all roles, and restateapp. This process serves
// the consumer as a Restate service.
type restateServer struct {
	o     options
	tuned bool

	servers
	ledger              *ledger
	ingress, admin, app string // addresses
	end                 context.CancelFunc
}

// tunedRestate is set for speed: it does not fsync the log, like Redis's everysec and Kafka,
// keeps no journals, and has partitions for two cores.
var tunedRestate = []string{"RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC=true", "RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC=true",
	"RESTATE_DEFAULT_JOURNAL_RETENTION=0s", "RESTATE_DEFAULT_NUM_PARTITIONS=4"}

func (s *restateServer) start(ctx context.Context, l *ledger) (err error) {
	s.ledger, s.all = l, map[string]*system.Process{}
	if s.dir, err = os.MkdirTemp("", "restate-"); err != nil {
		return err
	}
	addrs, err := freeAddrs(5)
	if err != nil {
		return err
	}
	node, consumer := addrs[3], addrs[4]
	s.ingress, s.admin, s.app = addrs[0], addrs[1], addrs[2]
	if err := s.startServer(ctx, node); err != nil {
		return err
	}
	if _, err := s.run("app", nil, filepath.Join(s.o.bin, "restateapp"), s.app); err != nil {
		return err
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	life, end := context.WithCancel(context.Background())
	s.end = end
	go func() { // if it fails, the consumer cannot be registered
		_ = server.NewRestate().WithLogger(slog.DiscardHandler, true).Bind(restate.Reflect(Consumer{l})).Start(life, consumer)
	}()
	if err := listening(ctx, s.all["restate"], consumer, 10*time.Second); err != nil {
		return err
	}
	for _, addr := range []string{s.app, consumer} {
		if err := s.register(addr); err != nil {
			return err
		}
	}
	return nil
}

func (s *restateServer) startServer(ctx context.Context, node string) error {
	env := []string{"RESTATE_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=1"}
	for name, addr := range map[string]string{"RESTATE_INGRESS__BIND_PORT": s.ingress, "RESTATE_ADMIN__BIND_PORT": s.admin, "RESTATE_BIND_PORT": node} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		env = append(env, name+"="+port)
	}
	if s.tuned {
		env = append(env, tunedRestate...)
	}
	if _, err := s.run("restate", env, s.o.restate, "--base-dir", filepath.Join(s.dir, "data"), "--node-name", "n1", "--bind-ip", "127.0.0.1",
		"--advertised-host", "127.0.0.1", "--listen-mode", "tcp", "--no-logo", "--log-filter", "warn"); err != nil {
		return err
	}
	for _, url := range []string{"http://" + s.admin + "/health", "http://" + s.ingress + "/restate/health"} {
		if err := system.Await(ctx, url, 90*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// Consumer is the consuming team, as a Restate service.
type Consumer struct{ ledger *ledger }

// Take is its handler.
func (c Consumer) Take(_ restate.Context, o outcome) error {
	c.ledger.result(o.ID, o.Player, o.N)
	return nil
}

// register registers the services at addr with Restate.
func (s *restateServer) register(addr string) error {
	in, err := json.Marshal(map[string]any{"uri": "http://" + addr, "force": true})
	if err != nil {
		return err
	}
	res, err := http.Post("http://"+s.admin+"/deployments", "application/json", bytes.NewReader(in))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		return fmt.Errorf("restate: register %s: %s: %.300s", addr, res.Status, body)
	}
	return nil
}

func (s *restateServer) open(what path) sender {
	p := &poster{addr: s.ingress}
	handler := "Apply/send"
	if what == state {
		handler = "Fold"
		p.answer = func(e event, res *fasthttp.Response) {
			if !e.again { // Restate answers a repeated call, too
				_ = s.ledger.outcome(res.Body()) // one that cannot be read counts as lost
			}
		}
	}
	var body []byte
	p.request = func(b []byte, e event) []byte {
		body = plain(body[:0], e)
		return fmt.Appendf(b, "POST /Player/%s/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nIdempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
			e.player, handler, s.ingress, e.id, len(body), body)
	}
	return p
}

func (s *restateServer) Ready(ctx context.Context) error {
	return listening(ctx, s.all["app"], s.app, 30*time.Second)
}

func (s *restateServer) result(_ path, e event) string          { return e.id }
func (s *restateServer) first() []kind                          { return []kind{round} }
func (s *restateServer) applied(context.Context) (int64, error) { return s.ledger.applied(), nil }
func (s *restateServer) Application() []*system.Process         { return []*system.Process{s.all["app"]} }

func (s *restateServer) stop() {
	s.servers.stop("app")
	if s.end != nil {
		s.end()
	}
	_ = os.RemoveAll(s.dir)
}
