package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
)

// Hash links the journal's entries: it is the SHA-256 of the previous entry's hash and the
// entry's bytes.
type Hash [sha256.Size]byte

// Entry is one record of the journal. Its bytes are
//
//	1 byte   layout, 1
//	uvarint  sequence number in the shard, from 1
//	varint   time, ms since 1970
//	8 bytes  kind, padded with spaces
//	16 bytes name of the sealing key; zeroes if nothing is sealed
//	uvarint  n, then n bytes: the open part, S2-compressed
//	uvarint  n, then n bytes: the sealed part: 12 bytes nonce, then the personal
//	         part, S2-compressed, under AES-256-GCM
//
// The parts are JSON. The hash covers these bytes, not their plaintext, so that destroying
// a sealing key leaves the chain intact.
type Entry struct {
	Shard    int
	Seq      uint64
	Time     time.Time
	Kind     string // KindDecision, …
	KeyName  string // "": nothing sealed
	Open     []byte // JSON
	Personal []byte // JSON; nil if the sealing key is gone
	Hash     Hash
}

// The kinds of entries.
const (
	KindDecision = "decision"
	KindSwitch   = "switch"
	KindReview   = "review"
	KindOutcome  = "outcome"
	KindRevoke   = "revoke"
	KindLink     = "link"
	KindPropose  = "propose"
	KindSettle   = "settle"
	KindOpen     = "open"
	KindErase    = "erase"
	KindLearned  = "learned" // a learned policy was promoted or rolled back
	KindLabel    = "label"   // labels of decisions
)

// ErrFormat means that an entry can't be read.
var ErrFormat = errors.New("journal: entry is not readable")

const (
	entryLayout = 1
	kindSize    = 8
	keyNameSize = 16
)

// compressed is scratch memory for the compressed parts of an entry.
type compressed struct{ open, personal []byte }

var compressors = sync.Pool{New: func() any { return new(compressed) }}

// bytes returns the entry as it is stored. gcm is nil if nothing is sealed.
func (e *Entry) bytes(gcm cipher.AEAD) []byte {
	parts := compressors.Get().(*compressed)
	defer compressors.Put(parts)
	parts.open = openDict.Encode(parts.open, e.Open)
	size := 1 + 2*binary.MaxVarintLen64 + kindSize + keyNameSize + 2*binary.MaxVarintLen32 + len(parts.open)
	if gcm != nil {
		parts.personal = personalDict.Encode(parts.personal, e.Personal)
		size += gcm.NonceSize() + len(parts.personal) + gcm.Overhead()
	}
	dst := make([]byte, 0, size)
	dst = append(dst, entryLayout)
	dst = binary.AppendUvarint(dst, e.Seq)
	dst = binary.AppendVarint(dst, e.Time.UnixMilli())
	dst = append(dst, (e.Kind + "        ")[:kindSize]...)
	var name [keyNameSize]byte
	copy(name[:], e.KeyName)
	dst = append(dst, name[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(parts.open)))
	dst = append(dst, parts.open...)
	if gcm == nil {
		return binary.AppendUvarint(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(gcm.NonceSize()+len(parts.personal)+gcm.Overhead()))
	n := len(dst)
	dst = dst[:n+gcm.NonceSize()]
	_, _ = rand.Read(dst[n:]) // never fails (Go 1.24)
	return gcm.Seal(dst, dst[n:], parts.personal, name[:])
}

// parseEntry reads an entry's bytes and sets its hash, without checking it. If key is nil,
// the personal part stays sealed.
func parseEntry(shard int, b, hash []byte, key keyring) (*Entry, error) {
	e := &Entry{Shard: shard}
	copy(e.Hash[:], hash)
	var err error
	if e.Seq, e.Time, b, err = place(b); err != nil {
		return nil, err
	}
	if len(b) < kindSize+keyNameSize {
		return nil, ErrFormat
	}
	e.Kind = trim(b[:kindSize], ' ')
	name := b[kindSize : kindSize+keyNameSize]
	e.KeyName = trim(name, 0)
	open, b, ok := part(b[kindSize+keyNameSize:])
	sealed, rest, ok2 := part(b)
	if !ok || !ok2 || len(rest) != 0 {
		return nil, ErrFormat
	}
	if e.Open, err = openDict.Decode(nil, open); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(sealed) == 0 || key == nil {
		return e, nil
	}
	k, err := key(e.KeyName)
	if err != nil || k == nil {
		return e, err
	}
	gcm, err := newGCM(k)
	if err != nil || len(sealed) < gcm.NonceSize() {
		return nil, ErrFormat
	}
	plain, err := gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():], name)
	if err != nil {
		return nil, fmt.Errorf("%w: sealed part: %w", ErrFormat, err)
	}
	if e.Personal, err = personalDict.Decode(nil, plain); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return e, nil
}

// place reads the beginning of an entry: its sequence number and time. rest is what follows.
func place(b []byte) (seq uint64, at time.Time, rest []byte, err error) {
	if len(b) < 1 || b[0] != entryLayout {
		return 0, at, nil, fmt.Errorf("%w: layout", ErrFormat)
	}
	seq, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return 0, at, nil, ErrFormat
	}
	ms, m := binary.Varint(b[1+n:])
	if m <= 0 {
		return 0, at, nil, ErrFormat
	}
	return seq, time.UnixMilli(ms).UTC(), b[1+n+m:], nil
}

func part(b []byte) (p, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}

func trim(b []byte, pad byte) string {
	for len(b) > 0 && b[len(b)-1] == pad {
		b = b[:len(b)-1]
	}
	return string(b)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("journal: sealing key: %w", err)
	}
	return cipher.NewGCM(block)
}

// link returns the hash of an entry that follows prev.
func link(prev Hash, entry []byte) (h Hash) {
	d := sha256.New()
	d.Write(prev[:])
	d.Write(entry)
	d.Sum(h[:0])
	return h
}

// The dictionaries for compressing short JSON. They are part of layout 1: never change
// them.
var (
	openDict     = dictionary(openSample)
	personalDict = dictionary(personalSample)
)

// codec compresses against a dictionary.
type codec struct{ d *s2.Dict }

func dictionary(sample string) codec { return codec{s2.MakeDict([]byte(sample), nil)} }

func (c codec) Encode(dst, src []byte) []byte { return c.d.Encode(dst, src) }

// maxPart bounds the decompressed size that a part of an entry may claim: a damaged one
// could claim gigabytes.
const maxPart = 16 << 20

func (c codec) Decode(dst, src []byte) ([]byte, error) {
	// The length is encoded in the same place with and without a dictionary.
	if n, err := s2.DecodedLen(src); err != nil || n > maxPart {
		return nil, fmt.Errorf("%w: a part of %d bytes", ErrFormat, n)
	}
	return c.d.Decode(dst, src)
}
