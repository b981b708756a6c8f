package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// Lost is a range of acknowledged messages that the log lost because its files were
// damaged. [Open] finds and logs it, and Stats reports it until somebody removes the
// file "lost" in the data folder.
type Lost struct {
	Found  time.Time `json:"found"`
	Stream string    `json:"stream"` // LOG: accepted events; HELD: events that waited for one Trigger; DEAD: dead letters
	From   uint64    `json:"from"`   // sequence numbers, both included
	To     uint64    `json:"to"`
	Events int       `json:"events"` // the number of events in these messages
	Note   string    `json:"note,omitempty"`
}

const lostFile = "lost"

// check compares the streams with the ledger. A message in the ledger that is
// missing or damaged in its stream is lost: check records and logs it. A message that
// the ledger does not have is kept: it was never acknowledged, or the ledger is new.
func (l *eventLog) check(dir string) error {
	ctx := context.Background()
	if err := l.readLost(filepath.Join(dir, lostFile)); err != nil {
		return err
	}
	var found []Lost
	for s := range streams {
		if err := l.adopt(ctx, s); err != nil {
			return err
		}
		for _, seq := range l.ledger.seqs(s) {
			k, _ := l.ledger.of(s, seq)
			ok, err := l.intact(ctx, s, seq, k)
			if err != nil {
				return err
			}
			if !ok {
				found = addLost(found, s, seq, int(k.events))
				_ = l.remove(ctx, s, seq)
			}
		}
	}
	if n := l.ledger.damaged; n > 0 && len(found) > 0 {
		for i := range found {
			found[i].Note = fmt.Sprintf("fewer events may be lost: %d entries of the ledger are damaged too", n)
		}
	} else if n > 0 {
		l.zap.Error("the log's ledger is damaged; no event is missing", zap.Int("entries", n))
	}
	if err := l.recordLost(filepath.Join(dir, lostFile), found); err != nil {
		return err
	}
	return l.raise(ctx)
}

// addLost adds a message to the ranges.
func addLost(found []Lost, s stream, seq uint64, events int) []Lost {
	if n := len(found); n > 0 && found[n-1].Stream == s.String() && found[n-1].To+1 == seq {
		found[n-1].To, found[n-1].Events = seq, found[n-1].Events+events
		return found
	}
	return append(found, Lost{Found: time.Now().UTC(), Stream: s.String(), From: seq, To: seq, Events: events})
}

// adopt adds the messages of a stream that the ledger does not have.
func (l *eventLog) adopt(ctx context.Context, s stream) error {
	info, err := l.store.Load().streams[s].Info(ctx)
	if err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	if info.State.Msgs == 0 {
		return nil
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		if _, ok := l.ledger.of(s, seq); ok {
			continue
		}
		msg, err := l.get(ctx, s, seq)
		if err != nil {
			if answered(err) {
				continue // missing or damaged, but never acknowledged: the ledger would have it
			}
			return fmt.Errorf("broker: log: %w", err)
		}
		events := 1
		if s == inLog {
			records, _ := split(msg.Data)
			events = len(records)
		}
		if err := l.ledger.add(s, seq, known{checksum(msg.Data), uint16(events)}); err != nil {
			return err
		}
	}
	return nil
}

// intact reports whether a message is in the stream with the acknowledged data.
func (l *eventLog) intact(ctx context.Context, s stream, seq uint64, k known) (bool, error) {
	msg, err := l.get(ctx, s, seq)
	switch {
	case err == nil:
		return checksum(msg.Data) == k.sum, nil
	case answered(err):
		return false, nil
	}
	return false, fmt.Errorf("broker: log: %w", err)
}

// readLost reads the losses recorded by earlier processes.
func (l *eventLog) readLost(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	for line := range bytes.Lines(text) {
		var lost Lost
		if err := json.Unmarshal(line, &lost); err != nil {
			lost = Lost{Note: fmt.Sprintf("a line of %s is unreadable: %v", path, err)}
		}
		l.lost = append(l.lost, lost)
	}
	return nil
}

// recordLost logs the losses and appends them to the file.
func (l *eventLog) recordLost(path string, found []Lost) error {
	if len(found) == 0 {
		return nil
	}
	l.lost = append(l.lost, found...)
	var text []byte
	for _, lost := range found {
		l.zap.Error("the log is damaged: acknowledged events are lost", zap.String("stream", lost.Stream),
			zap.Uint64("from", lost.From), zap.Uint64("to", lost.To), zap.Int("events", lost.Events), zap.String("note", lost.Note))
		line, err := json.Marshal(lost)
		if err != nil {
			return fmt.Errorf("broker: log: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("broker: log: %w", err)
	}
	return nil
}
