package trainingset

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// CSV writes rows as comma-separated values with a header. An unknown label is empty.
// Numbers read back to the same bits.
type CSV struct {
	w    *csv.Writer
	row  []string
	more bool // Options.Games
	text []bool
}

// NewCSV begins a file.
func NewCSV(out io.Writer, opt Options) (*CSV, error) {
	c := &CSV{w: csv.NewWriter(out), more: opt.Games}
	head := append([]string{ColumnPlayer, ColumnTime, ColumnID, ColumnType, ColumnDue}, opt.Set.Names()...)
	if opt.Games {
		head = append(head, ColumnGames)
	}
	for _, l := range opt.Labels {
		head = append(head, l.Name)
		c.text = append(c.text, l.Text)
	}
	return c, c.w.Write(head)
}

// Write adds one row.
func (c *CSV) Write(r *Row) error {
	c.row = append(c.row[:0], r.Player, r.Time.UTC().Format(time.RFC3339Nano), r.ID, shortType(r.Type), strings.Join(r.Due, ","))
	for _, x := range r.Vector {
		c.row = append(c.row, number(x))
	}
	if c.more {
		c.row = append(c.row, gamesText(r.Games))
	}
	for i, l := range r.Labels {
		switch {
		case !l.Known:
			c.row = append(c.row, "")
		case c.text[i]:
			c.row = append(c.row, l.Text)
		default:
			c.row = append(c.row, number(l.Number))
		}
	}
	return c.w.Write(c.row)
}

// Close writes the buffered rows.
func (c *CSV) Close() error {
	c.w.Flush()
	return c.w.Error()
}

func number(x float64) string {
	if n := int64(x); float64(n) == x && math.Abs(x) < 1<<53 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// gamesText writes games as a JSON array, because a game's name may contain any character.
func gamesText(games []string) string {
	b, err := json.Marshal(games)
	if err != nil { // invalid UTF-8, which the contract refuses
		return "[]"
	}
	return string(b)
}

func shortType(typ string) string {
	return strings.TrimSuffix(strings.TrimPrefix(typ, "pitboss."), ".v1")
}
