package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	events "pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
	"pitboss/test/system"
)

// pitboss is the one-machine Broker, a redis-server with an append-only file, and profile,
// score and decide, in the Broker's process or in one process each. Every event leads to a
// score and a decision, whether or not features.yaml asks for one.
type pitboss struct {
	o        options
	overHTTP bool
	fsync    bool // fsync the Broker's log and Redis's file before anything is acknowledged

	*system.System
	ledger   *ledger
	consumer net.Listener
	rdb      redisdb.Client
	states   *player.Store[feature.State]
}

func (p *pitboss) start(ctx context.Context, l *ledger) (err error) {
	p.ledger = l
	if p.consumer, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	go func() { // ends with its listener
		_ = (&fasthttp.Server{Handler: consumer(l), ReadBufferSize: 16 << 10}).Serve(p.consumer)
	}()
	cfg := system.Config{Bin: p.o.bin, Functions: []string{"profile", "score", "decide"}, Consumer: p.consumer.Addr().String(),
		Env: []string{"SCORE_WHEN=always"}, InProcess: !p.overHTTP, Redis: []string{"--appendonly", "yes", "--appendfsync", "everysec"}}
	if p.fsync {
		cfg.Redis[3], cfg.Broker = "always", []string{"--fsync"}
	}
	if p.System, err = system.Run(ctx, cfg); err != nil {
		return err
	}
	set, err := feature.Load(filepath.Join("models", "features.yaml"))
	if err != nil {
		return err
	}
	if p.rdb, err = redisdb.Open(ctx, p.RedisURL); err != nil {
		return err
	}
	p.states = player.NewStore(p.rdb, set, player.Config{})
	return nil
}

// consumer is the consuming team.
func consumer(l *ledger) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Request.Header
		switch string(h.Peek("Ce-Type")) {
		case events.TypeRecommendation, events.TypeSuppressed:
			l.result(string(h.Peek("Ce-Id")), string(h.Peek("Ce-Subject")), 0)
		}
	}
}

const eventSource = "/peers"

// result is the id of the decision. It derives from the event's id through the replies of
// profile, score and decide.
func (p *pitboss) result(what path, e event) string {
	if what == state {
		return e.id
	}
	from, id := eventSource, e.id
	for _, step := range [][2]string{{"profile", events.TypePlayerUpdated}, {"score", events.TypePlayerScored}} {
		from, id = events.SourceOf(step[0]), events.ReplyID(from, id, step[1])
	}
	return journal.DecisionID(e.player, events.ReplyID(from, id, events.TypeRecommendation))
}

func (p *pitboss) first() []kind { return []kind{account, consent} }

func (p *pitboss) open(what path) sender {
	if what == whole {
		return post(strings.TrimPrefix(p.BrokerURL, "http://"))
	}
	s := post(p.Hosts["profile"])
	s.answer = func(e event, _ *fasthttp.Response) {
		if !e.again { // a repeated event is answered, too
			p.ledger.result(e.id, e.player, 0)
		}
	}
	return s
}

func post(addr string) *poster {
	return &poster{addr: addr, request: func(b []byte, e event) []byte {
		typ, data := cloudEvent(e)
		at := e.at.UTC().Format(time.RFC3339Nano)
		return fmt.Appendf(b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nCe-Specversion: 1.0\r\nCe-Type: %s\r\nCe-Source: %s\r\n"+
			"Ce-Id: %s\r\nCe-Subject: %s\r\nCe-Partitionkey: %s\r\nCe-Time: %s\r\nCe-Receivedtime: %s\r\nContent-Length: %d\r\n\r\n%s",
			addr, typ, eventSource, e.id, e.player, e.player, at, at, len(data), data)
	}}
}

func cloudEvent(e event) (typ, data string) {
	switch e.kind {
	case account:
		return events.TypeAccountRegistered, `{"jurisdiction":"GB","birth_date":"1985-04-03","brand":"lucky-harbour","currency":"GBP","tier":"blue","time_zone":"Europe/London"}`
	case consent:
		return events.TypeConsentChanged, `{"product":"all","channel":"in_app","granted":true}`
	}
	return events.TypeRoundSettled, fmt.Sprintf(`{"game":"book-of-tides","product":"casino","stake":120,"win":%d,"currency":"EUR","duration_ms":3000}`, e.win)
}

func (p *pitboss) applied(ctx context.Context) (sum int64, err error) {
	for i := range p.o.players {
		st, _, err := p.states.Read(ctx, playerName(i))
		if err != nil {
			return 0, err
		}
		n, _ := st.Counts()
		sum += int64(n)
	}
	return sum, nil
}

func (p *pitboss) stop() {
	if p.rdb != nil {
		_ = p.rdb.Close()
	}
	if p.System != nil {
		p.Stop()
	}
	if p.consumer != nil {
		_ = p.consumer.Close()
	}
}
