package broker_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func raw(typ, body, more string) string {
	return "POST / HTTP/1.1\r\nHost: b\r\nCe-Specversion: 1.0\r\nce-id: 7\r\nCE-SOURCE: /p\r\nCe-Type: " + typ +
		"\r\nContent-Type: application/json\r\n" + more + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
}

// talk opens a connection to a Broker; say writes to it, and tells the answer.
func talk(t *testing.T, url string) (say func(string) string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	answers := bufio.NewReader(conn)
	return func(request string) string {
		io.WriteString(conn, request)
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err.Error()
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s %s %q %s", res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Allow"), res.Header["Webhook-Allowed-Rate"], body)
	}
}

// What comes over a connection behind an event is answered by another server
// than what comes alone: alike.
func TestAKeptConnectionIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := open(t, options{})
	structured := `{"specversion":"1.0","id":"7","source":"/p","type":"t","data":{}}`
	for name, request := range map[string]string{
		"event":          raw("t", `{}`, ""),
		"no data":        raw("t", ``, ""),
		"Broker's path":  strings.Replace(raw("t", `{}`, ""), "POST / ", "POST /default/pitboss ", 1),
		"with a slash":   strings.Replace(raw("t", `{}`, ""), "POST / ", "POST /default/pitboss/ ", 1),
		"another path":   strings.Replace(raw("t", `{}`, ""), "POST / ", "POST /default/other ", 1),
		"another method": strings.Replace(raw("t", `{}`, ""), "POST / ", "PUT / ", 1),
		"web hook":       "OPTIONS / HTTP/1.1\r\nHost: b\r\n\r\n",
		"no type":        raw("", `{}`, ""),
		"bad time":       raw("t", `{}`, "Ce-Time: yesterday\r\n"),
		"a loop's end":   raw("t", `{}`, "Ce-Knativebrokerttl: 1\r\n"),
		"other version":  strings.Replace(raw("t", `{}`, ""), "version: 1.0", "version: 9", 1),
		"structured":     "POST / HTTP/1.1\r\nHost: b\r\nContent-Type: application/cloudevents+json\r\nContent-Length: " + fmt.Sprint(len(structured)) + "\r\n\r\n" + structured,
		"no event":       "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
		"chunked":        strings.Replace(raw("t", "", ""), "Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
		"health":         "GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n",
		"dead letters":   "GET /admin/deadletters HTTP/1.1\r\nHost: b\r\n\r\n",
		"a web page":     "POST /admin/deadletters/replay HTTP/1.1\r\nHost: b\r\nOrigin: http://elsewhere\r\nContent-Length: 0\r\n\r\n",
		"too large":      raw("t", strings.Repeat(" ", 1<<20+1), ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := talk(t, b.URL())(strings.Replace(request, "Host: b\r\n", "Host: b\r\nConnection: close\r\n", 1))
			say := talk(t, b.URL())
			if got := say(raw("t", `{}`, "")); !strings.HasPrefix(got, "202 ") {
				t.Fatal(got)
			}
			if got := say(request); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A drained Broker acknowledges nothing more, over whatever connection.
func TestADrainedBrokerTakesNothingOverAKeptConnection(t *testing.T) {
	t.Parallel()
	b := open(t, options{})
	say := talk(t, b.URL())
	if got := say(raw("t", `{}`, "")); !strings.HasPrefix(got, "202 ") {
		t.Fatal(got)
	}
	drain(t, b)
	if got := say(raw("t", `{}`, "")); strings.HasPrefix(got, "202 ") {
		t.Error(got)
	}
}
