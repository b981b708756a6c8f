package trainingset

import (
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/snappy"
)

// The columns besides features and labels.
const (
	ColumnPlayer = "player"     // first 12 hex digits of the SHA-256 of the player id
	ColumnTime   = "event_time" // of the decision point, UTC milliseconds
	ColumnID     = "event_id"
	ColumnType   = "event_type"
	ColumnDue    = "due"          // score_when conditions that asked, joined by commas
	ColumnGames  = "recent_games" // with Options.Games: a JSON array, latest first
)

// batch is how many rows are buffered before they are written column by column. It is small
// enough for the processor's first-level cache.
const batch = 64

// fast is a Snappy codec with half the effort of the library's own. Its files are a little
// larger.
type fast struct{ snappy.Codec }

// Encode compresses a page.
func (*fast) Encode(dst, src []byte) ([]byte, error) { return s2.EncodeSnappy(dst, src), nil }

// Parquet writes rows to a Parquet file. Features are doubles. Labels are optional columns,
// null if unknown.
type Parquet struct {
	w      *parquet.GenericWriter[any]
	cols   []*parquet.ColumnWriter
	vals   [][]parquet.Value // the batch's values by column, except features
	matrix []float64         // the batch's features, row by row
	column []parquet.Value   // scratch memory for one feature's values
	rows   int

	player, time, id, typ, due int // columns
	games                      int // column, or -1
	feat, lab                  []int
	text                       []bool
	bytes                      []byte // the memory of the batch's text values
}

// NewParquet begins a file with a column for each feature and label.
func NewParquet(out io.Writer, opt Options) (*Parquet, error) {
	set, labels := opt.Set, opt.Labels
	group := parquet.Group{
		ColumnPlayer: parquet.String(), ColumnID: parquet.String(), ColumnType: parquet.String(), ColumnDue: parquet.String(),
		ColumnTime: parquet.Timestamp(parquet.Millisecond),
	}
	if opt.Games {
		group[ColumnGames] = parquet.String()
	}
	add := func(name string, node parquet.Node) error {
		if _, taken := group[name]; taken {
			return fmt.Errorf("training set: there are two columns %s; rename the feature or label", name)
		}
		group[name] = node
		return nil
	}
	for _, name := range set.Names() {
		if err := add(name, parquet.Leaf(parquet.DoubleType)); err != nil {
			return nil, err
		}
	}
	p := &Parquet{games: -1}
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
	config := []parquet.WriterOption{schema, parquet.Compression(&fast{}), parquet.KeyValueMetadata("pitboss.feature_set", set.Hash())}
	for _, name := range set.Names() { // training reads all rows and needs no bounds
		config = append(config, parquet.SkipPageBounds(name))
	}
	p.w = parquet.NewGenericWriter[any](out, config...)
	p.cols = p.w.ColumnWriters()
	at := map[string]int{}
	for i, path := range schema.Columns() {
		at[path[0]] = i
	}
	p.player, p.time, p.id, p.typ, p.due = at[ColumnPlayer], at[ColumnTime], at[ColumnID], at[ColumnType], at[ColumnDue]
	if opt.Games {
		p.games = at[ColumnGames]
	}
	for _, name := range set.Names() {
		p.feat = append(p.feat, at[name])
	}
	for _, l := range labels {
		p.lab = append(p.lab, at[l.Name])
	}
	p.vals = make([][]parquet.Value, len(p.cols))
	p.matrix = make([]float64, 0, batch*len(p.feat))
	p.column = make([]parquet.Value, batch)
	return p, nil
}

// put adds a value to a required column.
func (p *Parquet) put(column int, v parquet.Value) {
	p.vals[column] = append(p.vals[column], v)
}

// string returns a text value. Its memory is valid until the batch is written.
func (p *Parquet) string(s string) parquet.Value {
	n := len(p.bytes)
	p.bytes = append(p.bytes, s...)
	return parquet.ByteArrayValue(p.bytes[n:])
}

// Write adds one row.
func (p *Parquet) Write(r *Row) error {
	p.put(p.player, p.string(r.Player))
	p.put(p.id, p.string(r.ID))
	p.put(p.typ, p.string(shortType(r.Type)))
	p.put(p.due, p.string(strings.Join(r.Due, ",")))
	if p.games >= 0 {
		p.put(p.games, p.string(gamesText(r.Games)))
	}
	p.put(p.time, parquet.Int64Value(r.Time.UnixMilli()))
	p.matrix = append(p.matrix, r.Vector...)
	for i, l := range r.Labels {
		switch {
		case !l.Known || p.text[i] && l.Text == "":
			p.put(p.lab[i], parquet.NullValue().Level(0, 0, p.lab[i]))
		case p.text[i]:
			p.put(p.lab[i], p.string(l.Text).Level(0, 1, p.lab[i]))
		default:
			p.put(p.lab[i], parquet.DoubleValue(l.Number).Level(0, 1, p.lab[i]))
		}
	}
	if p.rows++; p.rows%batch == 0 {
		return p.flush()
	}
	return nil
}

func (p *Parquet) flush() error {
	for i, vals := range p.vals {
		if len(vals) == 0 {
			continue
		}
		if _, err := p.cols[i].WriteRowValues(vals); err != nil {
			return fmt.Errorf("training set: parquet: %w", err)
		}
		p.vals[i] = vals[:0]
	}
	for i, column := range p.feat {
		vals := p.column[:len(p.matrix)/len(p.feat)]
		for j := range vals {
			vals[j] = parquet.DoubleValue(p.matrix[j*len(p.feat)+i])
		}
		if _, err := p.cols[column].WriteRowValues(vals); err != nil {
			return fmt.Errorf("training set: parquet: %w", err)
		}
	}
	p.bytes, p.matrix = p.bytes[:0], p.matrix[:0]
	if p.rows%(2048*batch) == 0 {
		return p.w.Flush() // a row group
	}
	return nil
}

// Close writes the buffered rows and the file's footer.
func (p *Parquet) Close() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.w.Close()
}
