package functions

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	funchttp "knative.dev/func-go/http"

	"pitboss/internal/takeover"
)

// dial opens a connection to a served echo.
func dial(t *testing.T, f HTTPFunction) (net.Conn, *bufio.Reader) {
	t.Helper()
	s := httptest.NewServer(funchttp.New(f).Handler)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

// said is what an answer says, apart from what differs from server to server.
func said(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		if strings.HasPrefix(name, "Ce-") || name == "Content-Type" && len(body) > 0 || name == "Allow" {
			lines = append(lines, name+": "+strings.Join(res.Header[name], ","))
		}
	}
	return fmt.Sprintf("%d %s %s", res.StatusCode, lines, strings.TrimSpace(string(body)))
}

func raw(typ, body, more string) string {
	return "POST / HTTP/1.1\r\nHost: f\r\nCe-Specversion: 1.0\r\nce-id: 7\r\nCE-SOURCE: /p\r\nCe-Subject: alice\r\nCe-Type: " + typ +
		"\r\nCe-Time: 2026-01-02T03:04:05.123456Z\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" +
		"Content-Type: application/json\r\n" + more + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
}

// TestATakenConnectionAnswersAsNetHTTPDoes sends each request alone on a
// connection that net/http keeps (Connection: close), and behind an event on one that is taken.
func TestATakenConnectionAnswersAsNetHTTPDoes(t *testing.T) {
	t.Parallel()
	structured := `{"specversion":"1.0","id":"7","source":"/p","type":"question","data":{}}`
	for name, request := range map[string]string{
		"reply":              raw("question", `{}`, ""),
		"no data":            raw("question", ``, ""),
		"no reply":           raw("nothing", `{}`, ""),
		"fault":              raw("fault", `{}`, ""),
		"problem":            raw("bad", `{}`, ""),
		"long reason":        raw("long", `{}`, ""),
		"no type":            raw("", `{}`, ""),
		"bad time":           strings.Replace(raw("question", `{}`, ""), "2026-01-02T", "yesterday", 1),
		"bad extension":      raw("question", `{}`, "Ce-A-B: x\r\n"),
		"extension":          raw("question", `{}`, "Ce-Partitionkey: alice\r\n"),
		"other version":      strings.Replace(raw("question", `{}`, ""), "version: 1.0", "version: 9", 1),
		"structured":         "POST / HTTP/1.1\r\nHost: f\r\nContent-Type: application/cloudevents+json\r\nContent-Length: " + fmt.Sprint(len(structured)) + "\r\n\r\n" + structured,
		"no event":           "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\n{}",
		"another path":       strings.Replace(raw("question", `{}`, ""), "POST / ", "POST /x?y=z ", 1),
		"another method":     "GET / HTTP/1.1\r\nHost: f\r\n\r\n",
		"readiness":          "GET /health/readiness HTTP/1.1\r\nHost: f\r\n\r\n",
		"chunked":            strings.Replace(raw("question", "", ""), "Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
		"more than a buffer": raw("question", `{"x":"`+strings.Repeat("x", 5*takeover.Buffer)+`"}`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone, answers := dial(t, over(echo{}))
			io.WriteString(alone, strings.Replace(request, "Host: f\r\n", "Host: f\r\nConnection: close\r\n", 1))
			want := said(t, answers)

			f := over(echo{}).(overHTTP)
			conn, answers := dial(t, f)
			io.WriteString(conn, raw("question", `{}`, "")+request) // at once: net/http has read both
			if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
				t.Fatal(got)
			}
			if f.connections.Taken() == 0 {
				t.Fatal("the connection was not taken")
			}
			if got := said(t, answers); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			io.WriteString(conn, raw("nothing", `{}`, ""))
			if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
				t.Errorf("the next event: %s", got)
			}
		})
	}
}

func TestATakenConnectionRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ request, want string }{
		"body":       {strings.Replace(raw("question", "", ""), "Length: 0", "Length: 2000000", 1), "413 "},
		"attributes": {raw("question", `{}`, "Ce-Long: "+strings.Repeat("x", 5*takeover.Buffer)+"\r\n"), "431 "},
		"not HTTP":   {"{}\r\n\r\n", "400 "},
	} {
		conn, answers := dial(t, over(echo{}))
		io.WriteString(conn, raw("nothing", `{}`, "")+tc.request)
		said(t, answers)
		if got := said(t, answers); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %s", name, got)
		}
		if _, err := answers.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

// slow answers once it is told to; it panics at events of type panic.
type slow struct {
	echo
	begun, end chan struct{}
}

func (s slow) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	switch e.Type() {
	case "panic":
		panic("a bug")
	case "slow":
		close(s.begun)
		<-s.end
	}
	return s.echo.Handle(ctx, e)
}

func TestAPanicEndsOneEvent(t *testing.T) {
	t.Parallel()
	conn, answers := dial(t, over(slow{}))
	for _, typ := range []string{"panic", "nothing", "panic", "nothing"} {
		io.WriteString(conn, raw(typ, `{}`, ""))
		want := map[string]string{"panic": "500 ", "nothing": "200 "}[typ]
		if got := said(t, answers); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", typ, got)
		}
	}
}

// Whatever is under way when the function is told to stop is answered before it
// does: as the first event of a connection, or as a later one.
func TestStopWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, 3} {
		s := slow{begun: make(chan struct{}), end: make(chan struct{})}
		f := over(s)
		conn, answers := dial(t, f)
		for range before {
			io.WriteString(conn, raw("nothing", `{}`, ""))
			said(t, answers)
		}
		io.WriteString(conn, raw("slow", `{}`, ""))
		<-s.begun
		stopped := make(chan error)
		go func() { stopped <- f.Stop(t.Context()) }()
		select {
		case <-stopped:
			t.Fatalf("%d before: it stopped with an event under way", before)
		case <-time.After(50 * time.Millisecond):
		}
		close(s.end)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%d before: %s", before, got)
		}
		// What comes after that is answered, too, and its connection closed.
		io.WriteString(conn, raw("nothing", `{}`, ""))
		if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%d before, after stop: %s", before, got)
		}
		if _, err := answers.ReadByte(); err == nil {
			t.Errorf("%d before: the connection goes on", before)
		}
		late, answers := dial(t, f) // nobody's connection is taken any more
		io.WriteString(late, raw("nothing", `{}`, ""))
		if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
			t.Errorf("a new connection after stop: %s", got)
		}
	}
}

// meeting answers an event when as many are being handled as were to come, later
// ones first.
type meeting struct {
	echo
	all  int
	here *atomic.Int32
}

func (m meeting) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	n := m.here.Add(1)
	for int(m.here.Load()) < m.all {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(m.all-int(n)) * time.Millisecond)
	return m.echo.Handle(ctx, e)
}

// Events that come over a connection in one write are handled at the same time,
// and answered in their order, what cannot be answered included.
func TestEventsSentTogetherAreHandledTogether(t *testing.T) {
	t.Parallel()
	here := new(atomic.Int32)
	conn, answers := dial(t, over(meeting{all: 5, here: here}))
	here.Store(5) // the first comes alone
	io.WriteString(conn, raw("nothing", "", ""))
	res, err := http.ReadResponse(answers, nil)
	if err != nil || res.Header.Get(takeover.Pipelining) != "32" {
		t.Fatalf("%v %v", res, err)
	}
	here.Store(0)
	id := func(n string) string { return strings.Replace(raw("question", "{}", ""), "ce-id: 7", "ce-id: "+n, 1) }
	health := "GET /health/liveness HTTP/1.1\r\nHost: f\r\n\r\n"
	io.WriteString(conn, id("1")+id("2")+raw("fault", "{}", "")+health+raw("bad", "{}", "")+id("3")+"nonsense\r\n\r\n")
	for _, want := range []string{`{"to":"1"}`, `{"to":"2"}`, "500 ", "200 ", "400 ", `{"to":"3"}`, "400 "} {
		if got := said(t, answers); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, err := answers.ReadByte(); err == nil {
		t.Error("the connection goes on behind nonsense")
	}
}

// Who waits to be told to go on is told so, but not in the middle of others' answers.
func TestExpectContinueOnATakenConnection(t *testing.T) {
	t.Parallel()
	conn, answers := dial(t, over(echo{}))
	io.WriteString(conn, raw("nothing", "", ""))
	said(t, answers)
	head, body, _ := strings.Cut(raw("question", "{}", "Expect: 100-continue\r\n"), "\r\n\r\n")
	io.WriteString(conn, head+"\r\n\r\n")
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = answers.ReadString('\n')
	io.WriteString(conn, body)
	if got := said(t, answers); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
	io.WriteString(conn, raw("nothing", "", "")+head+"\r\n\r\n")
	for _, want := range []string{"200 ", "417 "} {
		if got := said(t, answers); !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
