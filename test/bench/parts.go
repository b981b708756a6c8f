package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"pitboss/internal/event"
	"pitboss/internal/setup"
	"pitboss/test/system"
)

// Part holds the figures of one function alone, which gets events directly, as fast as it
// answers.
type Part struct {
	Name     string  `json:"name"`
	EventsPS float64 `json:"events_per_s"`
	P99Ms    float64 `json:"p99_ms"` // of the closed loop, with 64 connections
	CPUUs    float64 `json:"cpu_us_per_event"`
	RedisUs  float64 `json:"redis_cpu_us_per_event"`
	// Bytes of an event on the wire (one message of a Broker), and in Redis.
	EventBytes float64 `json:"event_bytes"`
	ReplyBytes float64 `json:"reply_bytes"`
	RedisBytes float64 `json:"redis_bytes_per_event"`
}

// Parts measures profile, score and decide alone. Each gets the replies of the one before
// it.
func Parts(ctx context.Context, bin string, events int, progress io.Writer) ([]Part, error) {
	return partsOf(ctx, bin, events, func() source { return simulated(5000, 0) }, progress)
}

func partsOf(ctx context.Context, bin string, events int, play func() source, progress io.Writer) ([]Part, error) {
	s, err := system.Run(ctx, system.Config{Bin: bin, Functions: pathFunctions, Env: []string{"SCORE_WHEN=always"}})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	reqs, err := requests(play(), events+events/4, s.Hosts["profile"])
	if err != nil {
		return nil, err
	}
	var out []Part
	for i, name := range pathFunctions {
		warm, measured := reqs[:len(reqs)/5], reqs[len(reqs)/5:]
		first, _, err := alone(ctx, s, name, warm)
		if err != nil {
			return out, err
		}
		second, part, err := alone(ctx, s, name, measured)
		if err != nil {
			return out, err
		}
		fmt.Fprintf(progress, "  %-8s %7.0f events/s  CPU %.1f + Redis %.1f µs/event\n", name, part.EventsPS, part.CPUUs, part.RedisUs)
		out = append(out, part)
		if i+1 < len(pathFunctions) {
			reqs = readdress(append(first, second...), s.Hosts[pathFunctions[i+1]])
		}
	}
	return out, nil
}

// alone POSTs requests to one function and returns its replies.
func alone(ctx context.Context, s *system.System, name string, reqs []request) ([]request, Part, error) {
	replies := make([]request, len(reqs))
	var refused atomic.Value
	var replyBytes atomic.Int64
	l := &loop{host: s.Hosts[name], reqs: reqs, conns: 64, took: func(i int, answer *fasthttp.Response) {
		if answer.StatusCode() != fasthttp.StatusOK {
			refused.Store(fmt.Sprintf("%d %s", answer.StatusCode(), answer.Body()))
			return
		}
		replies[i] = replyOf(answer)
		replyBytes.Add(int64(len(replies[i].raw)))
	}}
	stored, err := redisMemory(ctx, s.RedisURL)
	if err != nil {
		return nil, Part{}, err
	}
	before := s.Usage()
	load, err := l.run(ctx)
	if err != nil {
		return nil, Part{}, err
	}
	if text := refused.Load(); text != nil {
		return nil, Part{}, fmt.Errorf("bench: %s refused %d of %d events, e.g. %s", name, load.Failed, load.Sent, text)
	}
	after := s.Usage()
	now, err := redisMemory(ctx, s.RedisURL)
	n := float64(load.Sent)
	us := func(part string) float64 { return float64((after[part].CPU - before[part].CPU).Microseconds()) / n }
	eventBytes := 0
	for _, r := range reqs {
		eventBytes += len(r.raw)
	}
	return replies, Part{Name: name, EventsPS: n / load.Elapsed.Seconds(), P99Ms: ms(load.Ack, 99), CPUUs: us(name), RedisUs: us("redis"),
		EventBytes: float64(eventBytes) / n, ReplyBytes: float64(replyBytes.Load()) / n, RedisBytes: float64(now-stored) / n}, err
}

// replyOf turns a function's answer into the event that the Broker would deliver. The
// host is still missing.
func replyOf(answer *fasthttp.Response) request {
	if len(answer.Header.Peek("Ce-Id")) == 0 {
		return request{} // there was no reply
	}
	var buf bytes.Buffer
	for name, value := range answer.Header.All() {
		switch string(name) {
		case "Date", "Content-Length", "Connection", "Ce-Receivedtime":
		default:
			fmt.Fprintf(&buf, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(&buf, "Ce-%s: %s\r\n\r\n", event.ExtReceived, stampFormat)
	buf.Write(answer.Body())
	return request{raw: buf.Bytes(), stamp: len(answer.Body())}
}

// readdress turns replies into requests to host.
func readdress(replies []request, host string) []request {
	out := make([]request, 0, len(replies))
	for _, r := range replies {
		if r.raw == nil {
			continue
		}
		head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", host, r.stamp)
		raw := append([]byte(head), r.raw...)
		out = append(out, request{raw: raw, stamp: bytes.Index(raw, []byte(stampFormat))})
	}
	return out
}

// redisMemory returns the size of Redis's data in bytes, by its own count.
func redisMemory(ctx context.Context, url string) (int64, error) {
	rdb, err := setup.Redis(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	defer rdb.Close()
	info, err := rdb.Info(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("bench: redis info: %w", err)
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "used_memory_dataset:"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("bench: redis info has no used_memory_dataset")
}
