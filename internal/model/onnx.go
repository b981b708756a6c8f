package model

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// What Pitboss reads of an ONNX file itself: the shapes (to compare with the
// manifest, before ONNX Runtime would fail at the first call) and the trees
// (so that an explanation is computed from the very model that scored).
// Field numbers: onnx.proto3 of ONNX 1.23.

type graph struct {
	irVersion int64
	opsets    map[string]int64 // by domain; "" is ai.onnx
	inputs    []tensorInfo     // without initializers
	outputs   []tensorInfo
	nodes     []node
}

type tensorInfo struct {
	name string
	elem int64   // 1 = float32
	dims []int64 // -1 = symbolic or unknown
}

type node struct {
	op, domain string
	attrs      map[string]attribute
}

type attribute struct {
	i       int64
	f       float32
	s       string
	floats  []float32
	ints    []int64
	strings []string
}

// readGraph parses an ONNX model.
func readGraph(data []byte) (*graph, error) {
	g := &graph{opsets: map[string]int64{}}
	initializers := map[string]bool{}
	err := fields(data, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			g.irVersion = int64(v.num)
		case 7:
			return g.readBody(v.bytes, initializers)
		case 8:
			return g.readOpset(v.bytes)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a readable ONNX model: %w", err)
	case len(g.opsets) == 0 || len(g.outputs) == 0:
		return nil, fmt.Errorf("not a readable ONNX model: no operator set or no output")
	}
	inputs := g.inputs[:0]
	for _, in := range g.inputs {
		if !initializers[in.name] {
			inputs = append(inputs, in)
		}
	}
	g.inputs = inputs
	return g, nil
}

func (g *graph) readOpset(b []byte) error {
	var domain string
	var version int64
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			domain = string(v.bytes)
		case 2:
			version = int64(v.num)
		}
		return nil
	})
	g.opsets[domain] = version
	return err
}

func (g *graph) readBody(b []byte, initializers map[string]bool) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			n, err := readNode(v.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 5:
			return fields(v.bytes, func(num protowire.Number, v value) error {
				if num == 8 {
					initializers[string(v.bytes)] = true
				}
				return nil
			})
		case 11:
			t, err := readTensorInfo(v.bytes)
			g.inputs = append(g.inputs, t)
			return err
		case 12:
			t, err := readTensorInfo(v.bytes)
			g.outputs = append(g.outputs, t)
			return err
		}
		return nil
	})
}

// readTensorInfo reads a ValueInfoProto: name, then type.tensor_type.
func readTensorInfo(b []byte) (tensorInfo, error) {
	var t tensorInfo
	shape := func(num protowire.Number, v value) error {
		if num != 1 {
			return nil
		}
		dim := int64(-1)
		err := fields(v.bytes, func(num protowire.Number, v value) error {
			if num == 1 {
				dim = int64(v.num)
			}
			return nil
		})
		t.dims = append(t.dims, dim)
		return err
	}
	tensor := func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.elem = int64(v.num)
		case 2:
			return fields(v.bytes, shape)
		}
		return nil
	}
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.name = string(v.bytes)
		case 2:
			return fields(v.bytes, func(num protowire.Number, v value) error {
				if num == 1 {
					return fields(v.bytes, tensor)
				}
				return nil
			})
		}
		return nil
	})
	return t, err
}

func readNode(b []byte) (node, error) {
	n := node{attrs: map[string]attribute{}}
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 4:
			n.op = string(v.bytes)
		case 7:
			n.domain = string(v.bytes)
		case 5:
			name, a, err := readAttribute(v.bytes)
			n.attrs[name] = a
			return err
		}
		return nil
	})
	return n, err
}

func readAttribute(b []byte) (name string, a attribute, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			name = string(v.bytes)
		case 2:
			a.f = math.Float32frombits(uint32(v.num))
		case 3:
			a.i = int64(v.num)
		case 4:
			a.s = string(v.bytes)
		case 7:
			a.floats, err = appendFloats(a.floats, v)
			return err
		case 8:
			a.ints, err = appendInts(a.ints, v)
			return err
		case 9:
			a.strings = append(a.strings, word(v.bytes))
		}
		return nil
	})
	return name, a, err
}

// word is b as a string; the two that a tree ensemble has thousands of are not
// allocated anew.
func word(b []byte) string {
	switch string(b) {
	case "LEAF":
		return "LEAF"
	case "BRANCH_LEQ":
		return "BRANCH_LEQ"
	}
	return string(b)
}

// value is a field's content: num for numbers, bytes for anything with a length.
type value struct {
	typ   protowire.Type
	num   uint64
	bytes []byte
}

// fields calls fn for each field of a protobuf message.
func fields(b []byte, fn func(protowire.Number, value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.Number(b[0]>>3), protowire.Type(b[0]&7), 1
		if b[0] >= 0x80 || num == 0 { // tags are one byte but for rare fields
			if num, typ, n = protowire.ConsumeTag(b); n < 0 {
				return protowire.ParseError(n)
			}
		}
		b = b[n:]
		v := value{typ: typ}
		switch typ {
		case protowire.VarintType:
			if len(b) > 0 && b[0] < 0x80 {
				v.num, n = uint64(b[0]), 1
			} else {
				v.num, n = protowire.ConsumeVarint(b)
			}
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v.num = uint64(x)
		case protowire.Fixed64Type:
			v.num, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := fn(num, v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// appendFloats reads a repeated float, packed or one field per element: a tree
// ensemble has tens of thousands.
func appendFloats(to []float32, v value) ([]float32, error) {
	if v.typ == protowire.Fixed32Type {
		return append(to, math.Float32frombits(uint32(v.num))), nil
	}
	for b := v.bytes; len(b) > 0; {
		x, n := protowire.ConsumeFixed32(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, math.Float32frombits(x)), b[n:]
	}
	return to, nil
}

// appendInts reads a repeated integer, packed or one field per element.
func appendInts(to []int64, v value) ([]int64, error) {
	if v.typ == protowire.VarintType {
		return append(to, int64(v.num)), nil
	}
	for b := v.bytes; len(b) > 0; {
		x, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, int64(x)), b[n:]
	}
	return to, nil
}
