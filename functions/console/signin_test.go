package console

import (
	"html"
	"net/http"
	"strings"
	"testing"

	"pitboss/internal/access"
)

// The page of a failed sign-in is in the language chosen in the console, else in the
// browser's, else in English.
func TestWhyASignInFailedIsSaidInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ chosen, accept, want string }{
		{"", "", "en"}, {"", "fi", "en"}, {"", "sv-SE,sv;q=0.9,en;q=0.8", "sv"}, {"", "fr, es-MX;q=0.5", "es"}, {"", "de-AT", "de"}, {"", "\x00;q", "en"},
		{"de", "sv", "de"}, {"xx", "sv", "sv"}, {"en", "de", "en"},
	} {
		r, _ := http.NewRequest("GET", "/auth/callback", nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.chosen != "" {
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: c.chosen})
		}
		var page strings.Builder
		if err := writeTrouble(&page, r, access.Trouble{What: "used", Again: "/auth/signin"}); err != nil {
			t.Fatal(err)
		}
		m := languages()[c.want]
		if text := page.String(); !strings.Contains(text, `lang="`+c.want+`"`) || !strings.Contains(html.UnescapeString(text), m["signin.used"]) {
			t.Errorf("chosen %q, accepted %q: want %s in\n%s", c.chosen, c.accept, c.want, text)
		}
	}
}

// Each trouble has a text in each language, and a value for each placeholder.
func TestEveryTroubleHasWords(t *testing.T) {
	t.Parallel()
	for tongue, m := range languages() {
		for _, trouble := range []access.Trouble{
			{What: "unreachable", Values: []string{"issuer", "https://id.example"}}, {What: "no-role", Values: []string{"name", "nick", "claim", "roles"}}, {What: "used"},
			{What: "denied", Values: []string{"text", "<b>no</b>"}}, {What: "untrusted", Values: []string{"text", "the nonce"}}, {What: "over", Values: []string{"n", "10", "origin", "https://c.example"}},
		} {
			r, _ := http.NewRequest("GET", "/auth/callback", nil)
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: tongue})
			var page strings.Builder
			err := writeTrouble(&page, r, trouble)
			if text := page.String(); err != nil || strings.ContainsAny(text, "{}") || strings.Contains(text, "<b>") || !strings.Contains(html.UnescapeString(text), m["signin."+trouble.What+"-title"]) {
				t.Errorf("%s: %s: %v in\n%s", tongue, trouble.What, err, text)
			}
		}
	}
}
