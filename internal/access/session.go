package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// The console stores no sessions. A cookie holds the session, encrypted and authenticated, so
// that every instance with the key can read it.
const (
	sessionCookie = "pitboss-session"
	signInCookie  = "pitboss-signin-" // followed by the beginning of the state: one for each tab that signs in
)

// sealer seals cookies: AES-256-GCM under keys derived from the configured ones. The first
// key seals, and all of them open. To rotate, put a new key first and remove the old one
// once its sessions are over.
type sealer []cipher.AEAD

// newSealer takes keys separated by white space. Without any it generates one.
func newSealer(keys string) (s sealer, err error) {
	list := strings.Fields(keys)
	if len(list) == 0 {
		list = []string{rand.Text() + rand.Text()}
	}
	for i, k := range list {
		if len(k) < 32 {
			return nil, fmt.Errorf("console: CONSOLE_SESSION_KEY: key %d has %d characters, at least 32 are needed", i+1, len(k))
		}
		derived, err := hkdf.Key(sha256.New, []byte(k), nil, "pitboss console cookie v1", 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s = append(s, aead)
	}
	return s, nil
}

// lock seals v for a purpose. It can't be opened for another one.
func (s sealer) lock(purpose string, v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s[0].Seal(nil, nil, raw, []byte(purpose))), nil
}

// unlock reports whether value was sealed for the purpose and fits v.
func (s sealer) unlock(purpose, value string, v any) bool {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return false
	}
	for _, aead := range s {
		if raw, err := aead.Open(nil, nil, sealed, []byte(purpose)); err == nil {
			return json.Unmarshal(raw, v) == nil
		}
	}
	return false
}

// Begin sets the session cookie, which scripts can't read and requests from other sites do
// not carry. The session ends after SessionFor, or earlier with the token that it is based
// on.
func (a *Access) Begin(w http.ResponseWriter, r *http.Request, p *Person) error {
	if until := a.now().Add(a.cfg.SessionFor); p.Until.IsZero() || p.Until.After(until) {
		p.Until = until
	}
	value, err := a.seal.lock(sessionCookie, p)
	if err != nil {
		return err
	}
	a.setCookie(w, r, sessionCookie, value, p.Until)
	return nil
}

func (a *Access) session(value string) (*Person, error) {
	p := &Person{}
	if !a.seal.unlock(sessionCookie, value, p) || !a.now().Before(p.Until) || len(p.Grants) == 0 {
		return nil, errLogin
	}
	return p, nil
}

// End removes the session cookie.
func (a *Access) End(w http.ResponseWriter, r *http.Request) {
	a.setCookie(w, r, sessionCookie, "", time.Time{})
}

// setCookie sets a cookie until a time. An empty value removes it.
func (a *Access) setCookie(w http.ResponseWriter, r *http.Request, name, value string, until time.Time) {
	c := &http.Cookie{Name: a.cookieName(r, name), Value: value, Path: "/", Expires: until,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: a.secure(r)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// secure reports whether to set Secure cookies: over https, which may end at a gateway
// before us. Browsers refuse them over plain http, except on localhost.
func (a *Access) secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") || a.origin != nil && a.origin.Scheme == "https"
}

// cookieName returns the name of a cookie. Over https the __Host- prefix keeps other hosts of
// the same domain from setting it.
func (a *Access) cookieName(r *http.Request, name string) string {
	if a.secure(r) {
		return "__Host-" + name
	}
	return name
}
