package trainingset

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/snappy"

	"pitboss/internal/feature"
)

// Columns beside the features and labels.
const (
	ColumnPlayer = "player"     // first 12 hex digits of the SHA-256 of the player id
	ColumnTime   = "event_time" // of the decision point, UTC milliseconds
	ColumnID     = "event_id"
	ColumnType   = "event_type"
	ColumnDue    = "due" // score_when conditions that asked, joined by commas
)

// batch is how many rows are gathered before the columns are written.
const batch = 4096

// Parquet writes rows to a Parquet file: doubles for features; labels are
// optional columns, null where not known.
type Parquet struct {
	w    *parquet.GenericWriter[any]
	cols []*parquet.ColumnWriter
	vals [][]parquet.Value
	rows int
	at   map[string]int
	feat []int
	lab  []int
	text []bool
}

// NewParquet begins a file with a column for each feature and label.
func NewParquet(out io.Writer, set *feature.Set, labels []*feature.Label) (*Parquet, error) {
	group := parquet.Group{
		ColumnPlayer: parquet.String(), ColumnID: parquet.String(), ColumnType: parquet.String(), ColumnDue: parquet.String(),
		ColumnTime: parquet.Timestamp(parquet.Millisecond),
	}
	add := func(name string, node parquet.Node) error {
		if _, taken := group[name]; taken {
			return fmt.Errorf("training set: column %s is there twice; rename the feature or label", name)
		}
		group[name] = node
		return nil
	}
	for _, name := range set.Names() {
		if err := add(name, parquet.Leaf(parquet.DoubleType)); err != nil {
			return nil, err
		}
	}
	p := &Parquet{at: map[string]int{}}
	for _, l := range labels {
		node := parquet.Leaf(parquet.DoubleType)
		if l.Text {
			node = parquet.String()
		}
		if err := add(l.Name, parquet.Optional(node)); err != nil {
			return nil, err
		}
		p.text = append(p.text, l.Text)
	}
	schema := parquet.NewSchema("training_set", group)
	p.w = parquet.NewGenericWriter[any](out, schema, parquet.Compression(&snappy.Codec{}),
		parquet.KeyValueMetadata("pitboss.feature_set", set.Hash()))
	p.cols = p.w.ColumnWriters()
	for i, path := range schema.Columns() {
		p.at[path[0]] = i
	}
	for _, name := range set.Names() {
		p.feat = append(p.feat, p.at[name])
	}
	for _, l := range labels {
		p.lab = append(p.lab, p.at[l.Name])
	}
	p.vals = make([][]parquet.Value, len(p.cols))
	for i := range p.vals {
		p.vals[i] = make([]parquet.Value, 0, batch)
	}
	return p, nil
}

func (p *Parquet) put(column int, v parquet.Value, defined int) {
	p.vals[column] = append(p.vals[column], v.Level(0, defined, column))
}

// Write adds one row.
func (p *Parquet) Write(r *Row) error {
	text := func(column, s string) { p.put(p.at[column], parquet.ByteArrayValue([]byte(s)), 0) }
	text(ColumnPlayer, r.Player)
	text(ColumnID, r.ID)
	text(ColumnType, shortType(r.Type))
	text(ColumnDue, strings.Join(r.Due, ","))
	p.put(p.at[ColumnTime], parquet.Int64Value(r.Time.UnixMilli()), 0)
	for i, x := range r.Vector {
		p.put(p.feat[i], parquet.DoubleValue(x), 0)
	}
	for i, l := range r.Labels {
		switch {
		case !l.Known || p.text[i] && l.Text == "":
			p.put(p.lab[i], parquet.Value{}, 0)
		case p.text[i]:
			p.put(p.lab[i], parquet.ByteArrayValue([]byte(l.Text)), 1)
		default:
			p.put(p.lab[i], parquet.DoubleValue(l.Number), 1)
		}
	}
	if p.rows++; p.rows%batch == 0 {
		return p.flush()
	}
	return nil
}

func (p *Parquet) flush() error {
	for i, vals := range p.vals {
		if _, err := p.cols[i].WriteRowValues(vals); err != nil {
			return fmt.Errorf("training set: parquet: %w", err)
		}
		p.vals[i] = vals[:0]
	}
	if p.rows%(32*batch) == 0 {
		return p.w.Flush() // a row group
	}
	return nil
}

// Close writes what is left and the file's footer.
func (p *Parquet) Close() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.w.Close()
}

// CSV writes rows as comma-separated values with a header; a label that is
// not known is empty. Numbers read back to the same bits.
type CSV struct {
	w    *csv.Writer
	row  []string
	text []bool
}

// NewCSV begins a file.
func NewCSV(out io.Writer, set *feature.Set, labels []*feature.Label) (*CSV, error) {
	c := &CSV{w: csv.NewWriter(out)}
	head := append([]string{ColumnPlayer, ColumnTime, ColumnID, ColumnType, ColumnDue}, set.Names()...)
	for _, l := range labels {
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

// Close writes what is left.
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

func shortType(typ string) string {
	return strings.TrimSuffix(strings.TrimPrefix(typ, "pitboss."), ".v1")
}
