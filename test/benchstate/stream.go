package main

import (
	"fmt"
	"strconv"
	"time"

	"pitboss/internal/simulator"
)

// groupSize is how many players the simulator plays. Further players are copies: player
// 1234 of group 7 behaves like player 1234 of group 0.
const groupSize = 1000

// template is one simulated event, ready to be sent for any group.
type template struct {
	player int // within the group
	typ    string
	at     time.Time
	data   []byte
}

// simulate plays groupSize players and returns n events in order of event time, the first
// at start. Except for their times, the events are always the same.
func simulate(start time.Time, n int) []template {
	w := simulator.New(simulator.Config{Seed: 20, Players: groupSize, Start: start})
	players := map[string]int{}
	out := make([]template, 0, n)
	for len(out) < n {
		e := w.Next()
		p, ok := players[e.Subject()]
		if !ok {
			p = len(players)
			players[e.Subject()] = p
		}
		out = append(out, template{player: p % groupSize, typ: e.Type(), at: e.Time(), data: e.Data()})
	}
	return out
}

// playerName is the subject of a player of a group.
func playerName(group, player int) string { return fmt.Sprintf("player-%d-%d", group, player) }

// request renders a template as an HTTP POST of a CloudEvent in binary mode.
type request struct {
	host string
	run  string // makes ids unique across runs
	buf  []byte
}

func (r *request) render(t *template, subject string, at time.Time, seq int) []byte {
	b := append(r.buf[:0], "POST / HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.host...), "\r\nContent-Type: application/json\r\nCe-Specversion: 1.0\r\nCe-Type: "...)
	b = append(append(b, t.typ...), "\r\nCe-Source: /bench\r\nCe-Id: "...)
	b = append(append(b, r.run...), '-')
	b = append(strconv.AppendInt(b, int64(seq), 10), "\r\nCe-Subject: "...)
	b = append(append(b, subject...), "\r\nCe-Partitionkey: "...)
	b = append(append(b, subject...), "\r\nCe-Time: "...)
	b = append(at.AppendFormat(b, time.RFC3339Nano), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(t.data)), 10), "\r\n\r\n"...)
	b = append(b, t.data...)
	r.buf = b
	return b
}
