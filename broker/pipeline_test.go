package broker_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"pitboss/broker"
	"pitboss/internal/takeover"
)

// pipelined is a subscriber that says it answers pipelined requests at once, as
// functions do.
type pipelined struct {
	*subscriber
	connections *takeover.Connections
	mu          sync.Mutex
	times       map[string]int // an event came
	instead     atomic.Pointer[http.HandlerFunc]
}

// newPipelined answers with status and, unless that is none, a reply.
func newPipelined(t *testing.T, answer func(id string, nth int) (status int)) *pipelined {
	p := &pipelined{times: map[string]int{}}
	p.connections = takeover.New(takeover.Config{
		Path: func(string) bool { return true }, MaxBody: 1 << 20, Pipeline: 32, Log: zap.NewNop,
		Unreadable: func(ctx *fasthttp.RequestCtx, status int, reason string) {
			if !strings.Contains(reason, "closed") {
				t.Errorf("unreadable: %d %s", status, reason)
			}
		},
		Handle: func(ctx *fasthttp.RequestCtx) {
			id := string(ctx.Request.Header.Peek("Ce-Id"))
			p.mu.Lock()
			p.times[id]++
			nth := p.times[id]
			p.mu.Unlock()
			ctx.SetStatusCode(answer(id, nth))
			if ctx.Response.StatusCode() == http.StatusOK {
				for name, v := range map[string]string{"Specversion": "1.0", "Type": "answer", "Source": "/test", "Id": "re " + id} {
					ctx.Response.Header.Set("Ce-"+name, v)
				}
				ctx.Response.SetBody(ctx.Request.Body())
			}
		},
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := p.instead.Load(); h != nil {
			(*h)(w, r)
		} else if !p.connections.Take(w, r) {
			t.Error("the connection was not taken")
		}
	}))
	server.Start()
	p.subscriber = &subscriber{Server: server}
	t.Cleanup(func() { p.Close(); p.connections.Close() })
	return p
}

// postMany POSTs n events with bodies of all sizes, over many connections.
func postMany(t *testing.T, url string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for c := range 20 {
		wg.Go(func() {
			say := talk(t, url)
			for i := c; i < n; i += 20 {
				request := strings.Replace(raw("question", body(i), ""), "ce-id: 7", "ce-id: "+strconv.Itoa(i), 1)
				if got := say(request); !strings.HasPrefix(got, "202 ") {
					t.Errorf("%d: %s", i, got)
				}
			}
		})
	}
	wg.Wait()
}

func body(i int) string { return fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", i*37%9000)) }

const answers = "  filter: {attributes: {type: answer}}\n"
const questions = "  filter: {attributes: {type: question}}\n"

// Every event is answered with its own reply, whatever became of those sent with it.
func TestPipelinedEventsAreAnsweredEachOnItsOwn(t *testing.T) {
	t.Parallel()
	const n = 1000
	p := newPipelined(t, func(id string, nth int) int {
		time.Sleep(time.Millisecond)
		switch i, _ := strconv.Atoi(id); {
		case i%10 == 3:
			return http.StatusBadRequest
		case i%10 == 4 && nth == 1:
			return http.StatusServiceUnavailable
		case i%10 == 5:
			return http.StatusNoContent
		}
		return http.StatusOK
	})
	team := newSubscriber(t, nil)
	b := open(t, options{}, spec{"p", questions, p.subscriber}, spec{"team", answers, team})
	postMany(t, b.URL(), n)
	quiet(t, b)
	got := map[string]string{}
	for _, e := range team.events() {
		got[e.ID()] = string(e.Data())
	}
	for i := range n {
		replied := i%10 != 3 && i%10 != 5
		if reply, ok := got[fmt.Sprint("re ", i)]; ok != replied || ok && reply != body(i) {
			t.Errorf("%d: replied: %v, %d bytes, want %v, %d bytes", i, ok, len(reply), replied, len(body(i)))
		}
		want := 1
		if i%10 == 4 {
			want = 2
		}
		if p.times[strconv.Itoa(i)] != want {
			t.Errorf("%d came %d times, want %d", i, p.times[strconv.Itoa(i)], want)
		}
	}
	letters, err := b.DeadLetters.List(t.Context(), "", n)
	if err != nil || len(letters) != n/10 {
		t.Errorf("%d dead letters, %v; want %d", len(letters), err, n/10)
	}
}

// Large events, and large replies to them, do not wait for each other: a
// subscriber that writes an answer before it reads the next event is read meanwhile.
func TestLargePipelinedEvents(t *testing.T) {
	t.Parallel()
	const n, size = 24, 1000 << 10
	all := make(chan struct{}) // are waiting
	reply := strings.Repeat("x", size)
	s := rawSubscriber(t, func(conn net.Conn, r *bufio.Reader) {
		_, _ = conn.(*net.TCPConn).SetReadBuffer(32<<10), conn.(*net.TCPConn).SetWriteBuffer(32<<10)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if id := req.Header.Get("Ce-Id"); id != "first" {
				<-all
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: 32\r\nCe-Specversion: 1.0\r\nCe-Type: answer\r\nCe-Source: /s\r\nCe-Id: re %s\r\nContent-Length: %d\r\n\r\n%s",
				takeover.Pipelining, req.Header.Get("Ce-Id"), size, reply)
		}
	})
	team := newSubscriber(t, nil)
	b := open(t, options{}, spec{"p", questions, s}, spec{"team", answers, team})
	event := func(id string) string {
		return strings.Replace(raw("question", `"`+reply+`"`, ""), "ce-id: 7", "ce-id: "+id, 1)
	}
	if got := talk(t, b.URL())(event("first")); !strings.HasPrefix(got, "202 ") {
		t.Fatal(got)
	}
	<-team.seen // now it is known to pipeline
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if got := talk(t, b.URL())(event(strconv.Itoa(i))); !strings.HasPrefix(got, "202 ") {
				t.Errorf("%d: %s", i, got)
			}
		})
	}
	wg.Wait()
	close(all)
	for range n {
		select {
		case <-team.seen:
		case <-time.After(time.Minute):
			t.Fatalf("%d answers, want %d", len(team.events()), n+1)
		}
	}
	quiet(t, b)
}

// An answer that cannot be taken is the failure of its own event only: those sent
// with it are sent again, where a Trigger has no retries too.
func TestAnAnswerThatCannotBeTakenIsOneEventsFailure(t *testing.T) {
	t.Parallel()
	const n = 40
	all := make(chan struct{}) // are waiting
	s := rawSubscriber(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			length := 0
			switch id := req.Header.Get("Ce-Id"); id {
			case "first":
			case "7":
				<-all
				length = 2 << 20 // more than a Broker takes
			default:
				<-all
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: 32\r\nContent-Length: %d\r\n\r\n%s", takeover.Pipelining, length, strings.Repeat("x", length))
		}
	})
	b := open(t, options{broker: strings.Replace(fastBroker, "retry: 2, backoffPolicy: linear, backoffDelay: PT0.01S", "retry: 0", 1)}, spec{"p", questions, s})
	send := func(id string) {
		if code, body := post(t, b.URL(), "question", id); code != http.StatusAccepted {
			t.Errorf("POST: %d %s", code, body)
		}
	}
	send("first")
	quiet(t, b) // now it is known to pipeline
	for i := range n {
		send(strconv.Itoa(i))
	}
	close(all)
	quiet(t, b)
	letters, err := b.DeadLetters.List(t.Context(), "", n)
	if err != nil || len(letters) != 1 || letters[0].Event.ID() != "7" {
		t.Errorf("dead letters %v, %v; want event 7 alone", letters, err)
	}
}

// Connections that break, in the middle of what was sent over them, lose nothing.
func TestConnectionsThatBreakLoseNoPipelinedEvent(t *testing.T) {
	t.Parallel()
	const n = 1000
	p := newPipelined(t, func(string, int) int { time.Sleep(time.Millisecond); return http.StatusOK })
	team := newSubscriber(t, nil)
	b := open(t, options{broker: strings.Replace(fastBroker, "retry: 2", "retry: 20", 1)}, spec{"p", questions, p.subscriber}, spec{"team", answers, team})
	over, broken := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(broken)
		for {
			select {
			case <-over:
				return
			case <-time.After(15 * time.Millisecond):
				p.connections.Close()
			}
		}
	}()
	postMany(t, b.URL(), n)
	close(over)
	<-broken
	quiet(t, b)
	got := map[string]bool{}
	for _, e := range team.events() {
		got[e.ID()] = true
	}
	if len(got) != n {
		t.Errorf("%d of %d were answered", len(got), n)
	}
}

// Events that take long hold up those sent with them at most: far more than
// there are connections for, and the others are delivered all the same.
func TestStuckPipelinedEventsHoldUpFewOthers(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	release := sync.OnceFunc(func() { close(end) })
	p := newPipelined(t, func(id string, _ int) int {
		if strings.HasPrefix(id, "stuck") {
			<-end
		}
		return http.StatusOK
	})
	t.Cleanup(release) // before the Broker drains
	team := newSubscriber(t, nil)
	b := open(t, options{}, spec{"p", questions, p.subscriber}, spec{"team", answers, team})
	t.Cleanup(release)
	for i := range 20 { // while nothing else is under way: each gets a connection of its own, or one that waits for it
		if code, body := post(t, b.URL(), "question", fmt.Sprint("stuck ", i)); code != http.StatusAccepted {
			t.Fatalf("POST: %d %s", code, body)
		}
	}
	postMany(t, b.URL(), 500)
	var seen int
	for deadline := time.After(20 * time.Second); seen < 500; {
		select {
		case e := <-team.seen:
			if !strings.HasPrefix(e.ID(), "re stuck") {
				seen++
			}
		case <-deadline:
			t.Fatalf("%d of 500 were delivered past those that are stuck", seen)
		}
	}
	release()
	quiet(t, b)
	if n := len(team.events()); n != 520 {
		t.Errorf("%d answers, want 520", n)
	}
}

// A subscriber that takes events one by one gets them one by one, also where its
// predecessor at that address pipelined.
func TestASubscriberThatDoesNotPipelineIsNotMadeTo(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	p := newPipelined(t, func(string, int) int { return http.StatusOK })
	b := open(t, options{config: func(c *broker.Config) { c.Parallel = 16 }}, spec{"p", questions, p.subscriber})
	postMany(t, b.URL(), 200)
	quiet(t, b)
	one := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		time.Sleep(time.Millisecond)
	})
	p.instead.Store(&one)
	p.connections.Close()
	postMany(t, b.URL(), 400)
	quiet(t, b)
	if most.Load() < 10 { // pipelined, net/http answers one event of each of four connections
		t.Errorf("at most %d events at once", most.Load())
	}
}

// Several events go to a subscriber in one write if it says so, one if it does not.
func TestWhoSaysSoGetsSeveralEventsAtOnce(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		var most atomic.Int32 // requests on one connection before the first of them was answered
		p := rawSubscriber(t, func(conn net.Conn, r *bufio.Reader) {
			for {
				n := 0
				for more := true; more; more = r.Buffered() > 0 {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					n++
				}
				most.Store(max(most.Load(), int32(n)))
				time.Sleep(time.Millisecond)
				for range n {
					said := ""
					if says {
						said = takeover.Pipelining + ": 32\r\n"
					}
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n", said)
				}
			}
		})
		b := open(t, options{}, spec{"p", questions, p})
		postMany(t, b.URL(), 400)
		quiet(t, b)
		if got := most.Load() > 1; got != says {
			t.Errorf("says it pipelines: %v; at most %d events in one write", says, most.Load())
		}
	}
}

// rawSubscriber serves each connection as it is told.
func rawSubscriber(t *testing.T, serve func(net.Conn, *bufio.Reader)) *subscriber {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn, bufio.NewReader(conn))
		}
	}()
	return &subscriber{Server: &httptest.Server{URL: "http://" + ln.Addr().String()}}
}
