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

// ledger is a file beside the streams that lists which messages must be in them: an
// entry for each acknowledged message, and another when the message may be removed.
// It exists because JetStream silently drops a damaged message and everything after
// it in the same file. The ledger is a separate file, so it shows what is missing.
// It holds no data.
//
// Invariant: an acknowledged message has an entry. The entry that it may be removed
// is written before the removal.
//
// All entries have the same size, so that one damaged entry does not hide the
// others: kind (1 byte), stream (1), events (2), sequence number (8), CRC-32C of the
// message's data (4), CRC-32C of the entry (4); little-endian.
type ledger struct {
	path string
	sync bool // fsync each entry

	mu      sync.Mutex
	file    *os.File
	size    int64
	behind  bool              // an entry is missing from the file, so that it must be rewritten
	live    [streams]liveSeqs // the messages that must be in each stream
	high    [streams]uint64   // the highest sequence number ever acknowledged
	damaged int               // entries that were unreadable when the file was opened
}

// entryKind is the kind of an entry of the ledger.
type entryKind byte

const (
	entryAdd   entryKind = 1 + iota // the message is acknowledged
	entryGone                       // the message may be removed
	entryUpTo                       // the message and all before it may be removed
	entryHigh                       // the highest sequence number so far
	entrySize  = 20
	ledgerFull = 4 << 20 // a larger file is rewritten if most of its entries are obsolete
)

// known describes a message: the CRC-32C of its data and its number of events.
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
	for ; len(text) >= entrySize; text = text[entrySize:] { // an incomplete entry at the end was never acknowledged
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

// add writes the entry of a message before it is acknowledged. After an error the
// message must not be acknowledged.
func (l *ledger) add(s stream, seq uint64, k known) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(appendEntry(nil, entryAdd, s, seq, k)); err != nil {
		return err
	}
	l.apply(entryAdd, s, seq, k)
	return nil
}

// gone writes that a message, or all up to it, may be removed. The caller removes the
// message afterwards: a kill between the two then does not look like a loss. If the
// disk is full, the entry is written later, because the removal makes room.
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

// rewrite replaces the file by one with the live entries only; the caller holds mu.
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
	if err := syncFolder(filepath.Dir(l.path)); err != nil { // after a power cut the old file could be back
		l.behind = true
		return fmt.Errorf("broker: ledger: %w", err)
	}
	return nil
}

// syncFolder makes files created or renamed in a folder survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// catchUp rewrites the file if an entry could not be written before.
func (l *ledger) catchUp() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.behind {
		return nil
	}
	return l.rewrite()
}

// seqs returns the sequence numbers of the messages that must be in a stream, in order.
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
