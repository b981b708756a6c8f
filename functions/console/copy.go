package console

import (
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/text/currency"

	"pitboss/internal/event"
)

// The copy of a player's data to read is the one page that the console writes
// itself: it is handed to the player, in the player's language. It takes its
// texts from the page's message files.

//go:embed ui/src/messages/*.json
var messageFiles embed.FS

//go:embed copy.html
var copyPage string

// languages are the readable copy's templates by language.
var languages = readLanguages()

func readLanguages() map[string]*template.Template {
	out := map[string]*template.Template{}
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
		out[strings.TrimSuffix(f.Name(), path.Ext(f.Name()))] = template.Must(template.New("copy").Funcs(template.FuncMap{
			"t": m.text, "word": m.word, "moment": m.moment, "limit": m.limit, "about": m.about,
			"plain": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
			"told":  func(d *decision) string { return fill(d.Message, d.Params) },
		}).Parse(copyPage))
	}
	return out
}

// writeCopy writes v as a page in a language; in English, where there is no such.
func writeCopy(w io.Writer, language string, v exportView) error {
	page, ok := languages[language]
	if !ok {
		language, page = "en", languages["en"]
	}
	return page.Execute(w, struct {
		exportView
		Style, Language string
	}{v, styleOf(bundle), language})
}

// messages are the texts of one language.
type messages map[string]string

// text is a message with its values, given as name, value, name, value.
func (m messages) text(key string, values ...string) (string, error) {
	text, ok := m[key]
	if !ok || len(values)%2 != 0 {
		return "", fmt.Errorf("console: copy: message %s with %d values", key, len(values))
	}
	for i := 0; i < len(values); i += 2 {
		text = strings.ReplaceAll(text, "{"+values[i]+"}", values[i+1])
	}
	return text, nil
}

// word says one of a fixed set of codes.
func (m messages) word(set, code string) string {
	if text, ok := m[set+"."+code]; ok {
		return text
	}
	return strings.ReplaceAll(code, "_", " ")
}

func (m messages) moment(t time.Time) (string, error) {
	if t.IsZero() {
		return "–", nil
	}
	t = t.UTC()
	month := strings.Split(m["copy.months"], " ")[t.Month()-1]
	return m.text("copy.date", "day", strconv.Itoa(t.Day()), "month", month, "year", strconv.Itoa(t.Year()), "time", t.Format("15:04"))
}

// about names what a consent is about: product/channel.
func (m messages) about(key string) string {
	product, channel, _ := strings.Cut(key, "/")
	return m.word("product", product) + ", " + m.word("channel", channel)
}

// limit names a player's own limit: of money, in the account's currency where it
// names none, or of time.
func (m messages) limit(key string, l event.Limit, accounts string) (string, error) {
	what, period, _ := strings.Cut(key, "/")
	amount := fmt.Sprintf("%d h %d min", l.Amount/3600, l.Amount/60%60)
	if what != "time" {
		amount = m.money(l.Amount, cmp.Or(l.Currency, accounts))
	}
	return m.text("player.limit", "limit", m.word("limit", what), "amount", amount, "period", m.word("period", period))
}

func (m messages) money(minor int64, code string) string {
	digits := 2
	if unit, err := currency.ParseISO(code); err == nil {
		digits, _ = currency.Standard.Rounding(unit)
	}
	text := strconv.FormatInt(minor, 10)
	if digits > 0 {
		text = fmt.Sprintf("%0*d", digits+1, minor)
		text = text[:len(text)-digits] + m["copy.point"] + text[len(text)-digits:]
	}
	return strings.TrimSpace(text + " " + code)
}
