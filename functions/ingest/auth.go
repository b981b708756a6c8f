package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/openid"
	"pitboss/internal/setup"
)

// Headers of a signed request.
const (
	headerProducer  = "Pitboss-Producer"
	headerSignature = "Pitboss-Signature" // t=<unix seconds>,v1=<hex HMAC-SHA256>
	maxSignatureAge = 5 * time.Minute
)

// authenticator says which producer sent a request.
type authenticator struct {
	keys     map[string][][]byte // by producer; more than one while a secret is rotated
	provider *openid.Provider
	audience string // the audience that a token must have
	loopback bool   // no authentication is configured: loopback callers only
}

func newAuthenticator(cfg config, now func() time.Time) (a authenticator, err error) {
	if cfg.HMACKeysFile != "" {
		if a.keys, err = readKeys(cfg.HMACKeysFile); err != nil {
			return a, err
		}
	}
	if cfg.OIDCIssuer != "" {
		if a.provider, err = openid.New("ingest: INGEST_OIDC_ISSUER", cfg.OIDCIssuer, now); err != nil {
			return a, err
		}
		a.audience = cfg.OIDCAudience
	}
	if a.keys == nil && a.provider == nil {
		// Behind Knative's queue-proxy every caller looks like loopback.
		if cfg.KnativeName != "" {
			return a, errors.New("ingest: set INGEST_HMAC_KEYS_FILE or INGEST_OIDC_ISSUER: it is open on loopback only")
		}
		a.loopback = true
	}
	return a, nil
}

func readKeys(path string) (map[string][][]byte, error) {
	keys := map[string][][]byte{}
	err := setup.EachLine("ingest: INGEST_HMAC_KEYS_FILE", path, func(line string) error {
		producer, secret, _ := strings.Cut(line, " ")
		if secret = strings.TrimSpace(secret); len(secret) < 16 {
			return errors.New("want \"producer secret\", the secret at least 16 characters")
		}
		keys[producer] = append(keys[producer], []byte(secret))
		return nil
	})
	return keys, err
}

// authenticate returns the producer's name, or why the request is refused. If the error
// is openid.ErrUnreachable, the same request may be accepted later.
func (a *authenticator) authenticate(r *http.Request, body []byte, now time.Time) (string, error) {
	if sig := r.Header.Get(headerSignature); sig != "" && a.keys != nil {
		return a.checkSignature(r, sig, body, now)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.provider != nil {
		id, err := a.provider.Verify(r.Context(), a.audience, token)
		if err != nil {
			return "", fmt.Errorf("bearer token refused: %w", err)
		}
		return id.Subject, nil
	}
	if a.loopback {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil && net.ParseIP(host).IsLoopback() {
			return "loopback", nil
		}
		return "", errors.New("no authentication is configured, so only loopback callers are served")
	}
	return "", fmt.Errorf("sign the request (%s, %s) or send a bearer token", headerProducer, headerSignature)
}

func (a *authenticator) checkSignature(r *http.Request, sig string, body []byte, now time.Time) (string, error) {
	producer := r.Header.Get(headerProducer)
	keys := a.keys[producer]
	if len(keys) == 0 {
		return "", fmt.Errorf("%s %q is not known", headerProducer, producer)
	}
	stamp, mac, ok := parseSignature(sig)
	if !ok {
		return "", fmt.Errorf("%s must be t=<unix seconds>,v1=<hex>", headerSignature)
	}
	if age := now.Sub(time.Unix(stamp, 0)); age > maxSignatureAge || age < -maxSignatureAge {
		return "", fmt.Errorf("%s is %s off the receiver's clock; at most %s is allowed", headerSignature, age.Round(time.Second), maxSignatureAge)
	}
	for _, key := range keys {
		if hmac.Equal(mac, Sign(key, stamp, r.Header, body)) {
			return producer, nil
		}
	}
	return "", fmt.Errorf("%s does not match", headerSignature)
}

func parseSignature(s string) (stamp int64, mac []byte, ok bool) {
	t, v, ok := strings.Cut(s, ",")
	ts, okT := strings.CutPrefix(t, "t=")
	hx, okV := strings.CutPrefix(strings.TrimSpace(v), "v1=")
	stamp, errT := strconv.ParseInt(ts, 10, 64)
	mac, errV := hex.DecodeString(hx)
	return stamp, mac, ok && okT && okV && errT == nil && errV == nil
}

// Sign is the signature of a request: HMAC-SHA256 over the time stamp, the
// content type, every ce-* header (lower case, sorted by name; the attributes of a
// binary-mode event) and the body, each followed by a line feed.
func Sign(key []byte, stamp int64, header http.Header, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%d\n%s\n", stamp, header.Get("Content-Type"))
	var names []string
	for name := range header {
		if strings.HasPrefix(strings.ToLower(name), "ce-") {
			names = append(names, name)
		}
	}
	sort.Slice(names, func(i, j int) bool { return strings.ToLower(names[i]) < strings.ToLower(names[j]) })
	for _, name := range names {
		fmt.Fprintf(mac, "%s:%s\n", strings.ToLower(name), header.Get(name))
	}
	mac.Write(body)
	mac.Write([]byte{'\n'})
	return mac.Sum(nil)
}
