package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type lettersNow struct {
	Frame struct {
		Letters int64 `json:"dead_letters"`
		Lately  int64 `json:"dead_letters_lately"`
	}
}

// What the Broker kept before the console began is no news; what comes is.
func TestDeadLettersOfBeforeAreNoNews(t *testing.T) {
	t.Parallel()
	var stats atomic.Value
	stats.Store(`{"dead_letters":3}`)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(stats.Load().(string))) }))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"BROKER_ADMIN_URL": broker.URL})
	wait := func(letters, lately int64) {
		t.Helper()
		var now lettersNow
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if s.get("/api/live", &now); now.Frame.Letters == letters && now.Frame.Lately == lately {
				return
			}
		}
		t.Fatalf("%+v, want %d letters, %d of them lately", now.Frame, letters, lately)
	}
	wait(3, 0)
	time.Sleep(1200 * time.Millisecond) // the console has looked at them
	wait(3, 0)
	stats.Store(`{"dead_letters":5}`)
	wait(5, 2)
	stats.Store(`{"dead_letters":4}`) // one was replayed
	wait(4, 2)
}

// Without Redis dead letters are kept in memory. When that is full the Broker
// is told to come again: none is dropped behind a 2xx.
func TestNoDeadLetterIsDroppedWhenMemoryIsFull(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	// Its own connection: whoever closes an httptest.Server closes the idle ones of http.DefaultClient.
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
