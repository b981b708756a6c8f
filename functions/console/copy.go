package console

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/currency"

	"pitboss/internal/event"
)

// The readable copy of a player's data is given to the player, in the player's
// language.

//go:embed copy.html
var copyText string

// copyPages returns the readable copy's templates by language.
var copyPages = sync.OnceValue(func() map[string]*template.Template {
	out := map[string]*template.Template{}
	for name, m := range languages() {
		out[name] = template.Must(template.New("copy").Funcs(template.FuncMap{
			"t": m.text, "word": m.word, "moment": m.moment, "limit": m.limit, "about": m.about,
			"plain": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
			"told":  func(d *decision) string { return fill(d.Message, d.Params) },
		}).Parse(copyText))
	}
	return out
})

// writeCopy writes v as a page in the language, or in English if there are no texts
// in that language.
func writeCopy(w io.Writer, language string, v exportView) error {
	page, ok := copyPages()[language]
	if !ok {
		language, page = "en", copyPages()["en"]
	}
	return page.Execute(w, struct {
		exportView
		Style, Language string
	}{v, styleOf(bundle), language})
}

func (m messages) moment(t time.Time) (string, error) {
	if t.IsZero() {
		return "–", nil
	}
	t = t.UTC()
	month := strings.Split(m["copy.months"], " ")[t.Month()-1]
	return m.text("copy.date", "day", strconv.Itoa(t.Day()), "month", month, "year", strconv.Itoa(t.Year()), "time", t.Format("15:04"))
}

// about names what a consent covers; key is product/channel.
func (m messages) about(key string) string {
	product, channel, _ := strings.Cut(key, "/")
	return m.word("product", product) + ", " + m.word("channel", channel)
}

// limit names a limit that the player set: of time, or of money. accounts is the
// account's currency, for a limit that names none.
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
