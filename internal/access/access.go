// Package access authenticates and authorizes the users of the console: by a static token,
// an OpenID provider's ID token, or a session cookie. If nothing is configured, only requests
// from this machine are allowed.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/openid"
	"pitboss/internal/setup"
)

// Role is what a person may do. Every role includes the viewer's.
type Role string

// The roles.
const (
	Viewer     Role = "viewer"     // reads everything
	Operator   Role = "operator"   // replays dead letters, promotes and rolls back models
	Compliance Role = "compliance" // reviews, erases and exports players, turns kill switches
)

// AllRoles lists all roles.
var AllRoles = []Role{Viewer, Operator, Compliance}

// Config configures authentication. With neither tokens nor OIDC, the console only answers
// requests from this machine, which have every role.
type Config struct {
	TokensFile     string        `env:"CONSOLE_TOKENS_FILE"` // lines: role[@place][,role] name token
	URL            string        `env:"CONSOLE_URL"`         // where browsers reach the console; needed to sign in at the issuer
	OIDCIssuer     string        `env:"CONSOLE_OIDC_ISSUER"`
	OIDCClient     string        `env:"CONSOLE_OIDC_CLIENT_ID"`
	OIDCSecret     string        `env:"CONSOLE_OIDC_CLIENT_SECRET"` // none: a public client, PKCE alone
	OIDCSecretFile string        `env:"CONSOLE_OIDC_CLIENT_SECRET_FILE"`
	OIDCScopes     string        `env:"CONSOLE_OIDC_SCOPES,default=openid profile email"`
	OIDCClaim      string        `env:"CONSOLE_OIDC_ROLES_CLAIM,default=roles"` // a claim's name, or a path: realm_access.roles
	OIDCRoles      string        `env:"CONSOLE_OIDC_ROLES"`                     // role=value; role=value; default pitboss-viewer, …
	SessionKey     string        `env:"CONSOLE_SESSION_KEY"`                    // keys of sessions; the first one seals new ones; default: random at each start
	SessionKeyFile string        `env:"CONSOLE_SESSION_KEY_FILE"`
	SessionFor     time.Duration `env:"CONSOLE_SESSION_FOR,default=8h"`
	KnativeName    string        `env:"K_SERVICE"`
}

// Person is an authenticated user.
type Person struct {
	Name  string `json:"name"`
	ID    string `json:"id,omitzero"` // the OIDC subject, which unlike a name is never reassigned
	Roles []Role `json:"roles"`       // the roles that the person has anywhere
	// Grants lists the roles with the places where they hold.
	Grants []Grant   `json:"grants"`
	Until  time.Time `json:"until,omitzero"`
}

// May reports whether the person has the role.
func (p *Person) May(role Role) bool {
	return p != nil && (role == Viewer && len(p.Roles) > 0 || slices.Contains(p.Roles, role))
}

type staticToken struct {
	sum    [sha256.Size]byte
	person Person
}

// Access authenticates requests by a session cookie, a bearer token (a static one, or an
// OIDC ID token that a gateway adds) or, if nothing is configured, by loopback.
type Access struct {
	cfg      Config
	now      func() time.Time
	tokens   []staticToken
	provider *provider // nil: no OIDC
	seal     sealer
	origin   *url.URL // of CONSOLE_URL; nil: not set
	log      *zap.Logger
	page     Page
}

// New reads the tokens and the provider's settings. The provider is first contacted when
// somebody signs in.
func New(cfg Config, page Page, log *zap.Logger, now func() time.Time) (a *Access, err error) {
	a = &Access{cfg: cfg, now: now, log: log, page: page}
	keys, err := orFile(cfg.SessionKey, cfg.SessionKeyFile, "CONSOLE_SESSION_KEY_FILE")
	if err != nil {
		return nil, err
	}
	if a.seal, err = newSealer(keys); err != nil {
		return nil, err
	}
	if cfg.TokensFile != "" {
		if a.tokens, err = readTokens(cfg.TokensFile); err != nil {
			return nil, err
		}
	}
	if cfg.URL != "" {
		if a.origin, err = openid.WebURL("console: CONSOLE_URL", cfg.URL); err != nil {
			return nil, err
		}
		if strings.Trim(a.origin.Path, "/") != "" {
			return nil, fmt.Errorf("console: CONSOLE_URL: %q has a path; the console is served at the root of its host", cfg.URL)
		}
	}
	if cfg.OIDCIssuer != "" {
		if a.provider, err = newProvider(cfg, a.origin, now); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// orFile returns a secret setting: the content of file if it is set, else value.
func orFile(value, file, setting string) (string, error) {
	if file == "" {
		return value, nil
	}
	raw, err := setup.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("console: %s: %w", setting, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func readTokens(path string) (out []staticToken, err error) {
	err = setup.EachLine("console: CONSOLE_TOKENS_FILE", path, func(line string) error {
		f := strings.Fields(line)
		if len(f) != 3 || len(f[2]) < 16 {
			return errors.New("want \"role[@place][,role] name token\", the token at least 16 characters")
		}
		p := Person{Name: f[1]}
		for text := range strings.SplitSeq(f[0], ",") {
			g, err := parseGrant(text)
			if err != nil {
				return err
			}
			p.grant(g)
		}
		out = append(out, staticToken{sha256.Sum256([]byte(f[2])), p})
		return nil
	})
	return out, err
}

// Origin returns where browsers reach the console, or "" if that is not set.
func (a *Access) Origin() string {
	if a.origin == nil {
		return ""
	}
	return a.origin.Scheme + "://" + a.origin.Host
}

// TakesTokens reports whether people may sign in by typing a token.
func (a *Access) TakesTokens() bool { return a.tokens != nil || !a.CanSignIn() }

// Open reports whether nothing is configured, so that only this machine is let in.
func (a *Access) Open() bool { return a.tokens == nil && a.provider == nil }

var errLogin = errors.New("sign in to go on")

// Who authenticates a request. The error says why it is refused.
func (a *Access) Who(r *http.Request) (*Person, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && !a.Open() {
		return a.Verify(r.Context(), token)
	}
	if c, err := r.Cookie(a.cookieName(r, sessionCookie)); err == nil && !a.Open() {
		return a.session(c.Value)
	}
	if !a.Open() {
		return nil, errLogin
	}
	return a.local(r)
}

// FromThisMachine reports whether a request came over loopback and its Host is localhost or
// a loopback address. Any other name could belong to a web page that resolves its own name
// to loopback (DNS rebinding).
func FromThisMachine(r *http.Request) bool {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	name := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		name = h
	}
	ip, asked := net.ParseIP(host), net.ParseIP(strings.Trim(name, "[]"))
	return ip != nil && ip.IsLoopback() &&
		(name == "localhost" || asked != nil && (asked.IsLoopback() || asked.IsUnspecified())) // [::] is the address of a server that listens everywhere
}

// local lets requests from this machine in, except on Knative, where the queue-proxy makes
// every caller look like loopback.
func (a *Access) local(r *http.Request) (*Person, error) {
	if !FromThisMachine(r) || a.cfg.KnativeName != "" {
		return nil, errors.New("set CONSOLE_TOKENS_FILE or CONSOLE_OIDC_ISSUER: without them the console answers to its own machine only")
	}
	p := &Person{Name: "local"}
	for _, role := range AllRoles {
		p.grant(Grant{Role: role})
	}
	return p, nil
}

// Verify authenticates a bearer token.
func (a *Access) Verify(ctx context.Context, token string) (*Person, error) {
	sum := sha256.Sum256([]byte(token))
	for _, t := range a.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			p := t.person
			return &p, nil
		}
	}
	if a.provider == nil {
		return nil, errors.New("the token is not known")
	}
	p, err := a.provider.verify(ctx, token, "")
	if err != nil {
		return nil, fmt.Errorf("the token was refused: %w", err)
	}
	return p, nil
}
