// Package openidtest runs an OpenID provider for tests, over real HTTP and as strict as the
// specifications require.
package openidtest

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

// The only registered client.
const (
	ClientID     = "pitboss-console"
	ClientSecret = "a secret of the client's & the provider's"
)

// Provider issues each code once, and requires PKCE and the registered redirect. Change its
// fields with [Provider.Set].
type Provider struct {
	URL     string
	Back    string         // the registered redirect
	Claims  map[string]any // those of the person who is signed in
	Deny    string         // an error to return instead of a code
	Alg     string         // the ID tokens' algorithm; empty: RS256
	Down    bool
	Asked   url.Values // the latest request for a code
	Fetched int        // requests for the JWKS
	Ended   int        // sign-outs

	t     testing.TB
	mu    sync.Mutex
	keys  []*rsa.PrivateKey // the last one signs; kid is the index
	codes map[string]url.Values
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t, codes: map[string]url.Values{}}
	p.Rotate()
	p.As("vera", nil)
	m := http.NewServeMux()
	m.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	m.HandleFunc("GET /keys", p.jwks)
	m.HandleFunc("GET /authorize", p.authorize)
	m.HandleFunc("POST /token", p.token)
	m.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.Ended++
		p.mu.Unlock()
		http.Redirect(w, r, r.FormValue("post_logout_redirect_uri"), http.StatusSeeOther)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.isDown() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		m.ServeHTTP(w, r)
	}))
	p.URL = server.URL
	t.Cleanup(server.Close)
	return p
}

func (p *Provider) isDown() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.Down }

// Set changes fields safely while requests are served.
func (p *Provider) Set(change func()) { p.mu.Lock(); defer p.mu.Unlock(); change() }

// Rotate signs with a new key. The old keys are no longer published.
func (p *Provider) Rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Set(func() { p.keys = append(p.keys, key) })
}

// As signs a person in at the provider, with roles and additional claims.
func (p *Provider) As(name string, roles []string, more ...map[string]any) {
	now := time.Now()
	claims := map[string]any{"sub": "sub-" + name, "preferred_username": name, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"realm_access": map[string]any{"roles": append([]string{"offline_access"}, roles...)}}
	for _, m := range more {
		maps.Copy(claims, m)
	}
	p.Set(func() { p.Claims = claims })
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	at := p.URL
	_ = json.NewEncoder(w).Encode(map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token",
		"jwks_uri": at + "/keys", "end_session_endpoint": at + "/end", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Fetched++
	kid := len(p.keys) - 1
	pub := p.keys[kid].PublicKey
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": fmt.Sprint(kid),
		"n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())}}})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("redirect_uri") != p.Back || q.Get("response_type") != "code" {
		http.Error(w, "not as registered: "+q.Encode(), http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if p.Deny != "" {
		back.Set("error", p.Deny)
		back.Set("error_description", "not <today>")
	} else {
		code := rand.Text()
		p.codes[code], p.Asked = q, q
		back.Set("code", code)
	}
	http.Redirect(w, r, p.Back+"?"+back.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func(code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
	}
	id, secret, _ := r.BasicAuth()
	if id != ClientID || secret != url.QueryEscape(ClientSecret) {
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
	claims := map[string]any{"iss": p.URL, "nonce": asked.Get("nonce")}
	maps.Copy(claims, p.Claims)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": p.signed(claims)})
}

// Token signs an ID token of the person who is signed in, with additional claims.
func (p *Provider) Token(more map[string]any) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	claims := map[string]any{"iss": p.URL}
	maps.Copy(claims, p.Claims)
	maps.Copy(claims, more)
	return p.signed(claims)
}

func (p *Provider) signed(claims map[string]any) string {
	kid := len(p.keys) - 1
	head, _ := json.Marshal(map[string]string{"alg": cmp.Or(p.Alg, "RS256"), "typ": "JWT", "kid": fmt.Sprint(kid)})
	body, _ := json.Marshal(claims)
	text := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	switch p.Alg {
	case "none":
		return text + "."
	case "HS256": // with the public part of the key, which everybody knows
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
