package console_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type deadLettersNow struct {
	Frame struct {
		Letters int64 `json:"dead_letters"`
		Lately  int64 `json:"dead_letters_lately"`
	}
}

// Dead letters from before the console started do not count as new ones.
func TestDeadLettersOfBeforeAreNoNews(t *testing.T) {
	t.Parallel()
	var stats atomic.Value
	stats.Store(`{"dead_letters":3}`)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(stats.Load().(string))) }))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"BROKER_ADMIN_URL": broker.URL})
	wait := func(letters, lately int64) {
		t.Helper()
		var now deadLettersNow
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if s.get("/api/live", &now); now.Frame.Letters == letters && now.Frame.Lately == lately {
				return
			}
		}
		t.Fatalf("%+v, want %d letters, %d of them lately", now.Frame, letters, lately)
	}
	wait(3, 0)
	time.Sleep(1200 * time.Millisecond) // the console counts them meanwhile
	wait(3, 0)
	stats.Store(`{"dead_letters":5}`)
	wait(5, 2)
	stats.Store(`{"dead_letters":4}`) // one was replayed
	wait(4, 2)
}

// Without Redis dead letters are kept in memory. When that is full, the Broker must retry:
// none is dropped with a 2xx.
func TestNoDeadLetterIsDroppedWhenMemoryIsFull(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	// Its own client, since closing any httptest.Server closes http.DefaultClient's idle connections.
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	send := func() int {
		req, _ := http.NewRequest("POST", s.url+"/deadletters", strings.NewReader(`{}`))
		for k, v := range map[string]string{"Specversion": "1.0", "Type": "t", "Source": "/s", "Id": "1"} {
			req.Header.Set("Ce-"+k, v)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	for n := range 10_000 {
		if got := send(); got != 202 {
			t.Fatalf("letter %d: %d", n, got)
		}
	}
	if got := send(); got != 500 {
		t.Errorf("one more: %d, want 500", got)
	}
}

// Dead letters with any bytes are listed page by page and replayed. One that is not JSON
// does not hide the others, and is replayed as it came in.
func TestDeadLettersOfAnyBytes(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	replayed := map[string]string{}
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		replayed[r.Header.Get("Ce-Id")] = string(body)
		mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"K_SINK": broker.URL})
	sent := map[string]string{}
	for n := range 250 { // more than two pages
		data := []string{"not json", "{}", "\x1f\x8b\x08\x00\xff", `{"a":1,"a":2}`, `{"a":`, "\xff\xfe"}[n%6]
		req, _ := http.NewRequest("POST", s.url+"/deadletters", strings.NewReader(data))
		id := fmt.Sprint("e", n)
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "t", "Ce-Source": "/s", "Ce-Id": id, "Content-Type": "application/json"} {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != 202 {
			t.Fatalf("%q: %v %v", data, res, err)
		}
		res.Body.Close()
		sent[id] = data
	}
	seen := map[string]bool{}
	for before := ""; ; {
		var page struct {
			Total       int
			DeadLetters []struct {
				ID    string
				Event struct {
					ID              string
					DataContentType string
					Data            any
					DataBase64      []byte `json:"data_base64"`
				}
			} `json:"dead_letters"`
		}
		s.get("/api/deadletters?before="+before, &page)
		if len(page.DeadLetters) == 0 {
			break
		}
		for _, d := range page.DeadLetters {
			seen[d.Event.ID] = true
			if want := sent[d.Event.ID]; want != "{}" && string(d.Event.DataBase64) != want || d.Event.DataContentType != "application/json" {
				t.Fatalf("%+v, want %q", d, want)
			}
			before = d.ID
		}
	}
	if len(seen) != len(sent) {
		t.Errorf("%d dead letters listed of %d", len(seen), len(sent))
	}
	var n struct{ Replayed int }
	if s.change("/api/deadletters/replay", struct{}{}, &n); n.Replayed != len(sent) {
		t.Errorf("%d of %d replayed", n.Replayed, len(sent))
	}
	mu.Lock()
	defer mu.Unlock()
	for id, data := range sent {
		if replayed[id] != data {
			t.Fatalf("%s was replayed as %q, want %q", id, replayed[id], data)
		}
	}
}
