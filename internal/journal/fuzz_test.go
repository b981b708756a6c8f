package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// A damaged length must not ask for the memory that it names.
func TestHugePartIsRefused(t *testing.T) {
	raw := []byte{entryLayout, 1, 2}
	raw = append(raw, make([]byte, kindSize+keyNameSize)...)
	raw = append(raw, 5, 0xff, 0xff, 0xff, 0xff, 0x0f, 0) // 4 GiB of open part, nothing sealed
	if _, err := parseEntry(0, raw, nil, nil); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "4294967295") {
		t.Errorf("got %v", err)
	}
}

// An entry that was damaged is refused or read, without harm; one that was not
// comes back as it was.
func FuzzEntry(f *testing.F) {
	key := bytes.Repeat([]byte{7}, 32)
	gcm, err := newGCM(key)
	if err != nil {
		f.Fatal(err)
	}
	keys := func(string) ([]byte, error) { return key, nil }
	for _, e := range []Entry{
		{Seq: 1, Time: time.UnixMilli(1).UTC(), Kind: KindSwitch, Open: []byte(`{"a":1}`)},
		{Seq: 1 << 40, Time: time.UnixMilli(1 << 40).UTC(), Kind: KindDecision, KeyName: "k", Open: []byte(`{}`), Personal: []byte(`{"player":"p"}`)},
	} {
		sealed := gcm
		if e.Personal == nil {
			sealed = nil
		}
		raw := e.bytes(sealed)
		got, err := parseEntry(3, raw, nil, keys)
		if err != nil || got.Seq != e.Seq || !got.Time.Equal(e.Time) || got.Kind != e.Kind || !bytes.Equal(got.Open, e.Open) || !bytes.Equal(got.Personal, e.Personal) {
			f.Fatalf("%+v became %+v (%v)", e, got, err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(0, b, nil, keys)
		if (e == nil) != (err != nil) {
			t.Errorf("%+v and %v", e, err)
		}
	})
}
