//go:build cgo

package model

import (
	"fmt"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// inputTensor is filled from a row, or from concatenated rows.
type inputTensor interface {
	fill(numbers []float64, words []string) error
	value() ort.Value
}

// outputTensor is read as float64.
type outputTensor interface {
	read(from int, y []float64)
	value() ort.Value
}

type element interface {
	float32 | float64 | int32 | int64
}

// numbers is a tensor of numbers. As an input it takes the row's columns from first on.
type numbers[T element] struct {
	*ort.Tensor[T]
	data  []T
	first int
}

func newNumbers[T element](shape ort.Shape, first int) (*numbers[T], error) {
	t, err := ort.NewEmptyTensor[T](shape)
	if err != nil {
		return nil, err
	}
	return &numbers[T]{t, t.GetData(), first}, nil
}

func (n *numbers[T]) fill(row []float64, _ []string) error {
	for i, v := range row[n.first:min(len(row), n.first+len(n.data))] {
		n.data[i] = T(v)
	}
	return nil
}

func (n *numbers[T]) read(from int, y []float64) {
	for i := range y {
		y[i] = float64(n.data[from+i])
	}
}

func (n *numbers[T]) value() ort.Value { return n.Tensor }

// words is an input tensor of strings.
type words struct {
	*ort.StringTensor
	first, columns int
	padding        []string
}

func (w *words) fill(_ []float64, row []string) error {
	if len(row) < w.first+w.columns {
		return fmt.Errorf("score: the row has %d words, column %d is one", len(row), w.first+w.columns-1)
	}
	return w.SetContents(append(slices.Clip(row[w.first:w.first+w.columns]), w.padding...))
}

func (w *words) value() ort.Value { return w.StringTensor }

func newInput(in input, rows int64) (inputTensor, error) {
	shape := times(in.shape, rows)
	switch in.elem {
	case elemFloat32:
		return newNumbers[float32](shape, in.first)
	case elemFloat64:
		return newNumbers[float64](shape, in.first)
	case elemInt32:
		return newNumbers[int32](shape, in.first)
	case elemInt64:
		return newNumbers[int64](shape, in.first)
	}
	t, err := ort.NewStringTensor(shape)
	if err != nil {
		return nil, err
	}
	return &words{t, in.first, in.columns, make([]string, int(shape.FlattenedSize())-in.columns)}, nil
}

func newOutput(elem int64, shape ort.Shape) (outputTensor, error) {
	switch elem {
	case elemFloat64:
		return newNumbers[float64](shape, 0)
	case elemInt32:
		return newNumbers[int32](shape, 0)
	case elemInt64:
		return newNumbers[int64](shape, 0)
	}
	return newNumbers[float32](shape, 0)
}

// readValue reads an output that ONNX Runtime allocated.
func readValue(v ort.Value, out *output, y []float64) error {
	if seq, ok := v.(*ort.Sequence); ok {
		return readMap(seq, out, y)
	}
	values, err := numbersOf(v)
	if err != nil {
		return fmt.Errorf("score: output %q: %w", out.name, err)
	}
	if out.column+out.width > len(values) {
		return fmt.Errorf("score: output %q gives %d numbers a row: set output_column below that", out.name, len(values))
	}
	copy(y, values[out.column:out.column+out.width])
	return nil
}

// readMap reads a ZipMap's output: for each row a map from class to probability.
func readMap(seq *ort.Sequence, out *output, y []float64) error {
	rows, err := seq.GetValues()
	if err != nil || len(rows) == 0 {
		return fmt.Errorf("score: output %q is an empty sequence (%w)", out.name, err)
	}
	m, ok := rows[0].(*ort.Map)
	if !ok {
		return fmt.Errorf("score: output %q is a sequence, but not of maps", out.name)
	}
	keys, values, err := m.GetKeysAndValues()
	if err != nil {
		return err
	}
	ys, err := numbersOf(values)
	if err != nil {
		return fmt.Errorf("score: output %q: %w", out.name, err)
	}
	var classes []string
	switch k := keys.(type) {
	case *ort.StringTensor:
		if classes, err = k.GetContents(); err != nil {
			return err
		}
	case *ort.Tensor[int64]:
		for _, c := range k.GetData() {
			classes = append(classes, fmt.Sprint(c))
		}
	}
	i := slices.Index(classes, out.class)
	if i < 0 || i >= len(ys) {
		return fmt.Errorf("score: output %q has no class %q: set output_class to one of %s", out.name, out.class, strings.Join(classes, ", "))
	}
	y[0] = ys[i]
	return nil
}

func numbersOf(v ort.Value) ([]float64, error) {
	switch t := v.(type) {
	case *ort.Tensor[float32]:
		return widen(t.GetData()), nil
	case *ort.Tensor[float64]:
		return widen(t.GetData()), nil
	case *ort.Tensor[int64]:
		return widen(t.GetData()), nil
	case *ort.Tensor[int32]:
		return widen(t.GetData()), nil
	}
	return nil, fmt.Errorf("it is not a tensor of numbers: set output_tensor to one that is")
}

func widen[T element](xs []T) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = float64(x)
	}
	return out
}
