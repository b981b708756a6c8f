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

// The console keeps no sessions: a cookie holds what it must know, encrypted
// and authenticated, so that every instance with the key reads it.
const (
	sessionCookie = "pitboss-session"
	signInCookie  = "pitboss-signin-" // and the beginning of the state: one for each tab that signs in
)

// sealer seals what cookies carry: AES-256-GCM under keys derived from the
// configured ones. The first seals, each opens: a new key is put first, the old
// one taken away once its sessions are over.
type sealer []cipher.AEAD

// newSealer takes keys separated by white space; none: one of its own.
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

// lock seals v for one purpose; what was sealed for another does not open.
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

// Begin gives the person a session that scripts cannot read and other sites'
// requests do not carry; it ends with the proof it rests on, if not before.
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

// End takes the session's cookie away.
func (a *Access) End(w http.ResponseWriter, r *http.Request) {
	a.setCookie(w, r, sessionCookie, "", time.Time{})
}

// setCookie keeps value until then; an empty one takes the cookie away.
func (a *Access) setCookie(w http.ResponseWriter, r *http.Request, name, value string, until time.Time) {
	c := &http.Cookie{Name: a.cookieName(r, name), Value: value, Path: "/", Expires: until,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: a.secure(r)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// secure: a browser keeps Secure cookies for https (and gateways end TLS
// before us), but not for plain http on another name than localhost.
func (a *Access) secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") || a.origin != nil && a.origin.Scheme == "https"
}

// cookieName: over https no neighbour on the same domain may set it.
func (a *Access) cookieName(r *http.Request, name string) string {
	if a.secure(r) {
		return "__Host-" + name
	}
	return name
}
