package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"pitboss/internal/event"
)

// Element types of ONNX tensors (TensorProto.DataType).
const (
	elemFloat32 = 1
	elemUint8   = 2
	elemInt32   = 6
	elemInt64   = 7
	elemString  = 8
	elemFloat64 = 11
)

func elemName(elem int64) string {
	names := map[int64]string{elemFloat32: "float32", elemUint8: "uint8", 3: "int8", elemInt32: "int32", elemInt64: "int64",
		elemString: "string", 9: "bool", 10: "float16", elemFloat64: "float64", 16: "bfloat16"}
	if n, ok := names[elem]; ok {
		return n
	}
	return fmt.Sprintf("element type %d", elem)
}

// Row is a model's input. Numbers has one value per column. Words is nil if no column is
// a word, else it has one value per column too.
type Row struct {
	Numbers []float64
	Words   []string
}

// input is one input tensor of the graph and the row's columns that fill it.
type input struct {
	name           string
	elem           int64
	shape          []int64 // of one call
	first, columns int     // of the row
}

// output is the output tensor (or sequence of maps) from which the score is read.
type output struct {
	name   string
	elem   int64
	shape  []int64 // of one call; nil: only known after a call
	column int     // of the tensor: the first number of the score
	class  string  // of a sequence of maps: the score's key
	width  int     // how many numbers are read from column on
}

// wiring maps a row to the graph's inputs, and the graph's output to a score.
type wiring struct {
	inputs []input
	output output
}

// plain reports whether the graph takes one float32 tensor [N, columns] and gives one
// float32 tensor [N, outputs], so that rows can be batched.
func (w *wiring) plain(g *graph) bool {
	if len(w.inputs) != 1 || w.output.shape == nil || len(w.output.shape) != 2 || w.output.shape[1] != int64(w.output.width) {
		return false
	}
	in, out := w.inputs[0], g.output(w.output.name)
	return in.elem == elemFloat32 && len(in.shape) == 2 && g.inputs[0].dims[0] == -1 &&
		w.output.elem == elemFloat32 && out.dims[0] == -1
}

func (g *graph) output(name string) *valueInfo {
	if i := slices.IndexFunc(g.outputs, func(v valueInfo) bool { return v.name == name }); i >= 0 {
		return &g.outputs[i]
	}
	return nil
}

// wire matches the graph's inputs and outputs with the manifest's columns. The error says
// what differs and which line of model.yaml to change.
func wire(g *graph, man *Manifest) (*wiring, error) {
	w := &wiring{}
	declared := man.inputs()
	for _, d := range declared {
		if !slices.ContainsFunc(g.inputs, func(v valueInfo) bool { return v.name == d.Tensor }) {
			return nil, fmt.Errorf("model.yaml says %q, but the file's inputs are %s: name one of them", d.Tensor, names(g.inputs))
		}
	}
	for _, in := range g.inputs {
		if !slices.ContainsFunc(declared, func(d Input) bool { return d.Tensor == in.name }) {
			return nil, fmt.Errorf("the file has an input %q that model.yaml does not fill: add `- {tensor: %s, columns: [...]}` under inputs (the file's inputs: %s)",
				in.name, in.name, names(g.inputs))
		}
	}
	first := 0
	for _, d := range declared {
		i := slices.IndexFunc(g.inputs, func(v valueInfo) bool { return v.name == d.Tensor })
		columns := len(d.Columns)
		if man.Kind == KindRanking {
			columns = man.columns()
		}
		in, err := wireInput(g.inputs[i], first, columns, d.Columns)
		if err != nil {
			return nil, err
		}
		w.inputs = append(w.inputs, in)
		first += columns
	}
	var err error
	w.output, err = wireOutput(g, man)
	return w, err
}

func names(vs []valueInfo) string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = v.name
	}
	return strings.Join(out, ", ")
}

func wireInput(v valueInfo, first, columns int, named []string) (input, error) {
	in := input{name: v.name, elem: v.elem, first: first, columns: columns}
	switch v.elem {
	case elemFloat32, elemFloat64, elemInt32, elemInt64:
		if i := slices.IndexFunc(named, isWord); i >= 0 {
			return in, fmt.Errorf("input %q takes %s, but %s is a word: give its column a feature's name", v.name, elemName(v.elem), named[i])
		}
	case elemString:
		if i := slices.IndexFunc(named, func(c string) bool { return !isWord(c) }); i >= 0 {
			return in, fmt.Errorf("input %q takes words, but %s is a number: give its column one of %s", v.name, named[i], wordColumns())
		}
	default:
		return in, fmt.Errorf("input %q takes %s: export the model with inputs of float32, float64, int32, int64 or string", v.name, elemName(v.elem))
	}
	width, shape := rowShape(v.dims, columns)
	if width != columns {
		return in, fmt.Errorf("input %q must be %s [N, %d] to take the %d columns that model.yaml lists, is %s %v: list all %d columns under features, in the order of training",
			v.name, elemName(v.elem), columns, columns, elemName(v.elem), v.dims, width)
	}
	in.shape = shape
	return in, nil
}

// rowShape returns the shape of a call with one row of the given columns, and how many
// columns a row of the tensor has. The first dimension is the batch, unless it is the
// only one. The first symbolic dimension after it is taken to be as wide as needed.
func rowShape(dims []int64, columns int) (width int, shape []int64) {
	if len(dims) == 0 {
		return 1, []int64{1}
	}
	shape = slices.Clone(dims)
	if shape[0] == -1 {
		shape[0] = 1
	}
	first := 1
	if len(dims) == 1 {
		first = 0
	}
	width = 1
	open := -1
	for i := first; i < len(shape); i++ {
		if shape[i] != -1 {
			width *= int(shape[i])
			continue
		}
		shape[i] = 1
		if open < 0 {
			open = i
		}
	}
	if open >= 0 && columns%width == 0 {
		shape[open] = int64(columns / width)
		width = columns
	}
	return width, shape
}

func wireOutput(g *graph, man *Manifest) (output, error) {
	v := g.output(man.OutputTensor)
	if v == nil {
		return output{}, fmt.Errorf("the file has no output %q, which model.yaml names: set output_tensor to one of %s", man.OutputTensor, names(g.outputs))
	}
	out := output{name: v.name, elem: v.elem, width: man.outputs(), class: man.OutputClass}
	if v.maps {
		if man.OutputClass == "" {
			return out, fmt.Errorf("output %q gives a probability per class (ZipMap): add `output_class: CLASS` to model.yaml%s", v.name, listed(g.classes()))
		}
		return out, nil
	}
	switch v.elem {
	case elemFloat32, elemFloat64, elemInt32, elemInt64:
	default:
		return out, fmt.Errorf("output %q gives %s: set output_tensor to one that gives a number (of %s)", v.name, elemName(v.elem), names(g.outputs))
	}
	if man.OutputColumn != nil {
		out.column = *man.OutputColumn
	}
	if !v.shaped || slices.Contains(v.dims[min(1, len(v.dims)):], -1) {
		return out, nil // only known after a call; loading makes one
	}
	width, shape := rowShape(v.dims, 1)
	out.shape = shape
	switch {
	case man.OutputColumn == nil && width > out.width && man.Kind != KindRanking:
		return out, fmt.Errorf("output %q has %d columns: add `output_column: %d` (or another of 0 to %d) to model.yaml%s", v.name, width, width-1, width-1, listed(g.classes()))
	case out.column < 0 || out.column+out.width > width || man.Kind == KindRanking && width != out.width:
		return out, fmt.Errorf("output %q must be a tensor of %d numbers a row, is %s %v: set output_column below %d", v.name, out.column+out.width, elemName(v.elem), v.dims, width)
	}
	return out, nil
}

// listed is the classes of the file, to be added to an error.
func listed(classes []string) string {
	if len(classes) == 0 {
		return ""
	}
	return fmt.Sprintf(" (the classes in the file: %s)", strings.Join(classes, ", "))
}

// classes returns the labels of the graph's classifier or ZipMap.
func (g *graph) classes() (out []string) {
	for _, n := range g.nodes {
		for _, a := range []string{"classlabels_int64s", "classlabels_ints"} {
			if out = out[:0]; len(n.attrs[a].ints) > 1 {
				for _, c := range n.attrs[a].ints {
					out = append(out, fmt.Sprint(c))
				}
				return out
			}
		}
		if c := n.attrs["classlabels_strings"].strings; len(c) > 1 {
			return c
		}
	}
	return nil
}

// wordsOf maps the names of word columns to the facts that fill them.
var wordsOf = map[string]func(*event.Facts) string{
	"player.jurisdiction": func(f *event.Facts) string { return f.Jurisdiction },
	"player.brand":        func(f *event.Facts) string { return f.Brand },
	"player.currency":     func(f *event.Facts) string { return f.Currency },
	"player.tier":         func(f *event.Facts) string { return f.Tier },
	"player.time_zone":    func(f *event.Facts) string { return f.TimeZone },
	"player.last_game":    func(f *event.Facts) string { return f.LastGame },
	"player.failed_game":  func(f *event.Facts) string { return f.FailedGame },
}

// Row returns the model's row for a player's features and facts.
func (m *Manifest) Row(features map[string]float64, facts *event.Facts) (Row, error) {
	columns := m.Columns()
	row := Row{Numbers: make([]float64, len(columns)), Words: make([]string, len(columns))}
	for i, c := range columns {
		if isWord(c) {
			row.Words[i] = wordsOf[c](facts)
			continue
		}
		v, ok := features[c]
		if !ok {
			return row, fmt.Errorf("%w: %s, for model %s", ErrMissingFeature, c, m.Key())
		}
		row.Numbers[i] = v
	}
	return row, nil
}

func isWord(column string) bool { return wordsOf[column] != nil }

func wordColumns() string {
	return strings.Join(slices.Sorted(maps.Keys(wordsOf)), ", ")
}

// round rounds each number to the type of its tensor, so that an explanation sees the
// numbers that the model sees. It returns the first column whose rounded number is not
// finite, or -1.
func (w *wiring) round(x []float64) int {
	for _, in := range w.inputs {
		for i := in.first; i < in.first+in.columns; i++ {
			v := x[i]
			switch in.elem {
			case elemFloat32:
				v = float64(float32(v))
			case elemInt32:
				v = min(max(math.Trunc(v), math.MinInt32), math.MaxInt32)
			case elemInt64:
				v = min(max(math.Trunc(v), -mostInt64), mostInt64)
			case elemString:
				v = 0
			}
			if math.Float64bits(v)&exponent64 == exponent64 {
				return i
			}
			x[i] = v
		}
	}
	return -1
}

// mostInt64 is the largest float64 that an int64 holds.
const mostInt64 = 1<<63 - 1024

// exponent64 is all ones in a NaN or an infinity.
const exponent64 = 0x7ff << 52
