package functions

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/valyala/fasthttp"

	"pitboss/internal/event"
)

func binaryRequest(change map[string]string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"stake":1}`))
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/s", "Ce-Type": "t", "Ce-Subject": "p",
		"Ce-Time": "2026-06-01T12:00:00.5+02:00", "Ce-Partitionkey": "p", "Ce-Dataschema": "http://x/y.json",
		"Ce-Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Content-Type": "application/json"} {
		r.Header.Set(k, v)
	}
	for k, v := range change {
		r.Header.Del(k)
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	return r
}

// TestDecodeIsSDKs holds the fast way against sdk-go's own.
func TestDecodeIsSDKs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]map[string]string{
		"all attributes": nil,
		"none optional":  {"Ce-Subject": "", "Ce-Time": "", "Ce-Dataschema": "", "Ce-Partitionkey": "", "Content-Type": ""},
		"no id":          {"Ce-Id": ""},
		"no source":      {"Ce-Source": ""},
		"no type":        {"Ce-Type": ""},
		"bad time":       {"Ce-Time": "yesterday"},
		"bad source":     {"Ce-Source": "http://[::1"},
		"bad schema":     {"Ce-Dataschema": "%zz"},
		// 0.3 has no dataschema: with one, sdk-go's answer depends on the order of a map.
		"another specversion": {"Ce-Specversion": "0.3", "Ce-Dataschema": ""},
		"a wrong specversion": {"Ce-Specversion": "9"},
		"not a CloudEvent":    {"Ce-Specversion": ""},
		"an odd extension":    {"Ce-A-B": "x"},
		"percent signs":       {"Ce-Subject": "50%25", "Ce-Id": "%"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, wantErr := cehttp.NewEventFromHTTPRequest(binaryRequest(change))
			if wantErr == nil {
				wantErr = want.Validate()
			}
			got, err := decode(binaryRequest(change))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("error %v, sdk-go's %v", err, wantErr)
			}
			if err == nil && got.String() != want.String() {
				t.Fatalf("%s\nsdk-go's: %s", got, want)
			}
		})
	}
}

// The same with attributes at random, on both servers.
func TestDecodeIsSDKsAtRandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	values := []string{"", "x", "two words", "å", "%zz", "50%25", "http://[::1", "a/b?c#d", "//host/a", "x:y", "http://x/y.json", "/s", "?", "#",
		"application/json", "text/plain", "application/json; charset=utf-8", ";;;", "2026-06-01T12:00:00Z", "2026-06-01t12:00:00.5+02:00", "yesterday"}
	names := []string{"Ce-Id", "Ce-Source", "Ce-Type", "Ce-Subject", "Ce-Time", "Ce-Dataschema", "Content-Type", "Ce-Partitionkey", "Ce-Jurisdiction", "Ce-Other", "Ce-A-B"}
	taken := 0
	for range 20000 {
		change := map[string]string{}
		for range rng.IntN(4) {
			change[names[rng.IntN(len(names))]] = values[rng.IntN(len(values))]
		}
		want, wantErr := cehttp.NewEventFromHTTPRequest(binaryRequest(change))
		if wantErr == nil {
			wantErr = want.Validate()
		}
		got, err := decode(binaryRequest(change))
		fast := fasthttp.Request{}
		for name, v := range binaryRequest(change).Header {
			fast.Header.Set(name, v[0])
		}
		fast.SetBodyString(`{"stake":1}`)
		gotFast, _, errFast := decodeFast(&fast)
		if (err == nil) != (wantErr == nil) || (errFast == nil) != (wantErr == nil) {
			t.Fatalf("%v: errors %v and %v, sdk-go's %v", change, err, errFast, wantErr)
		}
		if err != nil {
			continue
		}
		taken++
		if got.String() != want.String() || gotFast.String() != want.String() || event.Source(got) != want.Source() || event.Schema(got) != want.DataSchema() {
			t.Fatalf("%v:\n%s\n%s\nsdk-go's: %s", change, got, gotFast, want)
		}
	}
	if taken < 5000 {
		t.Errorf("%d of 20000 were events", taken)
	}
}

func BenchmarkDecode(b *testing.B) {
	r := binaryRequest(nil)
	for name, f := range map[string]func(*http.Request) error{
		"here":   func(r *http.Request) error { _, err := decode(r); return err },
		"sdk-go": func(r *http.Request) error { e, err := cehttp.NewEventFromHTTPRequest(r); _ = e; return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				r.Body = http.NoBody
				r.ContentLength = 0
				if err := f(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
