package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"pitboss/internal/openid"
)

// The paths of a sign-in.
const (
	SignInPath   = "/auth/signin"
	CallbackPath = "/auth/callback"
	signInFor    = 10 * time.Minute // from the redirect to the provider until the return
)

// provider is the OpenID provider and the mapping of its users to roles.
type provider struct {
	*openid.Provider
	cfg    Config
	roles  map[string][]Grant // by the claim's values
	secret string
	back   string // the callback's address; empty: only bearer tokens
}

func newProvider(cfg Config, origin *url.URL, now func() time.Time) (p *provider, err error) {
	p = &provider{cfg: cfg}
	if p.Provider, err = openid.New("console: CONSOLE_OIDC_ISSUER", cfg.OIDCIssuer, now); err != nil {
		return nil, err
	}
	if cfg.OIDCClient == "" {
		return nil, errors.New("console: CONSOLE_OIDC_CLIENT_ID is needed with CONSOLE_OIDC_ISSUER")
	}
	if p.secret, err = orFile(cfg.OIDCSecret, cfg.OIDCSecretFile, "CONSOLE_OIDC_CLIENT_SECRET_FILE"); err != nil {
		return nil, err
	}
	if p.roles, err = readRoles(cfg.OIDCRoles); err != nil {
		return nil, err
	}
	if origin != nil {
		p.back = origin.JoinPath(CallbackPath).String()
	}
	return p, nil
}

// readRoles reads "role=value; role=value". A value may contain "=" and ",", like the names
// of LDAP groups.
func readRoles(text string) (map[string][]Grant, error) {
	roles := map[string][]Grant{}
	for part := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ';' || c == '\n' }) {
		name, value, _ := strings.Cut(part, "=")
		g, err := parseGrant(strings.TrimSpace(name))
		if value = strings.TrimSpace(value); err != nil || value == "" {
			return nil, fmt.Errorf("console: CONSOLE_OIDC_ROLES: %q is not role=value with a role among %v", strings.TrimSpace(part), AllRoles)
		}
		roles[value] = append(roles[value], g)
	}
	if len(roles) == 0 {
		for _, r := range AllRoles {
			roles["pitboss-"+string(r)] = []Grant{{Role: r}}
		}
	}
	return roles, nil
}

// discovered holds the provider's endpoints for signing in and out.
type discovered struct {
	oauth oauth2.Config
	end   string // where a person signs out of the provider; empty: not supported
}

func (p *provider) discover(ctx context.Context) (*discovered, error) {
	found, err := p.Ask(ctx)
	if err != nil {
		return nil, err
	}
	var more struct {
		End     string   `json:"end_session_endpoint"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	_ = found.Claims(&more) // optional
	endpoint := found.Endpoint()
	// Set explicitly: automatic detection would retry a refused exchange in the other style and hide the reason.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.secret == "" || len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &discovered{
		oauth: oauth2.Config{ClientID: p.cfg.OIDCClient, ClientSecret: p.secret, Endpoint: endpoint, RedirectURL: p.back,
			Scopes: strings.Fields(p.cfg.OIDCScopes)},
		end: more.End,
	}, nil
}

// verify checks an ID token and returns the person that it names.
func (p *provider) verify(ctx context.Context, token, nonce string) (*Person, error) {
	id, err := p.Verify(ctx, p.cfg.OIDCClient, token)
	if err != nil {
		return nil, err
	}
	if nonce != "" && id.Nonce != nonce {
		return nil, errors.New("the nonce is not that of this sign-in")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	who := &Person{Name: nameOf(claims), ID: id.Subject, Until: id.Expiry}
	for _, v := range valuesAt(claims, p.cfg.OIDCClaim) {
		who.grant(p.roles[v]...)
	}
	if len(who.Roles) == 0 {
		return nil, &noRoleError{who.Name, p.cfg.OIDCClaim}
	}
	return who, nil
}

// nameOf returns a name for the person. An e-mail address that the provider has not verified
// is not used, because anybody could claim it.
func nameOf(claims map[string]any) string {
	for _, name := range []string{"email", "preferred_username", "name"} {
		verified, said := claims["email_verified"].(bool)
		if s, ok := claims[name].(string); ok && s != "" && (name != "email" || verified || !said) {
			return s
		}
	}
	s, _ := claims["sub"].(string)
	return s
}

// valuesAt returns the strings of the claim named path or, if there is none, at that path of
// nested claims, whose parts are separated by dots. Some providers' names contain dots.
func valuesAt(claims map[string]any, path string) (values []string) {
	found, ok := claims[path]
	for at := any(claims); !ok && path != ""; {
		name, rest, more := strings.Cut(path, ".")
		object, _ := at.(map[string]any)
		at, path = object[name], rest
		if !more {
			found = at
		}
	}
	switch v := found.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				values = append(values, s)
			}
		}
	}
	return values
}

// signIn is the state of a sign-in while the person is at the provider.
type signIn struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Next     string    `json:"next"`
	Until    time.Time `json:"until"`
}

func (s *signIn) cookie() string { return signInCookie + s.State[:8] }

// localPath returns next if it is a path of this console, else the first page. It rejects
// everything that a browser might take for another host.
func localPath(next string) string {
	u, err := url.Parse(next)
	odd := strings.ContainsFunc(next, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f })
	if err != nil || odd || len(next) > 1500 || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.HasPrefix(u.Path, "//") ||
		strings.HasPrefix(u.Path, "/auth/") || strings.HasPrefix(u.Path, "/api/") {
		return "/"
	}
	return next
}

// CanSignIn reports whether people can sign in at the provider.
func (a *Access) CanSignIn() bool { return a.provider != nil && a.provider.back != "" }

// ToProvider begins a sign-in: GET /auth/signin?next=/decisions. With again=1 the provider
// asks for credentials even if the person is signed in there.
func (a *Access) ToProvider(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.FormValue("next"))
	if !a.CanSignIn() {
		http.NotFound(w, r)
		return
	}
	known, err := a.provider.discover(r.Context())
	if err != nil {
		a.refused(w, r, next, err)
		return
	}
	s := &signIn{State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Next: next,
		Until: a.now().Add(signInFor)}
	value, err := a.seal.lock(signInCookie, s)
	if err != nil {
		a.refused(w, r, next, err)
		return
	}
	a.setCookie(w, r, s.cookie(), value, s.Until)
	w.Header().Set("Cache-Control", "no-store")
	ask := []oauth2.AuthCodeOption{oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier)}
	if r.FormValue("again") != "" { // otherwise a person who is signed in there would return as the same user at once
		ask = append(ask, oauth2.SetAuthURLParam("prompt", "login"))
	}
	http.Redirect(w, r, known.oauth.AuthCodeURL(s.State, ask...), http.StatusSeeOther)
}

// FromProvider ends a sign-in: GET /auth/callback?state=…&code=….
func (a *Access) FromProvider(w http.ResponseWriter, r *http.Request) {
	if !a.CanSignIn() {
		http.NotFound(w, r)
		return
	}
	s := a.signInOf(r)
	if s == nil {
		a.over(w, r)
		return
	}
	a.setCookie(w, r, s.cookie(), "", time.Time{}) // a sign-in can be finished only once
	p, err := a.finish(r, s)
	if err == nil {
		err = a.Begin(w, r, p)
	}
	if err != nil {
		a.refused(w, r, s.Next, err)
		return
	}
	a.log.Info("signed in")
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, s.Next, http.StatusSeeOther)
}

// signInOf returns the sign-in that the returning browser began, or nil.
func (a *Access) signInOf(r *http.Request) *signIn {
	state := r.FormValue("state")
	if len(state) < 8 {
		return nil
	}
	c, err := r.Cookie(a.cookieName(r, signInCookie+state[:8]))
	s := &signIn{}
	if err != nil || !a.seal.unlock(signInCookie, c.Value, s) || s.State != state || !a.now().Before(s.Until) {
		return nil
	}
	return s
}

// deniedError is a refusal by the provider.
type deniedError struct{ code, text string }

func (e *deniedError) Error() string { return strings.TrimSuffix(e.code+": "+e.text, ": ") }

// finish exchanges the code for an ID token and reads it.
func (a *Access) finish(r *http.Request, s *signIn) (*Person, error) {
	if code := r.FormValue("error"); code != "" {
		return nil, &deniedError{code, r.FormValue("error_description")}
	}
	known, err := a.provider.discover(r.Context())
	if err != nil {
		return nil, err
	}
	tokens, err := known.oauth.Exchange(a.provider.Client(r.Context()), r.FormValue("code"), oauth2.VerifierOption(s.Verifier))
	if err != nil {
		var said *oauth2.RetrieveError
		if errors.As(err, &said) && said.Response.StatusCode < http.StatusInternalServerError {
			return nil, &deniedError{said.ErrorCode, said.ErrorDescription}
		}
		return nil, fmt.Errorf("%w: %w", openid.ErrUnreachable, err)
	}
	token, _ := tokens.Extra("id_token").(string)
	if token == "" {
		return nil, errors.New("there is no ID token in the answer: is the scope openid missing?")
	}
	return a.provider.verify(r.Context(), token, s.Nonce)
}

// SignOutURL returns where the person can sign out of the provider too, or "". A person who
// came with a static token has no session there.
func (a *Access) SignOutURL(ctx context.Context, p *Person) string {
	if !a.CanSignIn() || p == nil || p.ID == "" {
		return ""
	}
	known, err := a.provider.discover(ctx)
	if err != nil || known.end == "" {
		return ""
	}
	end, err := url.Parse(known.end)
	if err != nil {
		return ""
	}
	q := end.Query()
	q.Set("client_id", a.cfg.OIDCClient)
	q.Set("post_logout_redirect_uri", a.origin.JoinPath("/").String())
	end.RawQuery = q.Encode()
	return end.String()
}
