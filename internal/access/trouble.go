package access

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"pitboss/internal/openid"
)

// refused says in words why a sign-in failed, and what may help.
func (a *Access) refused(w http.ResponseWriter, r *http.Request, next string, err error) {
	var denied *deniedError
	switch {
	case errors.Is(err, openid.ErrUnreachable):
		a.trouble(w, r, next, http.StatusBadGateway, "The sign-in service does not answer",
			"Try again in a minute. If it stays so, tell whoever runs "+a.cfg.OIDCIssuer+".", err)
	case errors.Is(err, errNoRole):
		a.trouble(w, r, next, http.StatusForbidden, "You have no role here",
			err.Error()+". Ask whoever hands out access for the role viewer, operator or compliance, then sign in again.", err)
	case errors.As(err, &denied) && denied.code == "invalid_grant":
		a.trouble(w, r, next, http.StatusBadRequest, "This sign-in is over", "Its code was used already or is too old. Sign in again.", err)
	case errors.As(err, &denied):
		a.trouble(w, r, next, http.StatusForbidden, "The sign-in service said no", "It said: "+denied.Error()+".", err)
	default:
		a.trouble(w, r, next, http.StatusBadGateway, "The sign-in service's answer cannot be trusted",
			"Nobody was signed in: "+err.Error()+". Sign in again; if it stays so, tell whoever runs the console.", err)
	}
}

// trouble answers a browser with a page that says what is wrong.
func (a *Access) trouble(w http.ResponseWriter, r *http.Request, next string, status int, title, text string, err error) {
	a.log.Warn("sign-in refused", zap.String("why", title), zap.Error(err))
	again := SignInPath + "?" + url.Values{"next": {next}, "again": {"1"}}.Encode() // as somebody else, perhaps
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, troublePage, html.EscapeString(title), html.EscapeString(a.style), html.EscapeString(title), html.EscapeString(text),
		html.EscapeString(again))
}

const troublePage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark light">
<title>%s · Pitboss</title><link rel="icon" href="/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="%s"></head>
<body><div id="app"><main class="login" id="main"><div class="card">
<img src="/icon.svg" alt="" width="44" height="44"><h1>%s</h1><p>%s</p><p><a class="button primary" href="%s">Sign in again</a></p>
</div></main></div></body>
</html>
`
