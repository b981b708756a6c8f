package broker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// Dead letters are listed whatever their bytes are, one by one and all, from
// either end and page by page, and are replayed as they came.
func TestDeadLettersOfAnyBytes(t *testing.T) {
	t.Parallel()
	sub := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { w.WriteHeader(http.StatusBadRequest) })
	b := open(t, options{}, spec{name: "t", to: sub})
	bodies := []string{"not json", "{}", "", "\x1f\x8b\x08\x00\xff", `{"a":1,"a":2}`, `{"a":`, "\xff\xfe", `"\ud800"`, strings.Repeat("x", 1<<19)}
	const n = 40
	for i := range n {
		req, _ := http.NewRequest(http.MethodPost, b.URL(), strings.NewReader(bodies[i%len(bodies)]))
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "t", "Ce-Source": "/s", "Ce-Id": fmt.Sprint(i),
			"Content-Type": []string{"application/json", "text/plain", "application/vnd.acme+json"}[i%3]} {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatal(err, res)
		}
		res.Body.Close()
	}
	quiet(t, b)
	for _, query := range []string{"limit=7&after=", "order=newest&limit=7&before="} {
		if seen := pages(t, b.URL(), query, bodies); len(seen) != n {
			t.Errorf("%s: %d dead letters listed, want %d", query, len(seen), n)
		}
	}
	if got, text := get(t, b.URL()+"/admin/deadletters/1"); got != http.StatusOK || !json.Valid(text) {
		t.Errorf("one: %d %q", got, text)
	}
	sub.answer = func(w http.ResponseWriter, e ce.Event, _ int) {
		var i int
		_, _ = fmt.Sscan(e.ID(), &i)
		if want := bodies[i%len(bodies)]; string(e.Data()) != want {
			t.Errorf("%s was replayed as %.40q, want %.40q", e.ID(), e.Data(), want)
		}
	}
	res, err := http.Post(b.URL()+"/admin/deadletters/replay", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(bytes.TrimSpace(body)) != fmt.Sprintf(`{"replayed":%d}`, n) {
		t.Errorf("replay all: %s", body)
	}
	quiet(t, b)
}

// pages reads the list page by page, and checks the data of each.
func pages(t *testing.T, url, query string, bodies []string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for from := ""; ; {
		status, text := get(t, url+"/admin/deadletters?"+query+from)
		var page []struct {
			ID    string   `json:"id"`
			Event ce.Event `json:"event"`
		}
		if err := json.Unmarshal(text, &page); err != nil || status != http.StatusOK {
			t.Fatalf("%d %.200q: %v", status, text, err)
		}
		if len(page) == 0 {
			return seen
		}
		for _, d := range page {
			var i int
			_, _ = fmt.Sscan(d.Event.ID(), &i)
			if want := bodies[i%len(bodies)]; string(d.Event.Data()) != want {
				t.Errorf("%s is listed with %.40q, want %.40q", d.Event.ID(), d.Event.Data(), want)
			}
			seen[d.Event.ID()], from = true, d.ID
		}
	}
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}
