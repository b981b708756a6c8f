package console

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"golang.org/x/text/language"

	"pitboss/internal/access"
)

// The server writes two pages itself, with the texts of the page's message files:
// the copy for a player, and why a sign-in failed. Texts and templates are parsed on
// first use, because the process of every function contains this package and would
// start 5 ms later.

//go:embed ui/src/messages/*.json
var messageFiles embed.FS

// messages holds the texts of one language by key.
type messages map[string]string

// languages returns the message files by language.
var languages = sync.OnceValue(func() map[string]messages {
	out := map[string]messages{}
	files, err := messageFiles.ReadDir("ui/src/messages")
	if err != nil {
		panic(err) // embedded
	}
	for _, f := range files {
		raw, err := messageFiles.ReadFile("ui/src/messages/" + f.Name())
		m := messages{}
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		if err != nil {
			panic(fmt.Errorf("console: %s: %w", f.Name(), err)) // embedded
		}
		out[strings.TrimSuffix(f.Name(), path.Ext(f.Name()))] = m
	}
	return out
})

// text returns a message with its placeholders filled; values are name, value, name,
// value, …
func (m messages) text(key string, values ...string) (string, error) {
	text, ok := m[key]
	if !ok || len(values)%2 != 0 {
		return "", fmt.Errorf("console: message %s with %d values", key, len(values))
	}
	for i := 0; i < len(values); i += 2 {
		text = strings.ReplaceAll(text, "{"+values[i]+"}", values[i+1])
	}
	return text, nil
}

// word names one of a fixed set of codes. It shows an unknown code as it is.
func (m messages) word(set, code string) string {
	if text, ok := m[set+"."+code]; ok {
		return text
	}
	return strings.ReplaceAll(code, "_", " ")
}

// languageCookie holds the language that the reader chose on the page.
const languageCookie = "language"

// tags returns the languages that have texts, of which the first is the default, and
// their matcher.
var tags = sync.OnceValues(func() ([]string, language.Matcher) {
	names, parsed := []string{"en"}, []language.Tag{language.English}
	for name := range languages() {
		if name != "en" {
			names, parsed = append(names, name), append(parsed, language.MustParse(name))
		}
	}
	return names, language.NewMatcher(parsed)
})

// languageOf returns the language that the reader chose on the page, else the
// browser's.
func languageOf(r *http.Request) string {
	names, matcher := tags()
	if c, err := r.Cookie(languageCookie); err == nil && slices.Contains(names, c.Value) {
		return c.Value
	}
	wanted, _, _ := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")) // if there is none: English
	_, n, _ := matcher.Match(wanted...)
	return names[n]
}

//go:embed signin.html
var signInText string

var signInPage = sync.OnceValue(func() *template.Template { return template.Must(template.New("signin").Parse(signInText)) })

// writeTrouble says why a sign-in failed, in the reader's language.
func writeTrouble(w io.Writer, r *http.Request, t access.Trouble) error {
	tongue := languageOf(r)
	m := languages()[tongue]
	text, err := m.text("signin."+t.What, t.Values...)
	if err != nil {
		return err
	}
	return signInPage().Execute(w, struct{ Title, Text, Button, Again, Language, Style string }{
		m["signin."+t.What+"-title"], text, m["signin.again"], t.Again, tongue, styleOf(bundle)})
}
