package model

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Pitboss reads the parts of an ONNX file that it needs itself: the inputs and outputs, to
// compare them with the manifest before ONNX Runtime would fail at the first call, and
// the trees, so that explanations are computed from the very model that scores. The field
// numbers are those of onnx.proto3 of ONNX 1.23.

type graph struct {
	irVersion    int64
	producer     string
	opsets       map[string]int64 // by domain; "" is ai.onnx
	inputs       []valueInfo      // without initializers
	outputs      []valueInfo
	nodes        []node
	initializers map[string]bool
	external     []string // names of the files that hold weights
}

// valueInfo is an input or output: a tensor, or a sequence of maps (ZipMap).
type valueInfo struct {
	name   string
	elem   int64   // 1 = float32; of the map's keys, for a sequence
	dims   []int64 // -1 = symbolic or unknown
	shaped bool    // dims are known
	maps   bool    // a sequence of maps from class to number
}

type node struct {
	op, domain      string
	inputs, outputs []string
	attrs           map[string]attribute
}

type attribute struct {
	i       int64
	f       float32
	s       string
	floats  []float32
	ints    []int64
	strings []string
	tensor  []float64 // of a float32 or float64 tensor
}

// readGraph parses an ONNX model.
func readGraph(data []byte) (*graph, error) {
	g := &graph{opsets: map[string]int64{}, initializers: map[string]bool{}}
	err := fields(data, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			g.irVersion = int64(v.num)
		case 2, 3: // name, version
			g.producer = strings.TrimSpace(g.producer + " " + string(v.bytes))
		case 7:
			return g.readBody(v.bytes)
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
		if !g.initializers[in.name] {
			inputs = append(inputs, in)
		}
	}
	g.inputs = inputs
	return g, nil
}

func (g *graph) readOpset(b []byte) error {
	domain, version, err := pair(b)
	if domain == "ai.onnx" {
		domain = ""
	}
	g.opsets[domain] = int64(version.num)
	return err
}

// pair reads a message of a name and a value.
func pair(b []byte) (name string, val value, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			name = string(v.bytes)
		case 2:
			val = v
		}
		return nil
	})
	return name, val, err
}

func (g *graph) readBody(b []byte) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			n, err := readNode(v.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 5:
			return g.readInitializer(v.bytes)
		case 11:
			t, err := readValueInfo(v.bytes)
			g.inputs = append(g.inputs, t)
			return err
		case 12:
			t, err := readValueInfo(v.bytes)
			g.outputs = append(g.outputs, t)
			return err
		}
		return nil
	})
}

// readInitializer records a TensorProto's name and, if its data is in another file, the
// name of that file.
func (g *graph) readInitializer(b []byte) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 8:
			g.initializers[string(v.bytes)] = true
		case 13: // external_data: a StringStringEntryProto
			key, val, err := pair(v.bytes)
			if key == "location" {
				g.external = append(g.external, string(val.bytes))
			}
			return err
		}
		return nil
	})
}

// readValueInfo reads a ValueInfoProto: name, then type.
func readValueInfo(b []byte) (valueInfo, error) {
	var t valueInfo
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.name = string(v.bytes)
		case 2:
			return t.readType(v.bytes)
		}
		return nil
	})
	return t, err
}

// readType reads a TypeProto: tensor_type, or sequence_type of map_type.
func (t *valueInfo) readType(b []byte) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return t.readTensorType(v.bytes)
		case 4, 5: // sequence: elem_type; map: key_type and value_type
			sequence := num == 4
			t.maps = t.maps || !sequence
			return fields(v.bytes, func(num protowire.Number, v value) error {
				if sequence && num == 1 {
					return t.readType(v.bytes)
				}
				if !sequence && num == 1 {
					t.elem = int64(v.num)
				}
				return nil
			})
		}
		return nil
	})
}

func (t *valueInfo) readTensorType(b []byte) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.elem = int64(v.num)
		case 2:
			t.shaped = true
			return fields(v.bytes, t.readDim)
		}
		return nil
	})
}

func (t *valueInfo) readDim(num protowire.Number, v value) error {
	if num != 1 {
		return nil
	}
	dim := int64(-1)
	err := fields(v.bytes, func(num protowire.Number, v value) error {
		if num == 1 && int64(v.num) > 0 { // some exporters write 0 for unknown
			dim = int64(v.num)
		}
		return nil
	})
	t.dims = append(t.dims, dim)
	return err
}

func readNode(b []byte) (node, error) {
	n := node{attrs: map[string]attribute{}}
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			n.inputs = append(n.inputs, string(v.bytes))
		case 2:
			n.outputs = append(n.outputs, string(v.bytes))
		case 4:
			n.op = string(v.bytes)
		case 7:
			if n.domain = string(v.bytes); n.domain == "ai.onnx" {
				n.domain = ""
			}
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
		case 5:
			a.tensor, err = readNumbers(v.bytes)
			return err
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

// word returns b as a string. It does not allocate for the two words that occur
// thousands of times in a tree ensemble.
func word(b []byte) string {
	switch string(b) {
	case "LEAF":
		return "LEAF"
	case "BRANCH_LEQ":
		return "BRANCH_LEQ"
	}
	return string(b)
}

// numbers returns the values of a tensor attribute or a list attribute.
func (a attribute) numbers() []float64 {
	if len(a.tensor) > 0 {
		return a.tensor
	}
	out := make([]float64, len(a.floats))
	for i, v := range a.floats {
		out[i] = float64(v)
	}
	return out
}
