package model

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// This file has the parts of a protobuf reader that ONNX files need.

// value is a field's content: num for numbers, bytes for length-delimited fields.
type value struct {
	typ   protowire.Type
	num   uint64
	bytes []byte
}

// fields calls fn for each field of a protobuf message.
func fields(b []byte, fn func(protowire.Number, value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.Number(b[0]>>3), protowire.Type(b[0]&7), 1
		if b[0] >= 0x80 || num == 0 { // most tags are one byte
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

// readNumbers reads a TensorProto of float32, float64 or uint8. For other types it
// returns nothing.
func readNumbers(b []byte) (out []float64, err error) {
	var elem int64
	var raw []byte
	var single []float32
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 2:
			elem = int64(v.num)
		case 4:
			single, err = appendFloats(single, v)
			return err
		case 9:
			raw = v.bytes
		case 10:
			out, err = appendDoubles(out, v)
			return err
		}
		return nil
	})
	for _, v := range single {
		out = append(out, float64(v))
	}
	switch elem {
	case elemFloat32:
		for ; len(raw) >= 4; raw = raw[4:] {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		}
	case elemUint8:
		for _, b := range raw {
			out = append(out, float64(b))
		}
	case elemFloat64:
		for ; len(raw) >= 8; raw = raw[8:] {
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
		}
	}
	return out, err
}

// appendNumbers reads a repeated number, packed or as one field per element.
func appendNumbers[T any](to []T, v value, consume func([]byte) (uint64, int), number func(uint64) T) ([]T, error) {
	if v.typ != protowire.BytesType {
		return append(to, number(v.num)), nil
	}
	for b := v.bytes; len(b) > 0; {
		x, n := consume(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, number(x)), b[n:]
	}
	return to, nil
}

func appendFloats(to []float32, v value) ([]float32, error) {
	consume := func(b []byte) (uint64, int) { x, n := protowire.ConsumeFixed32(b); return uint64(x), n }
	return appendNumbers(to, v, consume, func(x uint64) float32 { return math.Float32frombits(uint32(x)) })
}

func appendInts(to []int64, v value) ([]int64, error) {
	return appendNumbers(to, v, protowire.ConsumeVarint, func(x uint64) int64 { return int64(x) })
}

func appendDoubles(to []float64, v value) ([]float64, error) {
	return appendNumbers(to, v, protowire.ConsumeFixed64, math.Float64frombits)
}
