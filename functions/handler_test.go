package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	funchttp "knative.dev/func-go/http"

	"pitboss/internal/event"
)

// echo answers an event according to its type.
type echo struct{}

func (echo) Start(context.Context, map[string]string) error { return nil }
func (echo) Stop(context.Context) error                     { return nil }
func (echo) Ready(context.Context) (bool, error)            { return true, nil }
func (echo) Handle(_ context.Context, e ce.Event) (*ce.Event, error) {
	switch e.Type() {
	case "nothing":
		return nil, nil
	case "fault":
		return nil, event.Result(errors.New("redis: connection refused"))
	case "long":
		return nil, event.Result(errors.New(strings.Repeat("why ", 1000)))
	case "panic":
		panic("a bug")
	case "bad":
		return nil, event.Result(&event.Problem{Code: event.CodeSchemaViolation, Pointer: "/data/stake", Detail: "stake is 100%s too small"})
	}
	return event.Reply(&e, "echo", "answer", e.Time(), map[string]string{"to": e.ID()})
}

func server(t *testing.T) *httptest.Server {
	s := httptest.NewServer(funchttp.New(over(echo{})).Handler)
	t.Cleanup(s.Close)
	return s
}

func sent(typ, id string) map[string]string {
	return map[string]string{"ce-specversion": "1.0", "ce-type": typ, "ce-source": "/p", "ce-id": id, "ce-subject": "alice",
		"ce-time": "2026-01-02T03:04:05.123456Z", "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Content-Type": "application/json"}
}

func send(url, typ, id string) (*http.Response, string, error) {
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(`{}`))
	for name, v := range sent(typ, id) {
		req.Header.Set(name, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

func TestErrorsDecideWhatTheBrokerDoes(t *testing.T) {
	t.Parallel()
	s := server(t)
	for _, tc := range []struct {
		typ    string
		status int
		says   string
	}{
		{"nothing", 200, ""},
		{"fault", 500, "redis: connection refused"},
		{"bad", 400, "schema-violation at /data/stake: stake is 100%s too small"},
	} {
		res, body, err := send(s.URL, tc.typ, "1")
		if err != nil || res.StatusCode != tc.status || strings.TrimSpace(body) != tc.says {
			t.Errorf("%s: got %v %q %v, want %d %q", tc.typ, res.StatusCode, body, err, tc.status, tc.says)
		}
	}
}

// A panic fails only its event, with a retryable error, and the connection stays open.
func TestAPanicFailsOneEvent(t *testing.T) {
	t.Parallel()
	s := server(t)
	for _, tc := range []struct {
		typ    string
		status int
	}{{"panic", 500}, {"nothing", 200}, {"panic", 500}, {"nothing", 200}} {
		if res, body, err := send(s.URL, tc.typ, "1"); err != nil || res.StatusCode != tc.status {
			t.Errorf("%s: %v %q %v, want %d", tc.typ, res, body, err, tc.status)
		}
	}
}

// A function that is called directly gives the same answer as over HTTP.
func TestAnswerIsTheAnswerOverHTTP(t *testing.T) {
	t.Parallel()
	s := server(t)
	direct := over(echo{}).(Answerer)
	for _, typ := range []string{"question", "nothing", "fault", "bad", "long", "panic"} {
		res, body, err := send(s.URL, typ, "1")
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(`{}`))
		for name, v := range sent(typ, "1") {
			req.Header.Set(name, v)
		}
		e, err := decode(req)
		if err != nil {
			t.Fatal(err)
		}
		reply, status, reason := direct.Answer(t.Context(), e)
		if status != res.StatusCode || reason != strings.TrimSpace(body) && status != http.StatusOK {
			t.Errorf("%s: %d %q, over HTTP %d %q", typ, status, reason, res.StatusCode, body)
		}
		if (reply != nil) != (res.Header.Get("Ce-Id") != "") {
			t.Errorf("%s: reply %v, over HTTP %v", typ, reply, res.Header)
		}
		if reply != nil && (reply.ID() != res.Header.Get("Ce-Id") || string(reply.Data()) != body) {
			t.Errorf("%s: reply %s, over HTTP %v %s", typ, reply, res.Header, body)
		}
	}
}

// The server answers pending requests before it stops. A body that never comes delays it
// only until the context ends.
func TestShutdownWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(funchttp.New(over(slow{begun: begun, end: end})).Handler)
	defer server.Close()
	answered := make(chan int, 1)
	go func() {
		res, _, err := send(server.URL, "slow", "1")
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		answered <- res.StatusCode
	}()
	<-begun
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := server.Config.Shutdown(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with an event under way: %v", err)
	}
	close(end)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// slow answers when the test says so.
type slow struct {
	echo
	begun, end chan struct{}
}

func (s slow) Handle(context.Context, ce.Event) (*ce.Event, error) {
	close(s.begun)
	<-s.end
	return nil, nil
}

// A longer reason would make Knative's dispatcher panic.
func TestReasonIsCutToWhatKnativeCanCarry(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{strings.Repeat("x", 5000), strings.Repeat("é", 400), "short"} {
		got := short(reason)
		if len(got) > maxReason || !utf8.ValidString(got) || !strings.HasPrefix(reason, strings.TrimSuffix(got, "…")) {
			t.Errorf("%d bytes became %q", len(reason), got)
		}
	}
	res, body, err := send(server(t).URL, "long", "1")
	if err != nil || res.StatusCode != 500 || len(strings.TrimSpace(body)) > maxReason {
		t.Errorf("got %v, %d bytes, %v", res, len(body), err)
	}
}

func TestReplyIsAnEventOnTheWire(t *testing.T) {
	t.Parallel()
	s := server(t)
	res, body, err := send(s.URL, "question", "42")
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(strings.NewReader(body))
	e, err := cehttp.NewEventFromHTTPResponse(res)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	if e.ID() != event.ReplyID("/p", "42", "answer") || e.Subject() != "alice" || string(e.Data()) != `{"to":"42"}` ||
		!e.Time().Equal(time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)) ||
		!strings.HasPrefix(fmt.Sprint(e.Extensions()["traceparent"]), "00-0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("got %s", e)
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	t.Parallel()
	s := server(t)
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"plain JSON", "application/json", `{}`, 400},
		{"another format", "application/cloudevents+avro", `{}`, 415},
		{"broken structured event", "application/cloudevents+json", `{"specversion":`, 400},
		{"no id", "application/cloudevents+json", `{"specversion":"1.0","source":"/p","type":"t"}`, 400},
		{"too large", "application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"/p","type":"t","data":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
	} {
		res, err := http.Post(s.URL, tc.contentType, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tc.status {
			t.Errorf("%s: got %d, want %d", tc.name, res.StatusCode, tc.status)
		}
	}
	if res, err := http.Get(s.URL); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", res, err)
	}
}

// Every request gets its own answer, and none is left waiting. sdk-go's EventReceiver fails
// this under concurrency.
func TestConcurrentRequestsAreAllAnswered(t *testing.T) {
	t.Parallel()
	s := server(t)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 100 {
				id := fmt.Sprintf("%d-%d", worker, i)
				req, _ := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(`{}`))
				for name, v := range map[string]string{"ce-specversion": "1.0", "ce-type": "q", "ce-source": "/p", "ce-id": id} {
					req.Header.Set(name, v)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.Header.Get("Ce-Id") != event.ReplyID("/p", id, "answer") {
					t.Errorf("%s got somebody else's answer", id)
				}
			}
		}()
	}
	wg.Wait()
}
