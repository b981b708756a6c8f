package journal

import (
	"encoding/hex"
	"encoding/json"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// WriteTestSegment writes a segment of entries that Redis never had, each shard's
// in order, sealed with a key that nobody has. It is for measuring.
func WriteTestSegment(name string, number int, each func(write func(*Entry) error) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	gcm, err := newGCM(make([]byte, 32))
	if err != nil {
		return err
	}
	meta := segmentMeta{Number: number, Heads: map[int]Link{}}
	pw := parquet.NewGenericWriter[segmentRow](f, parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}))
	var hash Hash
	err = each(func(e *Entry) error {
		seal := gcm
		if e.Personal == nil {
			seal = nil
		}
		raw := e.bytes(seal)
		hash = link(hash, raw)
		meta.Heads[e.Shard] = Link{e.Seq, hex.EncodeToString(hash[:])}
		_, err := pw.Write([]segmentRow{{int32(e.Shard), int64(e.Seq), e.Time.UnixMilli(), e.Kind, e.KeyName, string(e.Open), raw, hash[:]}})
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	pw.SetKeyValueMetadata(metaKey, string(text))
	return pw.Close()
}
