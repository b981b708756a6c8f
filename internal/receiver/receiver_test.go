package receiver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type handle func(context.Context, ce.Event) (*ce.Event, error)

func (h handle) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) { return h(ctx, e) }

func echo(_ context.Context, e ce.Event) (*ce.Event, error) {
	switch e.Type() {
	case "none":
		return nil, nil
	case "bad":
		return nil, cehttp.NewResult(http.StatusBadRequest, "%w", errors.New("bad stake"))
	case "fault":
		return nil, errors.New("redis is down")
	}
	return &e, nil
}

func post(t *testing.T, url string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func binaryMode(typ string) map[string]string {
	return map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/s", "Ce-Type": typ, "Ce-Subject": "p",
		"Ce-Time": "2026-06-01T12:00:00.5Z", "Ce-Partitionkey": "p", "Content-Type": "application/json"}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(New(handle(echo)).Handle))
	t.Cleanup(srv.Close)
	structured := map[string]string{"Content-Type": "application/cloudevents+json"}
	without := func(name string) map[string]string { h := binaryMode("x"); delete(h, name); return h }
	badTime := binaryMode("x")
	badTime["Ce-Time"] = "yesterday"
	for name, c := range map[string]struct {
		header map[string]string
		body   string
		want   int
	}{
		"binary":                {binaryMode("x"), `{"a":1}`, 200},
		"structured":            {structured, `{"specversion":"1.0","id":"1","source":"/s","type":"x","data":{"a":1}}`, 200},
		"no reply":              {binaryMode("none"), `{}`, 200},
		"permanent":             {binaryMode("bad"), `{}`, 400},
		"fault":                 {binaryMode("fault"), `{}`, 500},
		"no id":                 {without("Ce-Id"), `{}`, 400},
		"no source":             {without("Ce-Source"), `{}`, 400},
		"bad time":              {badTime, `{}`, 400},
		"structured without id": {structured, `{"specversion":"1.0","source":"/s","type":"x"}`, 400},
		"structured, cut short": {structured, `{"specversion":"1.0","sour`, 400},
		"not a CloudEvent":      {map[string]string{"Content-Type": "application/json"}, `{}`, 415},
		"a future specversion":  {map[string]string{"Ce-Specversion": "2.0", "Ce-Id": "1"}, `{}`, 415},
		"nothing at all":        {nil, ``, 415},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := post(t, srv.URL, c.header, c.body)
			if res.StatusCode != c.want {
				t.Fatalf("status %d %q, want %d", res.StatusCode, body, c.want)
			}
		})
	}
}

func TestEveryAttributeComesThrough(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(New(handle(echo)).Handle))
	t.Cleanup(srv.Close)
	want := binaryMode("x")
	want["Ce-Dataschema"] = "http://schema/x.json"
	want["Ce-Traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	res, body := post(t, srv.URL, want, `{"a":1}`)
	for name, v := range want {
		if got := res.Header.Get(name); got != v {
			t.Errorf("%s: %q, want %q", name, got, v)
		}
	}
	if body != `{"a":1}` {
		t.Errorf("body %q", body)
	}
}

// TestRequestsKeepTheirOwnContext is what sdk-go's receiver does not hold.
func TestRequestsKeepTheirOwnContext(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(New(handle(func(ctx context.Context, e ce.Event) (*ce.Event, error) {
		return nil, ctx.Err()
	})).Handle))
	t.Cleanup(srv.Close)
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				if res, body := post(t, srv.URL, binaryMode("x"), `{}`); res.StatusCode != 200 {
					t.Errorf("%d %s", res.StatusCode, body)
					return
				}
			}
		}()
	}
	wg.Wait()
}
