package functions

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions/console"
	"pitboss/functions/ingest"
)

// reader is a path of a function that reads a body.
type reader struct {
	name        string
	f           funchttp.Handler
	path        string
	interrupted int // the status for a body that does not come whole
}

func readers(t *testing.T) []reader {
	t.Helper()
	taker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(taker.Close)
	page, door := console.New(), ingest.New()
	for f, cfg := range map[Lifecycle]map[string]string{
		page: {"MODELS_DIR": "../models", "PITBOSS_APPROVERS": "1"},
		door: {"K_SINK": taker.URL},
	} {
		if err := f.Start(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Stop(context.Background()) })
	}
	return []reader{
		{"a function", over(echo{}), "/", http.StatusInternalServerError},
		{"console, events", page, "/events", http.StatusInternalServerError},
		{"console, dead letters", page, "/deadletters", http.StatusInternalServerError},
		{"ingest", door, "/", http.StatusRequestTimeout},
	}
}

// An event whose body does not arrive in time, or not whole, is not a bad event, so it must
// be retried. Otherwise it would become a dead letter, and a dead letter would be lost.
func TestABodyThatDoesNotComeIsNoRefusal(t *testing.T) {
	t.Parallel()
	for _, r := range readers(t) {
		for _, framing := range []string{"Content-Length: 100\r\n\r\n{\"a", "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n"} {
			for _, gone := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %.7s, gone %v", r.name, framing, gone), func(t *testing.T) {
					t.Parallel()
					if got := interrupt(t, r.f, r.path, framing, gone); got != r.interrupted {
						t.Errorf("answered %d, want %d", got, r.interrupted)
					}
				})
			}
		}
	}
}

// A chunked body that is malformed is refused, because the same bytes fail each time.
func TestMalformedChunksAreRefused(t *testing.T) {
	t.Parallel()
	for _, r := range readers(t) {
		for name, chunks := range map[string]string{
			"bare LF after an extension": "2;a\nx\r\n{}\r\n0\r\n\r\n",
			"no length":                  "x\r\n{}\r\n0\r\n\r\n",
			"more than its length":       "2\r\n{}}\r\n0\r\n\r\n",
			"length of 72 bits":          "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
		} {
			t.Run(r.name+", "+name, func(t *testing.T) {
				t.Parallel()
				if got := interrupt(t, r.f, r.path, "Transfer-Encoding: chunked\r\n\r\n"+chunks, true); got != http.StatusBadRequest {
					t.Errorf("answered %d, want 400", got)
				}
			})
		}
	}
}

// interrupt sends only the beginning of an event, and returns the answer.
func interrupt(t *testing.T, f funchttp.Handler, path, framing string, gone bool) int {
	t.Helper()
	s := httptest.NewUnstartedServer(funchttp.New(f).Handler)
	s.Config.ReadHeaderTimeout = time.Minute
	if !gone {
		s.Config.ReadTimeout = 100 * time.Millisecond
	}
	s.Start()
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "POST " + path + " HTTP/1.1\r\nHost: pitboss\r\n"
	for name, v := range sent("nothing", "1") {
		head += name + ": " + v + "\r\n"
	}
	if _, err := io.WriteString(conn, head+framing); err != nil {
		t.Fatal(err)
	}
	if gone {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
