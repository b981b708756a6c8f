package player

import (
	"bytes"
	"testing"
)

// What is read of a value, written again, is the value.
func FuzzValue(f *testing.F) {
	ids := appendID(nil, 7, 1, 1)
	f.Add(append(appendHead(nil, Version{0, 0, 0, 1}, mark{}, ids), "state"...))
	f.Add(appendHead(nil, Version{}, mark{at: 1, until: 2}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseValue(b)
		if err != nil || len(b) == 0 || b[8] == layoutErased && v.erased == (mark{}) {
			return
		}
		if again := append(appendHead(nil, v.version, v.erased, v.ids), v.state...); !bytes.Equal(again, b) {
			t.Errorf("read %x, written %x", b, again)
		}
	})
}
