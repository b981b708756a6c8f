package ingest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	funchttp "knative.dev/func-go/http"

	"pitboss/internal/event"
	"pitboss/test/openidtest"
)

// broker counts the events that ingest forwards, and answers as it is told.
type broker struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []http.Header
}

func newBroker(t *testing.T) *broker {
	b := &broker{status: http.StatusAccepted}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.status == http.StatusAccepted {
			b.got = append(b.got, r.Header.Clone())
		}
		w.WriteHeader(b.status)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *broker) count() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.got) }

// serve serves ingest through func-go's server, as it is deployed.
func serve(t *testing.T, cfg map[string]string) string {
	t.Helper()
	f := New()
	if err := f.Start(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(funchttp.New(f).Handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

const good = `{"specversion":"1.0","id":"%d","source":"/p","type":"pitboss.round.settled.v1","subject":"alice","time":"2026-01-01T00:00:00Z",` +
	`"datacontenttype":"application/json","data":{"game":"g","product":"casino","stake":%s,"win":0,"currency":"GBP"}}`

func post(t *testing.T, url, contentType, body string, header ...string) (*http.Response, problem) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	var p problem
	if res.StatusCode >= 400 {
		if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("an error must be a problem document, got %s %s", ct, raw)
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		if p.Status != res.StatusCode {
			t.Errorf("status %d in the body, %d on the wire", p.Status, res.StatusCode)
		}
	}
	return res, p
}

func TestBadInputIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	structured, batch := "application/cloudevents+json", "application/cloudevents-batch+json"
	one := func(old, new string) string { return strings.Replace(fmt.Sprintf(good, 1, "100"), old, new, 1) }
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		code, pointer           string
	}{
		{"not a CloudEvent", "application/json", `{"hello":1}`, 400, event.CodeNotCloudEvent, ""},
		{"not JSON", structured, `{{{`, 400, event.CodeNotCloudEvent, ""},
		{"no id", structured, one(`"id":"1",`, ""), 400, event.CodeNotCloudEvent, "/id"},
		{"empty source", structured, one(`"source":"/p"`, `"source":""`), 400, event.CodeNotCloudEvent, "/source"},
		{"id is a number", structured, one(`"id":"1"`, `"id":1`), 400, event.CodeNotCloudEvent, "/id"},
		{"CloudEvents 0.3", structured, one(`"specversion":"1.0"`, `"specversion":"0.3"`), 400, event.CodeNotCloudEvent, "/specversion"},
		{"no specversion", structured, one(`"specversion":"1.0",`, ""), 400, event.CodeNotCloudEvent, "/specversion"},
		{"time in words", structured, one("2026-01-01T00:00:00Z", "yesterday"), 400, event.CodeNotCloudEvent, "/time"},
		{"source is no URI", structured, one(`"source":"/p"`, `"source":"%%"`), 400, event.CodeNotCloudEvent, "/source"},
		{"an array", structured, `[1]`, 400, event.CodeNotCloudEvent, ""},
		{"null", structured, `null`, 400, event.CodeNotCloudEvent, ""},
		{"cut off", structured, `{"specversion":"1.0",`, 400, event.CodeNotCloudEvent, ""},
		{"nothing at all", "", "", 400, event.CodeNotCloudEvent, ""},
		{"line feed in the subject", structured, one(`"alice"`, `"alice\nce-id: 2"`), 400, event.CodeNotCloudEvent, "/subject"},
		{"line feed in an extension", structured, one(`"subject"`, `"shop":"a\nb","subject"`), 400, event.CodeNotCloudEvent, "/shop"},
		{"batch, line feed", batch, "[" + fmt.Sprintf(good, 1, "1") + "," + one(`"subject"`, `"shop":"a\nb","subject"`) + "]", 400, event.CodeNotCloudEvent, "/1/shop"},
		{"batch is an object", batch, `{}`, 400, event.CodeNotCloudEvent, ""},
		{"batch of a number", batch, "[" + fmt.Sprintf(good, 1, "1") + ",7]", 400, event.CodeNotCloudEvent, "/1"},
		{"batch, no id", batch, "[" + fmt.Sprintf(good, 1, "1") + "," + one(`"id":"1",`, "") + "]", 400, event.CodeNotCloudEvent, "/1/id"},
		{"batch, bad time", batch, "[" + fmt.Sprintf(good, 1, "1") + "," + one("2026-01-01T00:00:00Z", "x") + "]", 400, event.CodeNotCloudEvent, "/1/time"},
		{"batch, 0.3", batch, "[" + one(`"specversion":"1.0"`, `"specversion":"0.3"`) + "]", 400, event.CodeNotCloudEvent, "/0/specversion"},
		{"unknown type", structured, one("round.settled", "round.invented"), 400, event.CodeUnknownType, "/type"},
		{"our own type", structured, one("round.settled", "player.updated"), 400, "", ""},
		{"no subject", structured, one(`"subject":"alice",`, ""), 400, event.CodeNoSubject, "/subject"},
		{"schema", structured, one("100", "-5"), 400, event.CodeSchemaViolation, "/data/stake"},
		{"future", structured, one("2026-01-01T00:00:00Z", future), 400, event.CodeFutureTime, "/time"},
		{"deep", structured, one(`"game":"g"`, `"game":`+strings.Repeat("[", 30)+strings.Repeat("]", 30)), 400, event.CodeTooDeep, "/data"},
		{"2 MB", structured, one(`"g"`, `"`+strings.Repeat("g", 2<<20)+`"`), 413, event.CodeTooLarge, ""},
		{"second of a batch", batch, "[" + fmt.Sprintf(good, 1, "1") + "," + fmt.Sprintf(good, 2, "-1") + "]", 400, event.CodeSchemaViolation, "/1/data/stake"},
		{"empty batch", batch, "[]", 400, event.CodeNotCloudEvent, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, p := post(t, url, tc.contentType, tc.body)
			if res.StatusCode != tc.status {
				t.Fatalf("got %d %+v, want %d", res.StatusCode, p, tc.status)
			}
			if tc.code != "" && p.Code != tc.code {
				t.Errorf("got code %q (%s), want %q", p.Code, p.Detail, tc.code)
			}
			if p.Detail == "" {
				t.Errorf("no detail: %+v", p)
			}
			if tc.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != tc.pointer) {
				t.Errorf("got errors %+v, want pointer %s", p.Errors, tc.pointer)
			}
		})
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d bad events reached the Broker", n)
	}
}

func TestBadBinaryAttributesAreNamed(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	for _, tc := range []struct {
		name, value, pointer string
		status               int
	}{
		{"ce-id", "", "/id", 400}, {"ce-source", "", "/source", 400}, {"ce-source", "%%", "/source", 400}, {"ce-type", "", "/type", 400},
		{"ce-time", "14:02", "/time", 400}, {"ce-specversion", "0.3", "/specversion", 400}, {"ce-specversion", "2.0", "/specversion", 400},
		{"ce-specversion", "", "/specversion", 400}, {"ce-dataschema", "%%", "/dataschema", 400}, {"Content-Encoding", "gzip", "", 415},
	} {
		header := []string{"ce-specversion", "1.0", "ce-id", "2", "ce-source", "/p", "ce-type", event.TypeRoundSettled, "ce-subject", "bob",
			"ce-time", "2026-01-01T00:00:00Z", tc.name, tc.value}
		res, p := post(t, url, "application/json", `{"game":"g","product":"casino","stake":1,"win":0,"currency":"GBP"}`, header...)
		if res.StatusCode != tc.status || tc.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tc.pointer) {
			t.Errorf("%s %q: got %d %+v, want %d and %s", tc.name, tc.value, res.StatusCode, p, tc.status, tc.pointer)
		}
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d bad events reached the Broker", n)
	}
}

func TestGoodEventsReachTheBrokerInEveryMode(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	if res, p := post(t, url, "application/cloudevents+json", fmt.Sprintf(good, 1, "100")); res.StatusCode != 202 {
		t.Fatalf("structured: %d %+v", res.StatusCode, p)
	}
	if res, p := post(t, url, "application/json", `{"game":"g","product":"casino","stake":1,"win":0,"currency":"GBP"}`,
		"ce-specversion", "1.0", "ce-id", "2", "ce-source", "/p", "ce-type", event.TypeRoundSettled, "ce-subject", "bob",
		"ce-time", "2026-01-01T00:00:00Z", "ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); res.StatusCode != 202 {
		t.Fatalf("binary: %d %+v", res.StatusCode, p)
	}
	var events []string
	for i := range 40 {
		events = append(events, fmt.Sprintf(good, 100+i, "5"))
	}
	if res, p := post(t, url, "application/cloudevents-batch+json", "["+strings.Join(events, ",")+"]"); res.StatusCode != 202 {
		t.Fatalf("batch: %d %+v", res.StatusCode, p)
	}
	if b.count() != 42 {
		t.Errorf("the Broker got %d events, want 42", b.count())
	}
	for _, h := range b.got {
		if h.Get("Ce-Partitionkey") != h.Get("Ce-Subject") || h.Get("Ce-Receivedtime") == "" {
			t.Errorf("forwarded without partition key or time of receipt: %v", h)
		}
		if h.Get("Ce-Id") == "2" && !strings.HasPrefix(h.Get("Ce-Traceparent"), "00-0af7651916cd43dd8448eb211c80319c") {
			t.Error("the trace context was lost")
		}
	}
}

func TestBrokerFaultIsRetryable(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	b.mu.Lock()
	b.status = 500
	b.mu.Unlock()
	res, p := post(t, url, "application/cloudevents+json", fmt.Sprintf(good, 1, "100"))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %+v, want 503 with Retry-After", res.StatusCode, p)
	}
}

// The producer learns of an event that the Broker will never accept. A fault between ingest
// and the Broker is not blamed on the event.
func TestBrokerRefusal(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	one := fmt.Sprintf(good, 1, "1")
	for broker, want := range map[int]int{400: 400, 413: 413, 401: 503, 404: 503, 429: 503, 202: 202} {
		b.mu.Lock()
		b.status = broker
		b.mu.Unlock()
		res, p := post(t, url, "application/cloudevents+json", one)
		if res.StatusCode != want || want/100 == 4 && (p.Code != "broker-refused" || !strings.Contains(p.Detail, fmt.Sprint(broker))) {
			t.Errorf("the Broker answered %d: got %d %+v, want %d", broker, res.StatusCode, p, want)
		}
		res, p = post(t, url, "application/cloudevents-batch+json", "["+one+","+one+"]")
		if res.StatusCode != want || want/100 == 4 && !strings.HasPrefix(p.Errors[0].Pointer, "/") {
			t.Errorf("the Broker answered %d: a batch got %d %+v, want %d", broker, res.StatusCode, p, want)
		}
	}
}

func TestBearerToken(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	p.Set(func() { p.Down = true })
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL, "INGEST_OIDC_ISSUER": p.URL, "INGEST_OIDC_AUDIENCE": "pitboss", "K_SERVICE": "ingest"})
	body := fmt.Sprintf(good, 1, "1")
	send := func(header ...string) (*http.Response, problem) {
		return post(t, url, "application/cloudevents+json", body, header...)
	}
	mine := map[string]any{"sub": "acme", "aud": []string{"somebody", "pitboss"}}
	signed := func(alg string, more map[string]any) string {
		p.Set(func() { p.Alg = alg })
		claims := maps.Clone(mine)
		maps.Copy(claims, more)
		return "Bearer " + p.Token(claims)
	}
	token := signed("", nil)
	for range 2 { // the second time the failure is cached
		if res, told := send("Authorization", token); res.StatusCode != 503 || told.Code != "issuer-unavailable" || res.Header.Get("Retry-After") == "" {
			t.Fatalf("while the issuer is down: %d %+v, want 503: the token may be good", res.StatusCode, told)
		}
	}
	if res, _ := send(); res.StatusCode != 401 {
		t.Errorf("without a token: %d, want 401 though the issuer is down", res.StatusCode)
	}
	p.Set(func() { p.Down = false })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, told := send("Authorization", token)
		if res.StatusCode == 202 {
			break
		}
		if res.StatusCode != 503 || time.Now().After(end) {
			t.Fatalf("the issuer is up again: %d %+v", res.StatusCode, told)
		}
	}
	for name, token := range map[string]string{
		"another audience":         signed("", map[string]any{"aud": "pitboss-console"}),
		"another issuer":           signed("", map[string]any{"iss": "http://127.0.0.1:1"}),
		"expired":                  signed("", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"unsigned":                 signed("none", nil),
		"signed with a public key": signed("HS256", nil),
		"garbled":                  "Bearer x",
		"not a bearer":             "Basic eDp4",
	} {
		if res, told := send("Authorization", token); res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %+v, want 401", name, res.StatusCode, told)
		}
	}
	// An unknown key cannot be fetched while the issuer is down.
	p.Rotate()
	fresh := signed("", nil)
	p.Set(func() { p.Down = true })
	if res, told := send("Authorization", fresh); res.StatusCode != 503 {
		t.Errorf("with a new key while the issuer is down: %d %+v, want 503", res.StatusCode, told)
	}
	p.Set(func() { p.Down = false })
	if res, told := send("Authorization", fresh); res.StatusCode != 202 {
		t.Errorf("with a new key: %d %+v, want 202", res.StatusCode, told)
	}
}

// Beyond INGEST_IN_FLIGHT a request waits and is then asked to come again: bytes bound the
// memory, not only requests.
func TestBytesInFlightAreBounded(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-free
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(broker.Close)
	f := New()
	f.patience = 200 * time.Millisecond
	if err := f.Start(context.Background(), map[string]string{"K_SINK": broker.URL, "INGEST_MAX_BODY": "1000", "INGEST_IN_FLIGHT": "1000"}); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(funchttp.New(f).Handler)
	t.Cleanup(srv.Close)
	first := make(chan int, 4)
	body := fmt.Sprintf(good, 1, "1")
	for range cap(first) { // each about a quarter of what fits
		go func() {
			res, _ := post(t, srv.URL, "application/cloudevents+json", body)
			first <- res.StatusCode
		}()
	}
	for f.room.TryAcquire(int64(len(body))) { // until all of them are in work
		f.room.Release(int64(len(body)))
		time.Sleep(time.Millisecond)
	}
	if res, p := post(t, srv.URL, "application/cloudevents+json", body); res.StatusCode != 503 || p.Code != "busy" || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d %+v, want 503 busy", res.StatusCode, p)
	}
	close(free)
	for range cap(first) {
		if got := <-first; got != 202 && got != 503 {
			t.Errorf("one that was let in: %d", got)
		}
	}
	if res, p := post(t, srv.URL, "application/cloudevents+json", body); res.StatusCode != 202 {
		t.Errorf("afterwards: %d %+v", res.StatusCode, p)
	}
	if err := New().Start(context.Background(), map[string]string{"K_SINK": broker.URL, "INGEST_IN_FLIGHT": "1000"}); err == nil || !strings.Contains(err.Error(), "INGEST_MAX_BODY") {
		t.Errorf("room for less than one body: %v", err)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL, "INGEST_RATE": "0.001", "INGEST_BURST": "2"})
	var last *http.Response
	for i := range 3 {
		last, _ = post(t, url, "application/cloudevents+json", fmt.Sprintf(good, i, "1"))
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("the third event got %d, want 429 with Retry-After", last.StatusCode)
	}
	if b.count() != 2 {
		t.Errorf("the Broker got %d events, want 2", b.count())
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("# producers\nacme a-long-enough-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL, "INGEST_HMAC_KEYS_FILE": keys, "K_SERVICE": "ingest"})
	body := fmt.Sprintf(good, 1, "1")
	sign := func(producer, key, signed string, at time.Time) []string {
		h := http.Header{"Content-Type": {"application/cloudevents+json"}}
		mac := Sign([]byte(key), at.Unix(), h, []byte(signed))
		return []string{headerProducer, producer, headerSignature, fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac))}
	}
	for _, tc := range []struct {
		name   string
		header []string
		want   int
	}{
		{"signed", sign("acme", "a-long-enough-secret", body, time.Now()), 202},
		{"unsigned", nil, 401},
		{"another key", sign("acme", "not-the-right-secret", body, time.Now()), 401},
		{"another body", sign("acme", "a-long-enough-secret", body+" ", time.Now()), 401},
		{"unknown producer", sign("emca", "a-long-enough-secret", body, time.Now()), 401},
		{"old signature", sign("acme", "a-long-enough-secret", body, time.Now().Add(-time.Hour)), 401},
		{"garbled", []string{headerProducer, "acme", headerSignature, "v1=zz"}, 401},
	} {
		res, p := post(t, url, "application/cloudevents+json", body, tc.header...)
		if res.StatusCode != tc.want {
			t.Errorf("%s: got %d %+v, want %d", tc.name, res.StatusCode, p, tc.want)
		}
	}
}

// The commands of docs/ingest.md work, also while the producer's secret is being rotated.
func TestTheDocumentedSignatureIsTaken(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/ingest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "## Signed requests")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/ingest.md has no commands")
	}
	b := newBroker(t)
	for name, lines := range map[string]string{
		"its secret":                  "acme 0123456789abcdef0123456789abcdef\n",
		"a newer one beside":          "acme 0123456789abcdef0123456789abcdef\nacme the-newer-secret-of-acme\n",
		"its own is the newer":        "acme the-older-secret-of-acme\nacme 0123456789abcdef0123456789abcdef\n",
		"its secret is taken away":    "acme the-newer-secret-of-acme\n",
		"somebody else has that, too": "emca 0123456789abcdef0123456789abcdef\n",
	} {
		keys := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(keys, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		before := b.count()
		url := serve(t, map[string]string{"K_SINK": b.URL, "INGEST_HMAC_KEYS_FILE": keys, "K_SERVICE": "ingest"})
		out, err := exec.Command("bash", "-euc", strings.Replace(script, "https://ingest.example.com", url, 1)).CombinedOutput()
		if good := strings.Contains(lines, "acme 0123"); good != (err == nil) || good != (b.count() == before+1) {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

func TestOnAClusterItRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	err := New().Start(context.Background(), map[string]string{"K_SINK": "http://broker", "K_SERVICE": "pitboss-ingest"})
	if err == nil || !strings.Contains(err.Error(), "INGEST_HMAC_KEYS_FILE") {
		t.Errorf("got %v, want an error that names what to set", err)
	}
}

func TestSchemasAreServed(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]string{"K_SINK": "http://127.0.0.1:1"})
	if res, err := http.Get(url + "/asyncapi"); err != nil || res.StatusCode != 200 || !strings.Contains(res.Header.Get("Content-Type"), "asyncapi+json") {
		t.Errorf("%v %v", res, err)
	}
	for _, i := range event.Types() {
		res, err := http.Get(url + event.SchemaPath(i.Type))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || !strings.Contains(string(body), i.Type) {
			t.Errorf("%s: %d %s", i.Type, res.StatusCode, body)
		}
	}
}

// Any input is either valid events, or refused with the wrong fields.
func FuzzRead(f *testing.F) {
	f.Add("application/cloudevents+json", "", "", "", "", fmt.Sprintf(good, 1, "1"))
	f.Add("application/cloudevents+json; charset=utf-8", "", "", "", "", `{"specversion":"1.0","id":1}`)
	f.Add("application/cloudevents-batch+json", "", "", "", "", "["+fmt.Sprintf(good, 1, "1")+"]")
	f.Add("application/json", "1.0", "1", "/p", "2026-01-01T00:00:00Z", "{}")
	f.Add("application/json", "0.3", "", "%%", "x", "")
	fn := New()
	fn.cfg.MaxBatch = 3
	f.Fuzz(func(t *testing.T, contentType, version, id, source, when, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header = http.Header{"Content-Type": {contentType}, "Ce-Type": {"t"}}
		for name, v := range map[string]string{"Ce-Specversion": version, "Ce-Id": id, "Ce-Source": source, "Ce-Time": when} {
			if v != "" {
				r.Header[name] = []string{v}
			}
		}
		events, _, err := fn.read(r, []byte(body))
		if wrong := fieldErrors(err); (len(events) > 0) == (len(wrong) > 0) {
			t.Fatalf("%d events, %v wrong", len(events), wrong)
		}
		for _, e := range events {
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
		}
		for _, w := range fieldErrors(err) {
			if w.Code == "" || w.Detail == "" {
				t.Errorf("%+v", w)
			}
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add("t=1,v1=00")
	f.Fuzz(func(t *testing.T, s string) {
		if _, mac, ok := parseSignature(s); ok && mac == nil && !strings.HasSuffix(s, "v1=") {
			t.Error("parsed without a signature")
		}
	})
}
