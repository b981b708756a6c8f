package search

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"

	"pitboss/internal/journal"
)

// An index file is
//
//	8 bytes  magic, in the byte order of the machine
//	8 bytes  xxhash of what follows
//	8 bytes  length of the header
//	header   JSON, padded with spaces to a multiple of 8
//	columns  of 8 bytes: at, id, place, ids of abouts; of 4: key, profile, where, byID;
//	         of 1: outcomes of abouts
//
// It is stored beside its segment and mapped into memory, so that only the pages that are
// read take memory. It can be rebuilt at any time.
const (
	magic = 0x31_58_44_49_54_49_50 // layout 1
	fixed = 24                     // bytes before the header
)

type header struct {
	Segment  int64             `json:"segment"` // bytes
	Rows     int               `json:"rows"`
	Abouts   int               `json:"abouts"`
	Profiles []profile         `json:"profiles"`
	Texts    map[string]string `json:"texts"`
}

// segment is a segment's index.
type segment struct {
	columns
	file   string
	abouts []about
	mapped []byte
}

func indexName(file string) string { return file + ".index" }

// Build builds the index of a segment and stores it beside the segment.
func Build(file string) error {
	raw, err := build(file)
	if err != nil {
		return err
	}
	return save(file, raw)
}

func save(file string, raw []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".index-*")
	if err != nil {
		return fmt.Errorf("search: index: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), indexName(file))
	}
	if err != nil {
		return fmt.Errorf("search: index: %w", err)
	}
	return nil
}

func build(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("search: segment: %w", err)
	}
	r := newReader()
	if err := journal.EachRow(file, func(row uint32, e *journal.Entry) error { r.take(e, row); return nil }); err != nil {
		return nil, err
	}
	var c columns
	c.push(r.rows)
	byID := make([]uint32, len(c.id))
	for i := range byID {
		byID[i] = uint32(i)
	}
	slices.SortFunc(byID, func(a, b uint32) int { return cmp.Compare(c.id[a], c.id[b]) })
	ids, outcomes := make([]uint64, len(r.abouts)), make([]uint8, len(r.abouts))
	for i, a := range r.abouts {
		ids[i], outcomes[i] = a.id, a.outcome
	}
	head, err := json.Marshal(header{st.Size(), len(c.at), len(r.abouts), r.profiles, r.texts}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("search: index: %w", err)
	}
	head = append(head, bytes.Repeat([]byte(" "), (8-len(head)%8)%8)...)
	out := binary.NativeEndian.AppendUint64(make([]byte, 16), uint64(len(head)))
	out = append(out, head...)
	for _, col := range [][]uint64{c.at, c.id, c.place, ids} {
		out = append(out, bytesOf(col)...)
	}
	for _, col := range [][]uint32{c.key, c.profile, c.where, byID} {
		out = append(out, bytesOf(col)...)
	}
	out = append(out, outcomes...)
	binary.NativeEndian.PutUint64(out, magic)
	binary.NativeEndian.PutUint64(out[8:], xxhash.Sum64(out[16:]))
	return out, nil
}

// bytesOf returns a column's bytes in memory, without copying them.
func bytesOf[T uint32 | uint64](col []T) []byte {
	if len(col) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&col[0])), len(col)*int(unsafe.Sizeof(col[0])))
}

// columnOf removes n values from the front of b, without copying them. b must be aligned to
// 8 bytes.
func columnOf[T uint32 | uint64](b *[]byte, n int) []T {
	var one T
	size := n * int(unsafe.Sizeof(one))
	col := (*b)[:size]
	*b = (*b)[size:]
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&col[0])), n)
}

var errStale = errors.New("search: the index is damaged, or of another segment")

// open maps the segment's index. If there is none that fits, it builds one. An index that
// can't be stored beside the segment is kept in memory.
func open(file string) (*segment, error) {
	if raw, err := mapFile(indexName(file)); err == nil {
		s, err := parse(file, raw)
		if err == nil {
			s.mapped = raw
			return s, nil
		}
		_ = syscall.Munmap(raw)
	}
	raw, err := build(file)
	if err != nil {
		return nil, err
	}
	if save(file, raw) == nil {
		if mapped, err := mapFile(indexName(file)); err == nil {
			s, err := parse(file, mapped)
			if s != nil {
				s.mapped = mapped
			}
			return s, err
		}
	}
	return parse(file, raw)
}

func mapFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < fixed {
		return nil, io.ErrUnexpectedEOF
	}
	return syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
}

func parse(file string, raw []byte) (*segment, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("search: segment: %w", err)
	}
	if len(raw) < fixed || binary.NativeEndian.Uint64(raw) != magic || binary.NativeEndian.Uint64(raw[8:]) != xxhash.Sum64(raw[16:]) {
		return nil, errStale
	}
	n := binary.NativeEndian.Uint64(raw[16:])
	var h header
	if err := json.Unmarshal(raw[fixed:fixed+n], &h); err != nil || h.Segment != st.Size() {
		return nil, errStale
	}
	b := raw[fixed+n:]
	s := &segment{file: file}
	s.profiles, s.texts, s.outcome = h.Profiles, h.Texts, make([]uint8, h.Rows)
	s.at, s.id, s.place = columnOf[uint64](&b, h.Rows), columnOf[uint64](&b, h.Rows), columnOf[uint64](&b, h.Rows)
	ids := columnOf[uint64](&b, h.Abouts)
	s.key, s.profile = columnOf[uint32](&b, h.Rows), columnOf[uint32](&b, h.Rows)
	s.where, s.byID = columnOf[uint32](&b, h.Rows), columnOf[uint32](&b, h.Rows)
	for i, id := range ids {
		s.abouts = append(s.abouts, about{id, b[i]})
	}
	return s, nil
}

func (s *segment) close() {
	if s.mapped != nil {
		_ = syscall.Munmap(s.mapped)
	}
}
