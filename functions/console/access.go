package console

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
)

// Role is what a person may do. Each role may look at everything.
type Role string

// The roles.
const (
	Viewer     Role = "viewer"     // looks
	Operator   Role = "operator"   // replays dead letters, promotes and rolls back models
	Compliance Role = "compliance" // reviews, erases and exports players, turns kill switches
)

var allRoles = []Role{Viewer, Operator, Compliance}

// accessConfig says how people prove who they are. With neither tokens nor
// OIDC the console answers to this machine only, and that with every role.
type accessConfig struct {
	TokensFile  string        `env:"CONSOLE_TOKENS_FILE"` // lines: role[,role] name token
	OIDCIssuer  string        `env:"CONSOLE_OIDC_ISSUER"`
	OIDCClient  string        `env:"CONSOLE_OIDC_CLIENT_ID"`
	OIDCClaim   string        `env:"CONSOLE_OIDC_ROLES_CLAIM,default=roles"` // values pitboss-viewer, pitboss-operator, pitboss-compliance
	SessionKey  string        `env:"CONSOLE_SESSION_KEY"`                    // signs sessions; default: new at each start
	SessionFor  time.Duration `env:"CONSOLE_SESSION_FOR,default=8h"`
	KnativeName string        `env:"K_SERVICE"`
}

// person is who asks.
type person struct {
	Name  string    `json:"name"`
	Roles []Role    `json:"roles"`
	Until time.Time `json:"until,omitzero"`
}

func (p *person) may(role Role) bool {
	return p != nil && (role == Viewer && len(p.Roles) > 0 || slices.Contains(p.Roles, role))
}

type staticToken struct {
	sum    [sha256.Size]byte
	person person
}

// access finds out who asks: a session's cookie, a bearer token (static, or an
// OIDC ID token as a gateway adds it), or loopback where nothing is configured.
type access struct {
	cfg      accessConfig
	now      func() time.Time
	tokens   []staticToken
	verifier *oidc.IDTokenVerifier
	key      []byte
}

func newAccess(ctx context.Context, cfg accessConfig, now func() time.Time) (*access, error) {
	a := &access{cfg: cfg, now: now, key: []byte(cfg.SessionKey)}
	if len(a.key) == 0 {
		a.key = make([]byte, 32)
		_, _ = rand.Read(a.key) // never fails: crypto/rand
	} else if len(a.key) < 32 {
		return nil, errors.New("console: CONSOLE_SESSION_KEY needs at least 32 characters")
	}
	if cfg.TokensFile != "" {
		var err error
		if a.tokens, err = readTokens(cfg.TokensFile); err != nil {
			return nil, err
		}
	}
	if cfg.OIDCIssuer != "" {
		provider, err := oidc.NewProvider(ctx, cfg.OIDCIssuer)
		if err != nil {
			return nil, fmt.Errorf("console: CONSOLE_OIDC_ISSUER: %w", err)
		}
		a.verifier = provider.Verifier(&oidc.Config{ClientID: cfg.OIDCClient})
	}
	return a, nil
}

func readTokens(path string) ([]staticToken, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("console: CONSOLE_TOKENS_FILE: %w", err)
	}
	defer file.Close()
	var out []staticToken
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || len(f[2]) < 16 {
			return nil, fmt.Errorf("console: %s:%d: want \"role[,role] name token\", the token at least 16 characters", path, n)
		}
		p := person{Name: f[1], Roles: rolesOf(strings.Split(f[0], ","))}
		if len(p.Roles) == 0 {
			return nil, fmt.Errorf("console: %s:%d: no role among %v", path, n, allRoles)
		}
		out = append(out, staticToken{sha256.Sum256([]byte(f[2])), p})
	}
	return out, lines.Err()
}

// rolesOf keeps the roles among names; pitboss-operator is operator.
func rolesOf(names []string) (roles []Role) {
	for _, n := range names {
		if r := Role(strings.TrimPrefix(n, "pitboss-")); slices.Contains(allRoles, r) && !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	return roles
}

// open says that nothing is configured: this machine only.
func (a *access) open() bool { return a.tokens == nil && a.verifier == nil }

var errLogin = errors.New("sign in with a token")

// who says who asks, or why nobody is let in.
func (a *access) who(r *http.Request) (*person, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && !a.open() {
		return a.verify(r.Context(), token)
	}
	if c, err := r.Cookie(cookieName); err == nil && !a.open() {
		return a.session(c.Value)
	}
	if !a.open() {
		return nil, errLogin
	}
	return a.local(r)
}

// local lets this machine in. Behind Knative's queue-proxy every caller looks
// like loopback, and a name that resolves to loopback may be a rebinding attack.
func (a *access) local(r *http.Request) (*person, error) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	name := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		name = h
	}
	ip, asked := net.ParseIP(host), net.ParseIP(strings.Trim(name, "[]"))
	loopback := ip != nil && ip.IsLoopback() && (name == "localhost" || asked != nil && asked.IsLoopback())
	if !loopback || a.cfg.KnativeName != "" {
		return nil, errors.New("set CONSOLE_TOKENS_FILE or CONSOLE_OIDC_ISSUER: without them the console answers to its own machine only")
	}
	return &person{Name: "local", Roles: allRoles}, nil
}

func (a *access) verify(ctx context.Context, token string) (*person, error) {
	sum := sha256.Sum256([]byte(token))
	for _, t := range a.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			p := t.person
			return &p, nil
		}
	}
	if a.verifier == nil {
		return nil, errors.New("the token is not known")
	}
	id, err := a.verifier.Verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("the token was refused: %w", err)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	p := &person{Name: id.Subject, Until: id.Expiry}
	if mail, ok := claims["email"].(string); ok {
		p.Name = mail
	}
	var names []string
	if list, ok := claims[a.cfg.OIDCClaim].([]any); ok {
		for _, v := range list {
			if s, ok := v.(string); ok {
				names = append(names, s)
			}
		}
	}
	if p.Roles = rolesOf(names); len(p.Roles) == 0 {
		return nil, fmt.Errorf("%s has none of the roles pitboss-viewer, pitboss-operator, pitboss-compliance in claim %q", p.Name, a.cfg.OIDCClaim)
	}
	return p, nil
}

const cookieName = "pitboss-session"

// login exchanges a token for a session that scripts cannot read and other
// sites cannot send.
func (a *access) login(w http.ResponseWriter, r *http.Request, token string) (*person, error) {
	p, err := a.verify(r.Context(), strings.TrimSpace(token))
	if err != nil {
		return nil, err
	}
	until := a.now().Add(a.cfg.SessionFor)
	if p.Until.IsZero() || p.Until.After(until) {
		p.Until = until
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	value := base64.RawURLEncoding.EncodeToString(body)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value + "." + a.sign(value), Path: "/", Expires: p.Until,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secureCookie(r)})
	return p, nil
}

// secureCookie: a browser keeps Secure cookies for https (and gateways end
// TLS before us), but not for plain http on another name than localhost.
func secureCookie(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func (a *access) logout(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (a *access) session(value string) (*person, error) {
	body, mac, ok := strings.Cut(value, ".")
	if !ok || !hmac.Equal([]byte(mac), []byte(a.sign(body))) {
		return nil, errLogin
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	p := &person{}
	if err != nil || json.Unmarshal(raw, p) != nil || !a.now().Before(p.Until) {
		return nil, errLogin
	}
	return p, nil
}

func (a *access) sign(value string) string {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
