package console_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pitboss/functions/console"
	"pitboss/test/openidtest"
	"pitboss/test/redistest"
)

const testKey = "0123456789abcdef0123456789abcdef"

// signedOff is a console with a provider and nobody signed in. Its address must be known
// before it starts, so a proxy passes requests on, as a gateway does.
func signedOff(t *testing.T, p *openidtest.Provider, more ...string) *served {
	t.Helper()
	var to atomic.Pointer[http.Handler]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*to.Load()).ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	cfg := map[string]string{"CONSOLE_URL": front.URL, "CONSOLE_OIDC_ISSUER": p.URL, "CONSOLE_OIDC_CLIENT_ID": openidtest.ClientID,
		"CONSOLE_OIDC_CLIENT_SECRET": openidtest.ClientSecret, "CONSOLE_OIDC_ROLES_CLAIM": "realm_access.roles", "CONSOLE_SESSION_KEY": testKey}
	for i := 0; i+1 < len(more); i += 2 {
		cfg[more[i]] = more[i+1]
	}
	s := start(t, cfg)
	h := http.Handler(http.HandlerFunc(s.f.Handle))
	to.Store(&h)
	s.url = front.URL
	p.Set(func() { p.Back = front.URL + "/auth/callback" })
	return s
}

// browser keeps cookies, and follows redirects unless it is told where to stop.
type browser struct {
	*http.Client
	s *served
}

func (s *served) browser(stop ...string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if slices.Contains(stop, r.URL.Path) {
			return http.ErrUseLastResponse
		}
		return nil
	}}, s}
}

// open returns the answer's status, its address and its text.
func (b *browser) open(path string) (int, *url.URL, string) {
	b.s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.s.url + path
	}
	res, err := b.Get(path)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	at := res.Request.URL
	if to := res.Header.Get("Location"); to != "" {
		if at, err = at.Parse(to); err != nil {
			b.s.t.Fatal(err)
		}
	}
	return res.StatusCode, at, string(text)
}

type meAnswer struct {
	Person *struct {
		Name, ID string
		Roles    []string
		Until    time.Time
	}
	Login, Token bool
	SignIn       string `json:"sign_in"`
}

func (b *browser) me() (me meAnswer) {
	b.s.t.Helper()
	_, _, text := b.open("/api/me")
	if err := json.Unmarshal([]byte(text), &me); err != nil {
		b.s.t.Fatalf("%v in %s", err, text)
	}
	return me
}

func (b *browser) post(path, body string, header ...string) (int, string) {
	b.s.t.Helper()
	req, _ := http.NewRequest("POST", b.s.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.Do(req)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func (b *browser) cookies() map[string]string {
	at, _ := url.Parse(b.s.url)
	out := map[string]string{}
	for _, c := range b.Jar.Cookies(at) {
		out[c.Name] = c.Value
	}
	return out
}

func (b *browser) setCookie(name, value string) {
	at, _ := url.Parse(b.s.url)
	b.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

func TestSignInAtTheProvider(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p, "REDIS_URL", redistest.Start(t))
	b := s.browser()
	if me := b.me(); me.Person != nil || me.SignIn != "/auth/signin" || me.Token {
		t.Errorf("before: %+v, want nobody, the provider offered, no token asked for", me)
	}
	p.As("olga", []string{"pitboss-operator"})
	status, at, _ := b.open("/auth/signin?next=" + url.QueryEscape("/decisions?verdict=issued&q=a+b"))
	if status != 200 || at.RequestURI() != "/decisions?verdict=issued&q=a+b" {
		t.Errorf("landed at %d %s, want the page asked for", status, at)
	}
	for _, want := range []string{"state", "nonce", "code_challenge"} {
		if len(p.Asked.Get(want)) < 43 {
			t.Errorf("%s: %q, want 256 bits", want, p.Asked.Get(want))
		}
	}
	me := b.me()
	if me.Person == nil || me.Person.Name != "olga" || me.Person.ID != "sub-olga" || !slices.Equal(me.Person.Roles, []string{"operator"}) {
		t.Fatalf("signed in as %+v", me.Person)
	}
	if c := b.cookies(); len(c) != 1 || strings.Contains(c["pitboss-session"], "b2xnY") || len(c["pitboss-session"]) < 60 {
		t.Errorf("cookies: %v, want the sealed session alone", c)
	}
	if got, text := b.post("/api/deadletters/1/discard", "{}", "Origin", s.url, "Sec-Fetch-Site", "same-origin"); got != 200 {
		t.Errorf("a change by the operator: %d %s", got, text)
	}
	if got, _ := b.post("/api/switches", "{}"); got != 403 {
		t.Errorf("what compliance does, by an operator: %d, want 403", got)
	}
	_, _, changes := b.open("/api/changes")
	if !strings.Contains(changes, `"who":"olga"`) || !strings.Contains(changes, `"who_id":"sub-olga"`) {
		t.Errorf("journal: %s", changes)
	}
	_, text := b.post("/api/logout", "{}")
	var out struct{ Next string }
	if err := json.Unmarshal([]byte(text), &out); err != nil || !strings.HasPrefix(out.Next, p.URL+"/end?") {
		t.Fatalf("sign-out: %s, want on to the provider's", text)
	}
	if _, at, _ := b.open(out.Next); at.String() != s.url+"/" || p.Ended != 1 {
		t.Errorf("after the provider's sign-out at %s (%d), want the console", at, p.Ended)
	}
	if me := b.me(); me.Person != nil || len(b.cookies()) != 0 {
		t.Errorf("after: %+v %v", me.Person, b.cookies())
	}
}

func TestSignInSurvivesNewKeysOfTheProvider(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p)
	for range 3 {
		p.As("vera", []string{"pitboss-viewer"})
		b := s.browser()
		if b.open("/auth/signin"); b.me().Person == nil {
			t.Fatal("not signed in")
		}
		p.Rotate()
	}
	if p.Fetched != 3 {
		t.Errorf("keys fetched %d times, want once for each", p.Fetched)
	}
}

// What an attacker may try. In each case nobody is signed in and the page says why.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-time.Minute).Unix()
	for _, c := range []struct {
		name   string
		claims map[string]any
		deny   string
		alg    string
		back   func(b *browser, at *url.URL) // on the way back from the provider
		status int
		says   string
	}{
		{name: "wrong state", status: 400, says: "This sign-in has expired", back: func(_ *browser, at *url.URL) {
			q := at.Query()
			q.Set("state", q.Get("state")[:8]+strings.Repeat("A", 35))
			at.RawQuery = q.Encode()
		}},
		{name: "no state", status: 400, says: "This sign-in has expired", back: func(_ *browser, at *url.URL) { at.RawQuery = "code=" + at.Query().Get("code") }},
		{name: "another browser", status: 400, says: "This sign-in has expired", back: func(b *browser, _ *url.URL) {
			b.Jar, _ = cookiejar.New(nil)
		}},
		{name: "another sign-in's cookie", status: 400, says: "This sign-in has expired", back: func(b *browser, at *url.URL) {
			other := b.s.browser("/authorize")
			other.open("/auth/signin")
			for _, v := range other.cookies() {
				b.setCookie("pitboss-signin-"+at.Query().Get("state")[:8], v)
			}
		}},
		{name: "another's code (PKCE)", status: 400, says: "already used", back: func(b *browser, at *url.URL) {
			other := b.s.browser("/auth/callback")
			_, theirs, _ := other.open("/auth/signin")
			q := at.Query()
			q.Set("code", theirs.Query().Get("code"))
			at.RawQuery = q.Encode()
		}},
		{name: "wrong nonce", claims: map[string]any{"nonce": "of another sign-in"}, status: 502, says: "nonce"},
		{name: "expired token", claims: map[string]any{"exp": past}, status: 502, says: "expired"},
		{name: "token for another client", claims: map[string]any{"aud": "another"}, status: 502, says: "cannot be trusted"},
		{name: "token of another issuer", claims: map[string]any{"iss": "https://evil.example"}, status: 502, says: "cannot be trusted"},
		{name: "token without a signature", alg: "none", status: 502, says: "cannot be trusted"},
		{name: "token signed with a public key", alg: "HS256", status: 502, says: "cannot be trusted"},
		{name: "no role", claims: map[string]any{"realm_access": map[string]any{"roles": []string{"operator", "admin"}}}, status: 403, says: "You have no role here"},
		{name: "role in another claim", claims: map[string]any{"realm_access": "x", "roles": []string{"pitboss-operator"}}, status: 403, says: "vera"},
		{name: "provider's no", deny: "access_denied", status: 403, says: "access_denied: not &lt;today&gt;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := openidtest.Start(t)
			s := signedOff(t, p)
			p.As("vera", []string{"pitboss-viewer"}, c.claims)
			p.Set(func() { p.Deny, p.Alg = c.deny, c.alg })
			b := s.browser("/auth/callback")
			_, at, _ := b.open("/auth/signin?next=/models")
			if at.Path != "/auth/callback" {
				t.Fatalf("the provider sent the browser to %s", at)
			}
			if c.back != nil {
				c.back(b, at)
			}
			status, _, text := b.open(at.String())
			if status != c.status || !strings.Contains(text, c.says) || !strings.Contains(text, `href="/auth/signin?again=1&amp;next=`) {
				t.Errorf("%d, want %d and %q in\n%s", status, c.status, c.says, text)
			}
			if me := b.me(); me.Person != nil {
				t.Errorf("signed in all the same: %+v", me.Person)
			}
		})
	}
}

func TestACodeIsUsedOnce(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p)
	p.As("vera", []string{"pitboss-viewer"})
	b := s.browser("/auth/callback")
	_, at, _ := b.open("/auth/signin")
	before := b.cookies()
	if status, _, _ := b.open(at.String()); status != 200 || b.me().Person == nil {
		t.Fatalf("first: %d", status)
	}
	if status, _, text := b.open(at.String()); status != 400 || !strings.Contains(text, "already used") {
		t.Errorf("again: %d %s", status, text)
	}
	thief := s.browser()
	for k, v := range before { // the cookie is stolen, too
		thief.setCookie(k, v)
	}
	if status, _, text := thief.open(at.String()); status != 400 || !strings.Contains(text, "already used") || thief.me().Person != nil {
		t.Errorf("with the cookie: %d %s", status, text)
	}
}

func TestProviderDown(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	p.Set(func() { p.Down = true })
	s := signedOff(t, p) // it starts all the same, since events come in
	p.As("vera", []string{"pitboss-viewer"})
	b := s.browser("/auth/callback")
	if status, _, text := b.open("/auth/signin?next=/models"); status != 502 || !strings.Contains(text, "does not answer") || !strings.Contains(text, "next=%2Fmodels") {
		t.Errorf("down at the beginning: %d %s", status, text)
	}
	api, _ := http.NewRequest(http.MethodGet, s.url+"/api/live", nil)
	api.Header.Set("Authorization", "Bearer "+p.Token(nil))
	if res, err := http.DefaultClient.Do(api); err != nil || res.StatusCode != 503 {
		t.Errorf("with a token while the provider is down: %v %v, want 503: it may be good", res, err)
	}
	p.Set(func() { p.Down = false })
	var at *url.URL
	for end := time.Now().Add(20 * time.Second); at == nil || at.Path != "/auth/callback"; {
		if time.Now().After(end) {
			t.Fatal("the provider is up again and nobody can sign in")
		}
		_, at, _ = b.open("/auth/signin?next=/models")
	}
	p.Set(func() { p.Down = true })
	if status, _, text := b.open(at.String()); status != 502 || !strings.Contains(text, "does not answer") || b.me().Person != nil {
		t.Errorf("down at the end: %d %s", status, text)
	}
}

func TestOnlyPagesOfTheConsoleToReturnTo(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p)
	p.As("vera", []string{"pitboss-viewer"})
	for next, want := range map[string]string{
		"/players/a%2Fb?x=1": "/players/a%2Fb?x=1", "": "/", "models": "/", "https://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/",
		`\\evil.example`: "/", "/\t/evil.example": "/", "/\n/evil.example": "/", "javascript:alert(1)": "/", "/%2fevil.example": "/", "///evil.example": "/",
		"http:/evil.example": "/", "/auth/signin": "/", "/api/logout": "/", "/" + strings.Repeat("a", 2000): "/",
	} {
		b := s.browser(strings.SplitN(want, "?", 2)[0], "/players/a/b")
		_, at, _ := b.open("/auth/signin?" + url.Values{"next": {next}}.Encode())
		if at.String() != s.url+want {
			t.Errorf("next=%q led to %s, want %s", next, at, want)
		}
	}
}

func TestSessionCookie(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p)
	soon := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	p.As("vera", []string{"pitboss-viewer"}, map[string]any{"exp": soon.Unix()})
	b := s.browser()
	b.open("/auth/signin")
	if me := b.me(); me.Person == nil || !me.Person.Until.Equal(soon) {
		t.Fatalf("%+v, want a session that ends with the ID token at %v", me.Person, soon)
	}
	value := b.cookies()["pitboss-session"]
	for i := 0; i < len(value); i += 7 {
		swapped := byte('A')
		if value[i] == 'A' {
			swapped = 'B'
		}
		forged := s.browser()
		forged.setCookie("pitboss-session", value[:i]+string(swapped)+value[i+1:])
		if me := forged.me(); me.Person != nil {
			t.Fatalf("byte %d changed and still %+v", i, me.Person)
		}
	}
	signIn := s.browser("/authorize")
	signIn.open("/auth/signin")
	for _, v := range signIn.cookies() {
		signIn.setCookie("pitboss-session", v)
	}
	if me := signIn.me(); me.Person != nil {
		t.Error("a sign-in's cookie passed as a session")
	}
	req, _ := http.NewRequest("GET", s.url+"/auth/signin", nil)
	req.Header.Set("X-Forwarded-Proto", "https")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if c := res.Cookies()[0]; !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-") || c.Path != "/" || c.Domain != "" {
		t.Errorf("behind TLS: %+v", c)
	}
}

// A new key is put first. Sessions under the old one last until that is removed.
func TestSessionKeysRotate(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	p.As("vera", []string{"pitboss-viewer"})
	first := signedOff(t, p)
	b := first.browser()
	b.open("/auth/signin")
	value := b.cookies()["pitboss-session"]
	file := filepath.Join(t.TempDir(), "keys")
	newKey := strings.Repeat("new", 11)
	for _, c := range []struct {
		keys string
		in   bool
	}{{testKey, true}, {newKey + "\n" + testKey + "\n", true}, {newKey, false}} {
		if err := os.WriteFile(file, []byte(c.keys), 0o600); err != nil {
			t.Fatal(err)
		}
		b := signedOff(t, p, "CONSOLE_SESSION_KEY_FILE", file).browser()
		b.setCookie("pitboss-session", value)
		if in := b.me().Person != nil; in != c.in {
			t.Errorf("keys %q: signed in %v, want %v", c.keys, in, c.in)
		}
	}
}

func TestNoOtherSiteMayUseTheSession(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p)
	p.As("otto", []string{"pitboss-operator"})
	b := s.browser()
	b.open("/auth/signin")
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		for _, path := range []string{"/api/deadletters/1/discard", "/api/logout", "/api/login"} {
			if got, text := b.post(path, "{}", h...); got != 403 {
				t.Errorf("POST %s with %v: %d %s, want 403", path, h, got, text)
			}
		}
		if h[0] == "Origin" {
			continue
		}
		for _, path := range []string{"/api/stream", "/api/players"} {
			req, _ := http.NewRequest("GET", s.url+path, nil)
			req.Header.Set(h[0], h[1])
			res, err := b.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != 403 {
				t.Errorf("GET %s with %v: %d, want 403", path, h, res.StatusCode)
			}
		}
	}
	if got, text := b.post("/api/deadletters/1/discard", "{}", "Origin", s.url); got != 200 {
		t.Errorf("by the console's own page: %d %s", got, text)
	}
}

// Roles come from the provider by the mapping. A change there takes effect at the next
// sign-in, at the latest when the ID token expires.
func TestRolesFromTheProvider(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p, "CONSOLE_OIDC_ROLES_CLAIM", "groups",
		"CONSOLE_OIDC_ROLES", "viewer=/casino; operator=CN=ops,OU=casino; operator=sre; compliance=sre")
	b := s.browser()
	for _, c := range []struct {
		groups any
		want   []string
	}{
		{[]string{"/casino", "CN=ops,OU=casino"}, []string{"viewer", "operator"}}, {[]string{"sre"}, []string{"operator", "compliance"}},
		{"/casino", []string{"viewer"}},
	} {
		p.As("otto", nil, map[string]any{"groups": c.groups})
		b.open("/auth/signin")
		if me := b.me(); me.Person == nil || !slices.Equal(me.Person.Roles, c.want) {
			t.Errorf("groups %v: %+v, want %v", c.groups, me.Person, c.want)
		}
	}
	if got, _ := b.post("/api/deadletters/1/discard", "{}"); got != 403 {
		t.Errorf("an operator no more: %d, want 403", got)
	}
	p.As("otto", nil, map[string]any{"groups": []string{"pitboss-operator", "operator"}})
	if status, _, _ := b.open("/auth/signin"); status != 403 {
		t.Errorf("values that the mapping does not name: %d, want 403", status)
	}
}

func TestTheStreamEndsWithTheSession(t *testing.T) {
	t.Parallel()
	p := openidtest.Start(t)
	s := signedOff(t, p, "CONSOLE_FRAME_EVERY", "50ms", "CONSOLE_SESSION_FOR", "2s")
	p.As("vera", []string{"pitboss-viewer"})
	b := s.browser()
	if status, _, _ := b.open("/api/stream"); status != 401 {
		t.Errorf("without a session: %d, want 401", status)
	}
	b.open("/auth/signin")
	res, err := b.Get(s.url + "/api/stream")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	frames := 0
	for lines.Scan() {
		frames++
	}
	if frames == 0 {
		t.Error("no frame came")
	}
	if me := b.me(); me.Person != nil {
		t.Errorf("the stream ended before the session: %+v", me.Person)
	}
}

// startError returns why the start failed, or what it waits for.
func startError(t *testing.T, cfg map[string]string) error {
	t.Helper()
	f := console.New()
	err := f.Start(t.Context(), cfg)
	if err == nil {
		_, err = f.Ready(t.Context())
	}
	if stop := f.Stop(t.Context()); stop != nil {
		t.Error(stop)
	}
	return err
}

func TestAccessSettings(t *testing.T) {
	t.Parallel()
	good := map[string]string{"CONSOLE_URL": "https://console.example.com", "CONSOLE_OIDC_ISSUER": "https://id.example.com/realms/casino", "CONSOLE_OIDC_CLIENT_ID": "c"}
	start(t, good) // the provider is not called at the start
	for setting, value := range map[string]string{
		"CONSOLE_URL": "http://console.example.com", "CONSOLE_OIDC_ISSUER": "id.example.com", "CONSOLE_OIDC_CLIENT_ID": "", "CONSOLE_SESSION_KEY": "short",
		"CONSOLE_OIDC_ROLES": "admin=x", "CONSOLE_SESSION_KEY_FILE": "/none", "CONSOLE_OIDC_CLIENT_SECRET_FILE": "/none", "CONSOLE_TOKENS_FILE": "/none",
	} {
		cfg := map[string]string{"MODELS_DIR": "../../models"}
		for k, v := range good {
			cfg[k] = v
		}
		cfg[setting] = value
		if err := startError(t, cfg); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s=%q: %v, want an error that names it", setting, value, err)
		}
	}
}
