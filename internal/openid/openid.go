// Package openid is an OpenID provider as those see it who check its tokens:
// asked for its addresses and keys when first needed, not at a function's start,
// so that the function serves everybody else while the provider is down.
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

// ErrUnreachable is in the error where the provider did not answer: nobody's
// token is wrong, and the same token may be good a moment later.
var ErrUnreachable = errors.New("the sign-in service does not answer")

// Provider is one issuer of tokens. Its methods may be called concurrently.
type Provider struct {
	issuer string
	now    func() time.Time
	http   *http.Client

	mu      sync.Mutex
	known   *oidc.Provider
	failure error
	retry   time.Time // no new attempt before
}

// New returns the provider at issuer, not yet asked. setting names what the
// address was read from, for the error of a wrong one.
func New(setting, issuer string, now func() time.Time) (*Provider, error) {
	if _, err := WebURL(setting, issuer); err != nil {
		return nil, err
	}
	return &Provider{issuer: issuer, now: now, http: &http.Client{Timeout: 5 * time.Second}}, nil
}

// Ask returns what the provider's discovery document tells. A failure is
// remembered for a second, lest everybody waits for a provider that is down.
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

// Client returns a context that makes go-oidc and oauth2 use the provider's
// HTTP client, which has a time limit. What one person asked for is finished
// though they leave: others wait for it.
func (p *Provider) Client(ctx context.Context) context.Context {
	return oidc.ClientContext(context.WithoutCancel(ctx), p.http)
}

// Verify checks an ID token (or an access token that is a JWT): issuer,
// signature, expiry, and that it is meant for audience. ErrUnreachable is in the
// error if the provider's keys could not be had; any other error is the token's.
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

// WebURL parses an address that secrets travel to: https, or this machine.
// setting names what it was read from.
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
