package console_test

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

const (
	clientID     = "pitboss-console"
	clientSecret = "a secret of the client's & the provider's"
)

// oidcProvider is an OpenID provider over real HTTP, as strict as the
// specifications ask: one use of each code, PKCE, the redirect as registered.
type oidcProvider struct {
	t       *testing.T
	server  *httptest.Server
	back    string // the registered redirect
	mu      sync.Mutex
	keys    []*rsa.PrivateKey // the last one signs; kid is the index
	codes   map[string]url.Values
	claims  map[string]any // of who is signed in there
	deny    string         // an error in place of a code
	alg     string         // the ID tokens' algorithm; empty: RS256
	down    bool
	asked   url.Values // the newest request for a code
	fetched int        // of the JWKS
	ended   int        // sign-outs
}

func startProvider(t *testing.T) *oidcProvider {
	t.Helper()
	p := &oidcProvider{t: t, codes: map[string]url.Values{}}
	p.rotate()
	p.as("vera", nil)
	m := http.NewServeMux()
	m.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	m.HandleFunc("GET /keys", p.jwks)
	m.HandleFunc("GET /authorize", p.authorize)
	m.HandleFunc("POST /token", p.token)
	m.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.ended++
		p.mu.Unlock()
		http.Redirect(w, r, r.FormValue("post_logout_redirect_uri"), http.StatusSeeOther)
	})
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.isDown() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		m.ServeHTTP(w, r)
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *oidcProvider) isDown() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.down }

func (p *oidcProvider) set(change func()) { p.mu.Lock(); defer p.mu.Unlock(); change() }

// rotate makes a new key sign; the old ones are no longer published.
func (p *oidcProvider) rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Fatal(err)
	}
	p.set(func() { p.keys = append(p.keys, key) })
}

// as signs somebody in at the provider, with roles and claims of one's own.
func (p *oidcProvider) as(name string, roles []string, more ...map[string]any) {
	now := time.Now()
	claims := map[string]any{"sub": "sub-" + name, "preferred_username": name, "aud": clientID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"realm_access": map[string]any{"roles": append([]string{"offline_access"}, roles...)}}
	for _, m := range more {
		maps.Copy(claims, m)
	}
	p.set(func() { p.claims = claims })
}

func (p *oidcProvider) discovery(w http.ResponseWriter, _ *http.Request) {
	at := p.server.URL
	_ = json.NewEncoder(w).Encode(map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token",
		"jwks_uri": at + "/keys", "end_session_endpoint": at + "/end", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
}

func (p *oidcProvider) jwks(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched++
	kid := len(p.keys) - 1
	pub := p.keys[kid].PublicKey
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": fmt.Sprint(kid),
		"n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())}}})
}

func (p *oidcProvider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	if q.Get("client_id") != clientID || q.Get("redirect_uri") != p.back || q.Get("response_type") != "code" {
		http.Error(w, "not as registered: "+q.Encode(), http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if p.deny != "" {
		back.Set("error", p.deny)
		back.Set("error_description", "not <today>")
	} else {
		code := rand.Text()
		p.codes[code], p.asked = q, q
		back.Set("code", code)
	}
	http.Redirect(w, r, p.back+"?"+back.Encode(), http.StatusFound)
}

func (p *oidcProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func(code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
	}
	id, secret, _ := r.BasicAuth()
	if id != clientID || secret != url.QueryEscape(clientSecret) {
		refuse("invalid_client")
		return
	}
	asked, ok := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || r.FormValue("grant_type") != "authorization_code" || r.FormValue("redirect_uri") != asked.Get("redirect_uri") ||
		asked.Get("code_challenge_method") != "S256" || b64(sum[:]) != asked.Get("code_challenge") {
		refuse("invalid_grant")
		return
	}
	claims := map[string]any{"iss": p.server.URL, "nonce": asked.Get("nonce")}
	maps.Copy(claims, p.claims)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": p.sign(claims)})
}

func (p *oidcProvider) sign(claims map[string]any) string {
	kid := len(p.keys) - 1
	head, _ := json.Marshal(map[string]string{"alg": cmp.Or(p.alg, "RS256"), "typ": "JWT", "kid": fmt.Sprint(kid)})
	body, _ := json.Marshal(claims)
	text := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	switch p.alg {
	case "none":
		return text + "."
	case "HS256": // with what everybody knows of the key
		mac := hmac.New(sha256.New, p.keys[kid].PublicKey.N.Bytes())
		mac.Write([]byte(text))
		return text + "." + b64(mac.Sum(nil))
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.keys[kid], crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return text + "." + b64(sig)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
