package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"pitboss/test/redistest"
	"pitboss/test/system"
)

// peer is one of the compared systems.
type peer interface {
	// start starts the system with empty stores. Results go to the ledger.
	start(ctx context.Context, l *ledger) error
	// Ready waits until the application accepts work.
	Ready(ctx context.Context) error
	// Application returns the processes that a crash or a release ends. The servers stay.
	Application() []*system.Process
	Usage() map[string]system.Usage
	// first returns what a player must send before the first round.
	first() []kind
	// result returns the id of an event's result.
	result(what path, e event) string
	open(what path) sender
	// applied returns how many events all players' states hold.
	applied(ctx context.Context) (int64, error)
	// Said returns the end of the logs.
	Said() string
	stop()
}

// path is what a load exercises.
type path string

const (
	// whole goes from a POST through profile, score and decide to a consumer.
	whole path = "path"
	// state is the change of a player's state alone, until it is acknowledged.
	state path = "state"
)

// peers lists the systems in the order of the table.
var peers = []struct {
	name  string
	make  func(o options) peer
	state bool // its state path can be measured alone
}{
	{"pitboss", func(o options) peer { return &pitboss{o: o} }, false},
	{"pitboss-fsync", func(o options) peer { return &pitboss{o: o, fsync: true} }, false},
	{"pitboss-http", func(o options) peer { return &pitboss{o: o, overHTTP: true} }, true},
	{"restate", func(o options) peer { return &restateServer{o: o} }, true},
	{"restate-tuned", func(o options) peer { return &restateServer{o: o, tuned: true} }, true},
	{"kafka", func(o options) peer { return &kafka{o: o} }, true},
	{"kafka-tuned", func(o options) peer { return &kafka{o: o, tuned: true} }, true},
}

func names() (out []string) {
	for _, p := range peers {
		out = append(out, p.name)
	}
	return out
}

// outcome is a result as Restate and Kafka deliver it.
type outcome struct {
	ID     string `json:"id"`
	Player string `json:"player"`
	N      int64  `json:"n"` // events in the player's state
}

func (l *ledger) outcome(raw []byte) error {
	var o outcome
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("a result: %w", err)
	}
	l.result(o.ID, o.Player, o.N)
	return nil
}

// plain is a round as Restate and Kafka get it. It is about as long as Pitboss's
// CloudEvent with its headers.
func plain(b []byte, e event) []byte {
	return fmt.Appendf(b, `{"id":"%s","player":"%s","type":"round.settled","ts":%d,"game":"book-of-tides","product":"casino","stake":120,"win":%d,"currency":"EUR","pad":"%s"}`,
		e.id, e.player, e.at.UnixNano(), e.win, padding)
}

var padding = strings.Repeat("p", 150)

// servers holds the processes of a system other than Pitboss, with their folder.
type servers struct {
	dir string
	all map[string]*system.Process
}

func (s *servers) run(name string, env []string, argv ...string) (*system.Process, error) {
	p, err := system.Start(s.dir, name, env, argv...)
	if err != nil {
		return nil, err
	}
	s.all[name] = p
	return p, nil
}

func (s *servers) Usage() map[string]system.Usage {
	out := map[string]system.Usage{}
	for name, p := range s.all {
		out[name] = p.Usage()
	}
	return out
}

func (s *servers) Said() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		out = append(out, name+" said: "+s.all[name].LogTail())
	}
	return strings.Join(out, "\n")
}

// stop ends the named processes first, in this order, and then the others.
func (s *servers) stop(first ...string) {
	for _, name := range append(first, slices.Sorted(maps.Keys(s.all))...) {
		if p := s.all[name]; p != nil {
			p.Stop()
			delete(s.all, name)
		}
	}
}

// listening waits until a process listens at addr.
func listening(ctx context.Context, p *system.Process, addr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing listens at %s after %s", addr, limit))
	defer cancel()
	for {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-p.Ended():
			return fmt.Errorf("%s ended: %s", p.Name, p.LogTail())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// freeAddrs returns unused addresses of this machine.
func freeAddrs(n int) (out []string, err error) {
	for range n {
		port, e := redistest.FreePort()
		out, err = append(out, fmt.Sprintf("127.0.0.1:%d", port)), errors.Join(err, e)
	}
	return out, err
}
