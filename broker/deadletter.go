package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"knative.dev/eventing/pkg/kncloudevents/attributes"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// ErrNoDeadLetter is returned for an id that does not exist, or does not exist any more.
var ErrNoDeadLetter = errors.New("broker: no such dead letter")

// DeadLetter is an event that a subscriber refused for good, or whose retries all
// failed.
type DeadLetter struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`         // when it became a dead letter
	Trigger    string    `json:"trigger"`    // name of the Trigger
	Subscriber string    `json:"subscriber"` // address of the subscriber: knativeerrordest
	Code       int       `json:"code"`       // HTTP status of the last attempt: knativeerrorcode
	Reason     string    `json:"reason"`     // body of the last answer: knativeerrordata, decoded
	Attempts   int       `json:"attempts"`
	Event      ce.Event  `json:"event"` // with the three knativeerror… attributes, in the form of event.Shown
}

// DeadLetters is the Broker's store of dead letters.
type DeadLetters struct{ b *Broker }

const attemptsHeader = "Pitboss-Attempts"

// sinkSends limits how many of a Trigger's dead letters are sent to its sink at
// once. Further ones stay only in the Broker's store, with a log message.
const sinkSends = 256

// deadLetter stores the event with the reason, then sends it to the dead-letter sink
// if the sink was resolved. It returns an error if the event could not be stored. It
// does not wait for the sink: the event is stored either way, and a sink that does
// not answer must block neither the Trigger nor the removal of the event from the log.
func (t *trigger) deadLetter(ctx context.Context, m *message, f failure, attempts int) error {
	dest, err := url.Parse(f.dest)
	if err != nil {
		return fmt.Errorf("broker: dead letter: %w", err)
	}
	e := m.withTTL()
	data := base64.StdEncoding.EncodeToString(f.body)
	if _, err := binding.ToEvent(ctx, (*binding.EventMessage)(&e), attributes.KnativeErrorTransformers(*dest, f.code, data)); err != nil {
		return fmt.Errorf("broker: dead letter: %w", err)
	}
	letter, err := messageOf(&e, m.headers)
	if err != nil {
		return fmt.Errorf("broker: dead letter: %w", err)
	}
	if len(f.body) == 0 {
		letter.set(attributes.KnativeErrorDataExtensionKey, "") // Knative sets it even for an empty answer
	}
	msg := &nats.Msg{Subject: deadPrefix + t.name, Data: letter.appendRecord(nil), Header: nats.Header{attemptsHeader: {strconv.Itoa(attempts)}}}
	if _, err := t.b.log.publish(ctx, inDead, msg, 1); err != nil {
		return fmt.Errorf("broker: dead letter: %w", err)
	}
	t.deadLettered.Add(1)
	t.b.cfg.Logger.Warn("dead letter", append(telemetry.Fields(&e), zap.String("trigger", t.name), zap.Int("code", f.code),
		zap.ByteString("reason", f.body[:min(len(f.body), 256)]))...)
	if t.sink != nil {
		t.sinking.Add(1)
		go t.toSink(ctx, letter)
	}
	return nil
}

func (t *trigger) toSink(ctx context.Context, letter *message) {
	err := errSinkBusy
	if t.sinking.Load() <= sinkSends {
		err = send(ctx, t.sink, &t.retries, letter)
	}
	t.sinking.Add(-1)
	if err != nil {
		e := letter.event()
		t.b.cfg.Logger.Warn("dead-letter sink", append(telemetry.Fields(&e), zap.String("trigger", t.name),
			zap.String("sink", t.sink.address()), zap.Error(err))...)
	}
}

var errSinkBusy = fmt.Errorf("%d dead letters are being sent to it already: this one stays in the Broker only", sinkSends)

// pageBytes limits the data of the dead letters in one page, because large events
// would make a page too big for memory and for its reader.
const pageBytes = 8 << 20

// List returns up to max dead letters after the given id ("" = from the oldest),
// oldest first. A page can be shorter because of its size in bytes, so only an empty
// page is the end.
func (d *DeadLetters) List(ctx context.Context, after string, max int) ([]DeadLetter, error) {
	return d.page(ctx, after, max, false)
}

// Newest returns up to max dead letters before the given id ("" = from the newest),
// newest first, in pages like [DeadLetters.List].
func (d *DeadLetters) Newest(ctx context.Context, before string, max int) ([]DeadLetter, error) {
	return d.page(ctx, before, max, true)
}

func (d *DeadLetters) page(ctx context.Context, from string, limit int, back bool) (out []DeadLetter, err error) {
	seqs := d.b.log.ledger.seqs(inDead)
	if from != "" {
		seq, err := sequence(from)
		if err != nil {
			return nil, err
		}
		at, found := slices.BinarySearch(seqs, seq)
		switch {
		case back:
			seqs = seqs[:at]
		case found:
			seqs = seqs[at+1:]
		default:
			seqs = seqs[at:]
		}
	}
	if back {
		slices.Reverse(seqs)
	}
	for size := 0; len(seqs) > 0 && len(out) < limit && size < pageBytes; seqs = seqs[1:] {
		letter, err := d.get(ctx, seqs[0])
		if errors.Is(err, ErrNoDeadLetter) {
			continue // it has been replayed since
		}
		if err != nil {
			return nil, err
		}
		size += len(letter.Event.Data())
		out = append(out, letter)
	}
	return out, nil
}

// Count returns the number of dead letters.
func (d *DeadLetters) Count() uint64 { return uint64(d.b.log.ledger.len(inDead)) }

// Get returns one dead letter, or [ErrNoDeadLetter].
func (d *DeadLetters) Get(ctx context.Context, id string) (DeadLetter, error) {
	seq, err := sequence(id)
	if err != nil {
		return DeadLetter{}, err
	}
	return d.get(ctx, seq)
}

func (d *DeadLetters) get(ctx context.Context, seq uint64) (DeadLetter, error) {
	letter, _, err := d.read(ctx, seq)
	return letter, err
}

func (d *DeadLetters) read(ctx context.Context, seq uint64) (DeadLetter, *message, error) {
	msg, err := d.b.log.get(ctx, inDead, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, nil, fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return DeadLetter{}, nil, fmt.Errorf("broker: dead letter: %w", err)
	}
	m, err := readRecord(msg.Data)
	if err != nil {
		return unreadableLetter(seq, msg, err), nil, nil
	}
	e := event.Shown(m.event())
	letter := DeadLetter{ID: strconv.FormatUint(seq, 10), At: msg.Time, Trigger: msg.Subject[len(deadPrefix):], Event: e}
	letter.Subscriber, _ = e.Extensions()[attributes.KnativeErrorDestExtensionKey].(string)
	if code, ok := e.Extensions()[attributes.KnativeErrorCodeExtensionKey].(string); ok {
		letter.Code, _ = strconv.Atoi(code)
	}
	if data, ok := e.Extensions()[attributes.KnativeErrorDataExtensionKey].(string); ok {
		reason, _ := base64.StdEncoding.DecodeString(data[:len(data)/4*4])
		letter.Reason = string(reason)
	}
	letter.Attempts, _ = strconv.Atoi(msg.Header.Get(attemptsHeader))
	return letter, m, nil
}

// unreadableLetter stands for a record that is damaged or of another version, so
// that listing does not fail on it. It can only be removed.
func unreadableLetter(seq uint64, msg *jetstream.RawStreamMsg, err error) DeadLetter {
	id := strconv.FormatUint(seq, 10)
	e := ce.New()
	e.SetID("unreadable-" + id)
	e.SetType("unreadable")
	e.SetSource("/broker/deadletters/" + id)
	e.DataEncoded, e.DataBase64 = msg.Data, true
	return DeadLetter{ID: id, At: msg.Time, Trigger: msg.Subject[len(deadPrefix):], Reason: err.Error(), Event: e}
}

// ErrUnreadable is returned for the replay of an unreadable dead letter.
var ErrUnreadable = errors.New("broker: the dead letter is unreadable and can only be removed")

// Replay delivers a dead letter again to its Trigger, or to every Trigger if its own
// no longer exists, and removes it from the store. If the delivery fails again, the
// event becomes a dead letter with a new id.
func (d *DeadLetters) Replay(ctx context.Context, id string) error {
	seq, err := sequence(id)
	if err != nil {
		return err
	}
	letter, m, err := d.read(ctx, seq)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("%w: %s", ErrUnreadable, id)
	}
	for _, name := range []string{attributes.KnativeErrorDestExtensionKey, attributes.KnativeErrorCodeExtensionKey,
		attributes.KnativeErrorDataExtensionKey, ttlAttribute} {
		m.drop(name)
	}
	m.ttl = defaultTTL
	if t := d.b.trigger(letter.Trigger); t != nil {
		err = t.replay(ctx, m)
	} else {
		err = d.b.append(m)
	}
	if err != nil {
		return err
	}
	return d.Remove(ctx, id)
}

// replay puts a message into HELD for this Trigger, which then delivers it.
func (t *trigger) replay(ctx context.Context, m *message) error {
	stored := make(chan struct{})
	t.mu.Lock()
	t.store(m.appendRecord(nil), func() { close(stored) })
	t.mu.Unlock()
	select {
	case <-stored:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("broker: replay: %w", ctx.Err())
	}
}

// ReplayAll replays every readable dead letter that exists at the time of the call,
// and returns how many it replayed.
func (d *DeadLetters) ReplayAll(ctx context.Context) (int, error) {
	n := 0
	for _, seq := range d.b.log.ledger.seqs(inDead) {
		err := d.Replay(ctx, strconv.FormatUint(seq, 10))
		switch {
		case err == nil:
			n++
		case !errors.Is(err, ErrNoDeadLetter) && !errors.Is(err, ErrUnreadable):
			return n, err
		}
	}
	return n, nil
}

// Remove deletes a dead letter. It fails while the log cannot be written.
func (d *DeadLetters) Remove(ctx context.Context, id string) error {
	seq, err := sequence(id)
	if err != nil {
		return err
	}
	if err := d.b.Trouble(); err != nil {
		return err
	}
	err = d.b.log.remove(ctx, inDead, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("%w: %s", ErrNoDeadLetter, id)
	}
	if err != nil {
		return fmt.Errorf("broker: dead letter: %w", err)
	}
	return nil
}

func sequence(id string) (uint64, error) {
	seq, err := strconv.ParseUint(id, 10, 64)
	if err != nil || seq == 0 {
		return 0, fmt.Errorf("%w: %q", ErrNoDeadLetter, id)
	}
	return seq, nil
}
