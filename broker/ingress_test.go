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

// What is POSTed, well or badly, is answered with the status that says so, and
// the connection serves the next event.
func TestIngressAnswers(t *testing.T) {
	t.Parallel()
	b := open(t, options{})
	structured := `{"specversion":"1.0","id":"7","source":"/p","type":"t","data":{}}`
	on := func(line string) string { return strings.Replace(raw("t", `{}`, ""), "POST / ", line+" ", 1) }
	for name, tc := range map[string]struct{ request, want string }{
		"event":          {raw("t", `{}`, ""), "202 "},
		"no data":        {raw("t", ``, ""), "202 "},
		"Broker's path":  {on("POST /default/pitboss"), "202 "},
		"with a slash":   {on("POST /default/pitboss/"), "202 "},
		"another path":   {on("POST /default/other"), "404 "},
		"another method": {on("PUT /"), "405 "},
		"web hook":       {"OPTIONS / HTTP/1.1\r\nHost: b\r\n\r\n", "200 "},
		"no type":        {raw("", `{}`, ""), "400 "},
		"bad time":       {raw("t", `{}`, "Ce-Time: yesterday\r\n"), "400 "},
		"a loop's end":   {raw("t", `{}`, "Ce-Knativebrokerttl: 1\r\n"), "400 "},
		"other version":  {strings.Replace(raw("t", `{}`, ""), "version: 1.0", "version: 9", 1), "400 "},
		"structured":     {"POST / HTTP/1.1\r\nHost: b\r\nContent-Type: application/cloudevents+json\r\nContent-Length: " + fmt.Sprint(len(structured)) + "\r\n\r\n" + structured, "202 "},
		"no event":       {"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", "400 "},
		"chunked":        {strings.Replace(raw("t", "", ""), "Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1), "202 "},
		"health":         {"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n", "200 "},
		"dead letters":   {"GET /admin/deadletters HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 "},
		"everywhere":     {"GET /admin/deadletters HTTP/1.1\r\nHost: [::]:8080\r\n\r\n", "200 "},
		"another name":   {"GET /admin/deadletters HTTP/1.1\r\nHost: rebound.example\r\n\r\n", "403 "},
		"a web page":     {"POST /admin/deadletters/replay HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere\r\nContent-Length: 0\r\n\r\n", "403 "},
		"too large":      {raw("t", strings.Repeat(" ", 1<<20+1), ""), "413 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			say := talk(t, b.URL())
			if got := say(tc.request); !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if name == "too large" {
				return // net/http closes rather than read it all
			}
			if got := say(raw("t", `{}`, "")); !strings.HasPrefix(got, "202 ") {
				t.Errorf("the next event: %s", got)
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
