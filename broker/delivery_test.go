package broker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// counter answers the nth attempt at each event with a status, and 200 with a
// reply of the event's own data.
type counter struct {
	mu     sync.Mutex
	times  map[string]int
	answer func(id string, nth int) (status int)
	hang   chan struct{} // what is answered with hang waits until it is closed
}

// hang is the status of an event that is answered with 200, but not yet.
const hang = -1

func (c *counter) attempt(id string) int {
	c.mu.Lock()
	c.times[id]++
	nth := c.times[id]
	c.mu.Unlock()
	status := c.answer(id, nth)
	if status == hang {
		<-c.hang
		return http.StatusOK
	}
	return status
}

// both runs a test with a subscriber that is reached over HTTP and with one in
// the Broker's process.
func both(t *testing.T, answer func(id string, nth int) int, test func(t *testing.T, c *counter, s spec)) {
	for _, kind := range []string{"HTTP", "in process"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := &counter{times: map[string]int{}, answer: answer, hang: make(chan struct{})}
			s := spec{name: "p", filter: questions}
			if kind == "HTTP" {
				s.to = newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) {
					status := c.attempt(e.ID())
					if status == http.StatusOK {
						reply(w, "answer", "re-"+e.ID())
						w.Write(e.Data())
						return
					}
					w.WriteHeader(status)
				})
			} else {
				s.f = func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
					status := c.attempt(e.ID())
					if status != http.StatusOK {
						return nil, status, ""
					}
					return answerTo(e), status, ""
				}
			}
			test(t, c, s)
		})
	}
}

func answerTo(e *ce.Event) *ce.Event {
	out := ce.New()
	out.SetID("re-" + e.ID())
	out.SetType("answer")
	out.SetSource("/test")
	out.DataEncoded = e.Data()
	return &out
}

const (
	answers   = "  filter: {attributes: {type: answer}}\n"
	questions = "  filter: {attributes: {type: question}}\n"
)

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

// Every event is answered with its own reply, whatever became of the others.
func TestEveryEventIsAnsweredOnItsOwn(t *testing.T) {
	t.Parallel()
	const n = 600
	both(t, func(id string, nth int) int {
		switch i, _ := strconv.Atoi(id); {
		case i%10 == 3:
			return http.StatusBadRequest
		case i%10 == 4 && nth == 1:
			return http.StatusServiceUnavailable
		case i%10 == 5:
			return http.StatusNoContent
		}
		return http.StatusOK
	}, func(t *testing.T, c *counter, s spec) {
		team := newSubscriber(t, nil)
		b := open(t, options{}, s, spec{name: "team", filter: answers, to: team})
		postMany(t, b.URL(), n)
		quiet(t, b)
		got := map[string]string{}
		for _, e := range team.events() {
			got[e.ID()] = string(e.Data())
		}
		for i := range n {
			replied := i%10 != 3 && i%10 != 5
			if reply, ok := got[fmt.Sprint("re-", i)]; ok != replied || ok && reply != body(i) {
				t.Errorf("%d: replied: %v, %d bytes, want %v, %d bytes", i, ok, len(reply), replied, len(body(i)))
			}
			want := 1
			if i%10 == 4 {
				want = 2
			}
			if c.times[strconv.Itoa(i)] != want {
				t.Errorf("%d came %d times, want %d", i, c.times[strconv.Itoa(i)], want)
			}
		}
		letters, err := b.DeadLetters.List(t.Context(), "", n)
		if err != nil || len(letters) != n/10 {
			t.Errorf("%d dead letters, %v; want %d", len(letters), err, n/10)
		}
	})
}

// Events that hang hold up no others: there are more slots than they take.
func TestStuckEventsHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	both(t, func(id string, _ int) int {
		if strings.HasPrefix(id, "stuck") {
			return hang
		}
		return http.StatusOK
	}, func(t *testing.T, c *counter, s spec) {
		release := sync.OnceFunc(func() { close(c.hang) })
		t.Cleanup(release)
		team := newSubscriber(t, nil)
		b := open(t, options{}, s, spec{name: "team", filter: answers, to: team})
		for i := range 20 {
			if code, body := post(t, b.URL(), "question", fmt.Sprint("stuck ", i)); code != http.StatusAccepted {
				t.Fatalf("POST: %d %s", code, body)
			}
		}
		postMany(t, b.URL(), 300)
		deadline := time.After(20 * time.Second)
		for seen := 0; seen < 300; seen++ {
			select {
			case <-team.seen:
			case <-deadline:
				t.Fatalf("%d of 300 were delivered past those that hang", seen)
			}
		}
		release()
		quiet(t, b)
		if n := len(team.events()); n != 320 {
			t.Errorf("%d answers, want 320", n)
		}
	})
}

// A reply over the limit fails its own event, as 502, and no other.
func TestAReplyThatIsTooLargeIsOneEventsFailure(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 2<<20)
	over := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) {
		reply(w, "answer", "re-"+e.ID())
		if e.ID() == "7" {
			io.WriteString(w, large)
		}
	})
	direct := func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
		out := answerTo(e)
		if e.ID() == "7" {
			out.DataEncoded = []byte(large)
		}
		return out, http.StatusOK, ""
	}
	for _, s := range []spec{{name: "p", filter: questions, to: over}, {name: "p", filter: questions, f: direct}} {
		b := open(t, options{}, s)
		for i := range 20 {
			post(t, b.URL(), "question", strconv.Itoa(i))
		}
		quiet(t, b)
		letters, err := b.DeadLetters.List(t.Context(), "", 100)
		if err != nil || len(letters) != 1 || letters[0].Event.ID() != "7" || letters[0].Code != http.StatusBadGateway || letters[0].Attempts != 3 {
			t.Errorf("dead letters %+v, %v; want event 7 alone", letters, err)
		}
	}
}

// Connections that break, whatever was under way on them, lose nothing.
func TestConnectionsThatBreakLoseNoEvent(t *testing.T) {
	t.Parallel()
	const n = 600
	s := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) { reply(w, "answer", "re-"+e.ID()) })
	team := newSubscriber(t, nil)
	b := open(t, options{broker: strings.Replace(fastBroker, "retry: 2", "retry: 20", 1)},
		spec{name: "p", filter: questions, to: s}, spec{name: "team", filter: answers, to: team})
	over, broken := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(broken)
		for {
			select {
			case <-over:
				return
			case <-time.After(15 * time.Millisecond):
				s.CloseClientConnections()
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

// A subscriber that closes a connection while it is idle costs no retry: the
// Trigger has none here.
func TestAConnectionClosedWhileIdleIsNoFailure(t *testing.T) {
	t.Parallel()
	s := newSubscriber(t, nil)
	b := open(t, options{broker: strings.Replace(fastBroker, "retry: 2, ", "retry: 0, ", 1)}, spec{name: "p", to: s})
	for i := range 200 {
		post(t, b.URL(), "question", strconv.Itoa(i))
		quiet(t, b)
		s.CloseClientConnections()
	}
	if letters, err := b.DeadLetters.List(t.Context(), "", 10); err != nil || len(letters) > 0 {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

// A function gets an event of its own: what it does to it no other Trigger, no
// retry and no dead letter sees; nor does it change a reply that it gave.
func TestAFunctionCannotChangeWhatOthersGet(t *testing.T) {
	t.Parallel()
	kept := make(chan []byte, 1)
	var attempts atomic.Int32
	vandal := func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
		if string(e.Data()) != `{"a":1}` || e.Type() != "question" || e.Extensions()["mine"] != nil {
			t.Errorf("attempt %d got %s", attempts.Load(), e)
		}
		copy(e.DataEncoded, `{"a":9}`)
		e.SetType("spoiled")
		e.SetExtension("mine", "x")
		if attempts.Add(1) == 1 {
			return nil, http.StatusServiceUnavailable, "again"
		}
		out := answerTo(e)
		out.DataEncoded = []byte(`{"b":1}`)
		kept <- out.DataEncoded
		return out, http.StatusOK, ""
	}
	other := newSubscriber(t, nil)
	team := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, nth int) {
		if nth == 1 { // the function has returned, and the reply is sent again
			copy(<-kept, `{"b":9}`)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	b := open(t, options{}, spec{name: "vandal", filter: questions, f: vandal}, spec{name: "other", filter: questions, to: other}, spec{name: "team", filter: answers, to: team})
	post(t, b.URL(), "question", "1")
	quiet(t, b)
	for _, e := range other.events() {
		if string(e.Data()) != `{"a":1}` || e.Extensions()["mine"] != nil {
			t.Errorf("the other Trigger got %s", e)
		}
	}
	got := team.events()
	if len(got) != 2 {
		t.Errorf("the reply came %d times, want twice", len(got))
	}
	for _, e := range got {
		if string(e.Data()) != `{"b":1}` {
			t.Errorf("the reply is %s", e)
		}
	}
}

// A panic is a 500: it is retried, kept as a dead letter, and ends nothing else.
func TestAPanicFailsOneEvent(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int32
	b := open(t, options{}, spec{name: "p", f: func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
		if e.ID() == "1" {
			attempts.Add(1)
			panic("a bug")
		}
		return nil, http.StatusOK, ""
	}})
	post(t, b.URL(), "x", "1")
	post(t, b.URL(), "x", "2")
	quiet(t, b)
	letters, err := b.DeadLetters.List(t.Context(), "", 10)
	if err != nil || attempts.Load() != 3 || len(letters) != 1 || letters[0].Code != 500 || letters[0].Subscriber != "http://pitboss-p/" {
		t.Errorf("%d attempts, dead letters %+v, %v", attempts.Load(), letters, err)
	}
}

// Drain lets a function finish. One that does not finish in time has its
// context ended, and its event is delivered after the next start.
func TestDrainWaitsForFunctionsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun, ended := make(chan struct{}), make(chan struct{})
	b := open(t, options{dir: dir}, spec{name: "p", f: func(ctx context.Context, e *ce.Event) (*ce.Event, int, string) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, http.StatusInternalServerError, "stopped"
	}})
	post(t, b.URL(), "x", "1")
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = b.Drain(ctx)
	<-ended
	again := make(chan string, 1)
	b = open(t, options{dir: dir}, spec{name: "p", f: func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
		again <- e.ID()
		return nil, http.StatusOK, ""
	}})
	quiet(t, b)
	if id := <-again; id != "1" {
		t.Errorf("after the restart: %s", id)
	}
}

// Drain ends when its context does though the body of an event never comes.
func TestDrainDoesNotWaitForASlowBody(t *testing.T) {
	t.Parallel()
	b := open(t, options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head, _, _ := strings.Cut(raw("t", strings.Repeat("x", 100), "Expect: 100-continue\r\n"), "\r\n\r\n")
	io.WriteString(conn, head+"\r\n\r\n")
	if _, err := conn.Read(make([]byte, 64)); err != nil { // 100 Continue: the body is being read
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := b.Drain(ctx); err == nil {
		t.Error("Drain does not say that it cut off a request")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Drain took %s", took)
	}
}
