package access

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"go.uber.org/zap"

	"pitboss/internal/openid"
)

// Trouble says why a sign-in failed. The console has its text in the reader's language.
type Trouble struct {
	What   string   // unreachable, no-role, used, denied, untrusted, over
	Values []string // the text's parameters: name, value, name, value
	Again  string   // the address of another sign-in
}

// Page writes the page that explains a Trouble.
type Page func(w io.Writer, r *http.Request, t Trouble) error

// noRoleError means that a person has none of the console's roles in the claim.
type noRoleError struct{ name, claim string }

func (e *noRoleError) Error() string {
	return e.name + " has none of the console's roles in claim " + strconv.Quote(e.claim)
}

// refused answers a failed sign-in with its reason.
func (a *Access) refused(w http.ResponseWriter, r *http.Request, next string, err error) {
	var denied *deniedError
	var noRole *noRoleError
	switch {
	case errors.Is(err, openid.ErrUnreachable):
		a.trouble(w, r, next, http.StatusBadGateway, err, "unreachable", "issuer", a.cfg.OIDCIssuer)
	case errors.As(err, &noRole):
		a.trouble(w, r, next, http.StatusForbidden, err, "no-role", "name", noRole.name, "claim", noRole.claim)
	case errors.As(err, &denied) && denied.code == "invalid_grant":
		a.trouble(w, r, next, http.StatusBadRequest, err, "used")
	case errors.As(err, &denied):
		a.trouble(w, r, next, http.StatusForbidden, err, "denied", "text", denied.Error())
	default:
		a.trouble(w, r, next, http.StatusBadGateway, err, "untrusted", "text", err.Error())
	}
}

// over answers that the sign-in has expired or is unknown.
func (a *Access) over(w http.ResponseWriter, r *http.Request) {
	a.trouble(w, r, "/", http.StatusBadRequest, nil, "over", "n", fmt.Sprint(int(signInFor.Minutes())), "origin", a.origin.String())
}

// trouble answers a browser with a page that explains what is wrong.
func (a *Access) trouble(w http.ResponseWriter, r *http.Request, next string, status int, err error, what string, values ...string) {
	a.log.Warn("sign-in refused", zap.String("why", what), zap.Error(err))
	again := SignInPath + "?" + url.Values{"next": {next}, "again": {"1"}}.Encode() // lets the person sign in as somebody else
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := a.page(w, r, Trouble{What: what, Values: values, Again: again}); err != nil {
		a.log.Warn("the page about a refused sign-in could not be written", zap.Error(err))
	}
}
