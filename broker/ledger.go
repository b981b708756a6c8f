package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ledger is a file beside the streams that says what must be in them: an entry
// for each message that was acknowledged, and one for each that may go. The
// streams' own files drop what is damaged, and all that stands behind it, without
// a word; the ledger, written apart, knows what is missing. It never holds data.
//
// Entries have one size, so that a damaged one hides no other: kind (1 byte),
// stream (1), events (2), sequence number (8), CRC-32C of the message's data (4),
// CRC-32C of the entry (4); little-endian.
type ledger struct {
	path string
	sync bool // fsync each entry

	mu      sync.Mutex
	file    *os.File
	size    int64
	behind  bool              // an entry could not be written: the file is to be written anew
	live    [streams]liveSeqs // what must be there
	high    [streams]uint64   // the highest sequence number ever acknowledged
	damaged int               // entries that could not be read at the start
}

// entryKind says what an entry of the ledger does.
type entryKind byte

const (
	entryAdd   entryKind = 1 + iota // a message is acknowledged
	entryGone                       // it may go
	entryUpTo                       // all up to it may go
	entryHigh                       // the highest number so far
	entrySize  = 20
	ledgerFull = 4 << 20 // bytes from which on the file is written anew
)

// known is what the ledger knows of a message.
type known struct {
	sum    uint32
	events uint16
}

type liveSeqs map[uint64]known

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

func openLedger(dir string, sync bool) (*ledger, error) {
	l := &ledger{path: filepath.Join(dir, "ledger"), sync: sync}
	for s := range l.live {
		l.live[s] = liveSeqs{}
	}
	text, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("broker: ledger: %w", err)
	}
	for ; len(text) >= entrySize; text = text[entrySize:] { // what is left at the end was not acknowledged
		l.replay(text[:entrySize])
	}
	return l, nil
}

func (l *ledger) replay(b []byte) {
	s := stream(b[1])
	if binary.LittleEndian.Uint32(b[16:]) != checksum(b[:16]) || s >= streams {
		l.damaged++
		return
	}
	l.apply(entryKind(b[0]), s, binary.LittleEndian.Uint64(b[4:]), known{binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint16(b[2:])})
}

func (l *ledger) apply(kind entryKind, s stream, seq uint64, k known) {
	switch kind {
	case entryAdd:
		l.live[s][seq] = k
		l.high[s] = max(l.high[s], seq)
	case entryGone:
		delete(l.live[s], seq)
	case entryUpTo:
		for n := range l.live[s] {
			if n <= seq {
				delete(l.live[s], n)
			}
		}
	case entryHigh:
		l.high[s] = max(l.high[s], seq)
	}
}

func appendEntry(dst []byte, kind entryKind, s stream, seq uint64, k known) []byte {
	at := len(dst)
	dst = append(dst, byte(kind), byte(s))
	dst = binary.LittleEndian.AppendUint16(dst, k.events)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = binary.LittleEndian.AppendUint32(dst, k.sum)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
}

// add notes an acknowledged message. With an error it is not noted, and must
// not be acknowledged.
func (l *ledger) add(s stream, seq uint64, k known) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(appendEntry(nil, entryAdd, s, seq, k)); err != nil {
		return err
	}
	l.apply(entryAdd, s, seq, k)
	return nil
}

// gone notes that a message, or all up to it, may go; it comes before the
// message goes, so that a kill between the two is no loss. What cannot be noted
// for want of room is noted later: what goes makes room.
func (l *ledger) gone(kind entryKind, s stream, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apply(kind, s, seq, known{})
	if l.write(appendEntry(nil, kind, s, seq, known{})) != nil {
		l.behind = true
	}
}

// write appends an entry; the caller holds mu.
func (l *ledger) write(entry []byte) error {
	if l.file == nil || l.behind || l.size > ledgerFull && l.size > 8*entrySize*int64(l.count()) {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	if _, err := l.file.WriteAt(entry, l.size); err != nil {
		_ = l.file.Truncate(l.size)
		return fmt.Errorf("broker: ledger: %w", err)
	}
	if l.sync {
		if err := l.file.Sync(); err != nil {
			return fmt.Errorf("broker: ledger: %w", err)
		}
	}
	l.size += int64(len(entry))
	return nil
}

func (l *ledger) count() (n int) {
	for _, live := range l.live {
		n += len(live)
	}
	return n
}

// rewrite writes the file anew with what is live; the caller holds mu.
func (l *ledger) rewrite() error {
	var text []byte
	for s := range streams {
		text = appendEntry(text, entryHigh, s, l.high[s], known{})
		for seq, k := range l.live[s] {
			text = appendEntry(text, entryAdd, s, seq, k)
		}
	}
	f, err := os.OpenFile(l.path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("broker: ledger: %w", err)
	}
	if _, err = f.Write(text); err == nil && l.sync {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(l.path+".new", l.path)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(l.path + ".new")
		return fmt.Errorf("broker: ledger: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.size, l.behind = f, int64(len(text)), false
	if !l.sync {
		return nil
	}
	if err := syncFolder(filepath.Dir(l.path)); err != nil { // a power cut could bring the file of before back
		l.behind = true
		return fmt.Errorf("broker: ledger: %w", err)
	}
	return nil
}

// syncFolder makes what was created or renamed in a folder survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// catchUp writes what could not be written before.
func (l *ledger) catchUp() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.behind {
		return nil
	}
	return l.rewrite()
}

// seqs are the messages that must be in a stream, in order.
func (l *ledger) seqs(s stream) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.live[s]))
}

func (l *ledger) of(s stream, seq uint64) (known, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.live[s][seq]
	return k, ok
}

func (l *ledger) len(s stream) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live[s])
}

func (l *ledger) highest(s stream) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.high[s]
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
}
