// Package openid checks the tokens of an OpenID provider. It contacts the provider when its
// addresses and keys are first needed, not at a function's start, so that the function serves
// everybody else while the provider is down.
package openid

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// ErrUnreachable means that the provider did not answer. It says nothing about the token,
// which may be accepted a moment later.
var ErrUnreachable = errors.New("the sign-in service does not answer")

// Provider is one issuer of tokens. Its methods may be called concurrently.
type Provider struct {
	issuer string
	now    func() time.Time
	http   *http.Client

	mu      sync.Mutex
	known   *oidc.Provider
	failure error
	retry   time.Time // the earliest time of the next attempt
}

// New returns the provider at issuer without contacting it. setting is the name of the
// address's setting, for errors.
func New(setting, issuer string, now func() time.Time) (*Provider, error) {
	if _, err := WebURL(setting, issuer); err != nil {
		return nil, err
	}
	return &Provider{issuer: issuer, now: now, http: &http.Client{Timeout: 5 * time.Second}}, nil
}

// Ask returns the provider's discovery document. A failure is remembered for a second, so that
// not every caller waits for a provider that is down.
func (p *Provider) Ask(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	if p.now().Before(p.retry) {
		return nil, p.failure
	}
	found, err := oidc.NewProvider(p.Client(ctx), p.issuer)
	if err != nil {
		p.failure, p.retry = fmt.Errorf("%w: %w", ErrUnreachable, err), p.now().Add(time.Second)
		return nil, p.failure
	}
	p.known = found
	return found, nil
}

// Client returns a context that makes go-oidc and oauth2 use the provider's HTTP client, which
// has a time-out. The context is not cancelled with ctx: other callers may wait for the same
// request.
func (p *Provider) Client(ctx context.Context) context.Context {
	return oidc.ClientContext(context.WithoutCancel(ctx), p.http)
}

// Verify checks an ID token (or an access token that is a JWT): its issuer, signature, expiry
// and audience. The error wraps ErrUnreachable if the provider's keys could not be fetched;
// any other error is about the token.
func (p *Provider) Verify(ctx context.Context, audience, token string) (*oidc.IDToken, error) {
	known, err := p.Ask(ctx)
	if err != nil {
		return nil, err
	}
	id, err := known.Verifier(&oidc.Config{ClientID: audience, Now: p.now}).Verify(p.Client(ctx), token)
	if err != nil && strings.HasPrefix(err.Error(), "failed to verify signature: fetching keys ") { // go-oidc does not wrap it
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return id, err
}

// WebURL parses an address to which secrets are sent: it must be https or on this machine.
// setting is the name of the address's setting, for errors.
func WebURL(setting, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s: %q is not an address like https://host", setting, raw)
	}
	ip := net.ParseIP(u.Hostname())
	if loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(); u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return nil, fmt.Errorf("%s: %q needs https (http only on this machine)", setting, raw)
	}
	return u, nil
}
