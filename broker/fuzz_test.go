package broker

import (
	"net/url"
	"reflect"
	"testing"
)

// A record of the log that can be read is the same message when it is written
// and read again.
func FuzzRecord(f *testing.F) {
	m, err := readHTTP(headers("Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t", "Ce-Source", "/s", "Ce-Time", "2026-01-02T15:04:05Z",
		"Content-Type", "application/json", "X-Request-Id", "r"), []byte(`{"a":1}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.appendRecord(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readRecord(b)
		if err != nil {
			return
		}
		first := m.appendRecord(nil)
		again, err := readRecord(first)
		if err != nil || !reflect.DeepEqual(again.appendRecord(nil), first) {
			t.Errorf("%q became %q (%v)", first, again.appendRecord(nil), err)
		}
	})
}

// Whatever is POSTed is refused, or can be logged, read and delivered.
func FuzzHTTP(f *testing.F) {
	f.Add("Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t", "Ce-Source", "/s", "Ce-Time", "2026-01-02T15:04:05Z", "application/json", []byte(`{"a":1}`))
	f.Add("Ce-A", "", "Ce-Specversion", "1.0", "", "", "", "", "", "", "application/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","type":"t","source":"/s"}`))
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3, k4, v4, k5, v5, contentType string, body []byte) {
		m, err := readHTTP(headers(k1, v1, k2, v2, k3, v3, k4, v4, k5, v5, "Content-Type", contentType), body)
		if err != nil || !m.valid && m.event().Validate() != nil { // as stamp looks at it
			return
		}
		again, err := readRecord(m.appendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if e := again.event(); e.ID() == "" || e.Validate() != nil {
			t.Errorf("%v", e.Validate())
		}
		if req, err := (&client{url: &url.URL{Scheme: "http", Host: "f"}}).request(t.Context(), again); err == nil && req.Header.Get("Prefer") == "" {
			t.Errorf("the request is %v", req.Header)
		}
	})
}
