package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// hold stores an event in HELD for one Trigger. It retries until that succeeds, then
// calls done with the sequence number. It does not call done if the Broker stops
// before.
func (l *eventLog) hold(ctx context.Context, trigger string, record []byte, done func(seq uint64)) {
	go func() {
		for {
			seq, err := l.publish(ctx, inHeld, &nats.Msg{Subject: heldPrefix + trigger, Data: record}, 1)
			if err == nil {
				done(seq)
				return
			}
			l.warn("hold for "+trigger, err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

// heldSeqs returns the sequence numbers in HELD by Trigger, oldest first.
func (l *eventLog) heldSeqs(ctx context.Context) (map[string][]uint64, error) {
	out := map[string][]uint64{}
	for _, seq := range l.ledger.seqs(inHeld) {
		msg, err := l.get(ctx, inHeld, seq)
		if err != nil {
			return nil, fmt.Errorf("broker: log: %w", err)
		}
		trigger := msg.Subject[len(heldPrefix):]
		out[trigger] = append(out[trigger], seq)
	}
	return out, nil
}

// forget removes held events of a Trigger that no longer exists; no delivery would
// remove them.
func (l *eventLog) forget(ctx context.Context, held []uint64) error {
	for _, seq := range held {
		if err := l.remove(ctx, inHeld, seq); err != nil {
			return fmt.Errorf("broker: log: %w", err)
		}
	}
	return nil
}

func (l *eventLog) deleteHeld(seq uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.remove(ctx, inHeld, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		l.warn("delete", err) // the event is delivered again after a restart
	}
}

// store puts a message into HELD for this Trigger and calls stored when it is there.
// From then until HELD is empty, the Trigger is behind: it stores new events, too, so
// that memory stays bounded. The caller holds t.mu.
func (t *trigger) store(record []byte, stored func()) {
	t.behind = true
	t.storing++
	t.b.log.hold(t.ctx, t.name, record, func(seq uint64) {
		t.mu.Lock()
		t.storing--
		t.kept++
		at, _ := slices.BinarySearch(t.later, seq)
		t.later = slices.Insert(t.later, at, seq)
		t.mu.Unlock()
		stored()
		t.wake()
	})
}

// wait gives the delivery its own record in HELD before it waits for a retry.
func (d *delivery) wait() {
	d.t.mu.Lock()
	defer d.t.mu.Unlock()
	d.keep()
}

// keep gives a delivery its own record in HELD, so that the event it came from can
// leave the log before the delivery ends. The delivery's origin changes only once
// that record is stored, so one of the two is in the log at any time. The caller
// holds the Trigger's mu.
func (d *delivery) keep() {
	t := d.t
	if d.kept {
		return
	}
	d.kept = true
	t.storing++
	t.b.log.hold(t.ctx, t.name, d.m.appendRecord(nil), func(seq uint64) {
		t.mu.Lock()
		t.storing--
		old, over := d.origin, d.over
		if !over {
			t.kept++
			d.origin = newOrigin(seq, t)
		}
		t.mu.Unlock()
		if over {
			t.b.log.deleteHeld(seq)
			return
		}
		t.b.log.end(old)
	})
}

// unhold removes an event from HELD when its deliveries are done.
func (t *trigger) unhold(seq uint64) {
	t.b.log.deleteHeld(seq)
	t.mu.Lock()
	t.kept--
	t.mu.Unlock()
}

func (t *trigger) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// load reads the Trigger's held events back into memory, oldest first, while there
// is room. It runs until the Broker stops.
func (t *trigger) load() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.woken:
		}
		for seq := t.nextHeld(); seq != 0; seq = t.nextHeld() {
			if err := t.loadOne(seq); err != nil {
				t.b.cfg.Logger.Warn("broker: log: held event", zap.String("trigger", t.name), zap.Error(err))
				t.mu.Lock()
				t.later = slices.Insert(t.later, 0, seq)
				t.mu.Unlock()
				time.AfterFunc(time.Second, t.wake)
				break
			}
		}
	}
}

// nextHeld returns the oldest held event to load, or 0 if there is none or no room.
// A Trigger without held events is no longer behind.
func (t *trigger) nextHeld() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.later) == 0 {
		t.behind = t.behind && t.storing > 0
		return 0
	}
	if t.paused || t.count >= t.b.cfg.Pending/2 && t.count > 0 {
		return 0
	}
	seq := t.later[0]
	t.later = t.later[1:]
	return seq
}

func (t *trigger) loadOne(seq uint64) error {
	msg, err := t.b.log.get(t.ctx, inHeld, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		t.mu.Lock()
		t.kept--
		t.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	m, err := readRecord(msg.Data)
	if err != nil {
		t.b.cfg.Logger.Error("record dropped", zap.String("trigger", t.name), zap.Error(err))
		t.unhold(seq)
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.admit(&delivery{t: t, m: m, origin: newOrigin(seq, t), kept: true}) {
		t.b.dispatch(t)
	}
	return nil
}
