// Package dataset reads recorded play as Pitboss's events: two public files of real play, and
// files of CloudEvents, one JSON object a line. docs/features.md documents the mapping,
// column by column.
//
// A file is plain or gzip-compressed. Its first line determines its format. Only one row at a
// time is kept in memory.
package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	"pitboss/internal/event"
)

// Folder returns the data folder, in which files are looked for that are not found as named.
func Folder() string {
	if dir := os.Getenv("PITBOSS_DATA"); dir != "" {
		return dir
	}
	return filepath.Join("..", "shared", "data")
}

// Reader yields a file's events in the order of the file.
type Reader struct {
	// Name of the format: bustabit, csgo or events.
	Name string

	path string
	file *os.File
	gz   *gzip.Reader
	next func() (*event.Record, error)
	bare bool // the file has no accounts, so that [Setup] events should come first
}

// Open opens a file of recorded play.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Base(path) == path {
		if g, err2 := os.Open(filepath.Join(Folder(), path)); err2 == nil {
			f, err = g, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	r := &Reader{path: path, file: f}
	if err := r.begin(); err != nil {
		f.Close()
		return nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return r, nil
}

func (r *Reader) begin() error {
	buf := bufio.NewReaderSize(r.file, 1<<16)
	if magic, _ := buf.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		gz, err := gzip.NewReader(buf)
		if err != nil {
			return err
		}
		r.gz, buf = gz, bufio.NewReaderSize(gz, 1<<16)
	}
	head, err := buf.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, _, _ := strings.Cut(string(head), "\n")
	switch first = strings.TrimRight(first, "\r"); {
	case first == bustabitHeader:
		r.Name, r.next, r.bare = "bustabit", bustabit(buf), true
	case first == csgoHeader:
		r.Name, r.next, r.bare = "csgo", csgo(buf), true
	case strings.HasPrefix(strings.TrimSpace(first), "{"):
		r.Name, r.next = "events", lines(buf)
	default:
		return fmt.Errorf("the first line is neither the header of bustabit.csv (%s), nor that of csgo-openings-2023.csv (%s), nor a CloudEvent as JSON",
			bustabitHeader, csgoHeader)
	}
	return nil
}

// Next returns the next event, or io.EOF at the end of the file. The caller may keep the
// record.
func (r *Reader) Next() (*event.Record, error) {
	rec, err := r.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dataset: %s: %w", r.path, err)
	}
	return rec, err
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }
