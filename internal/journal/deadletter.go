package journal

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// DeadLetter is an event that a subscriber or the Broker refused, or that no
// retry could deliver.
type DeadLetter struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Trigger    string    `json:"trigger"`
	Subscriber string    `json:"subscriber"` // the address of who did not take it
	Code       int       `json:"code"`
	Reason     string    `json:"reason"`
	Attempts   int       `json:"attempts"`
	Event      ce.Event  `json:"event"`
}

// DeadLettersKey is the hash of the dead letters that wait for somebody in the
// console, as JSON with the event in it.
const DeadLettersKey = "{console}:letters"

// deadLetterIDKey is the number of the last one.
const deadLetterIDKey = "{console}:letter"

// NewDeadLetter returns a dead letter of now. It is named after the host of
// subscriber: on a cluster, the Service.
func NewDeadLetter(e *ce.Event, subscriber string, code int, reason string, now time.Time) DeadLetter {
	d := DeadLetter{At: now, Subscriber: subscriber, Code: code, Reason: reason, Event: event.Shown(*e)}
	if u, err := url.Parse(subscriber); err == nil {
		d.Trigger = u.Hostname()
	}
	return d
}

// KeepDeadLetter keeps d until somebody replays or discards it. kept is false for
// an event that an erasure of its player has overtaken: it would have no effect
// any more, and none of the player's data comes back.
//
// An erasure leaves its mark before it looks for dead letters, and here the mark is
// asked for after d was written. So of an erasure and a dead letter at the same time
// at least one sees the other. Where this process dies in between, the dead letter is
// delivered again, and all of the player's that the erasure should have found go then.
func (j *Journal) KeepDeadLetter(ctx context.Context, d DeadLetter) (kept bool, err error) {
	if gone, err := j.Overtaken(ctx, &d.Event); err != nil || gone {
		return false, err
	}
	n, err := j.rdb.Incr(ctx, deadLetterIDKey).Result()
	if err != nil {
		return false, fmt.Errorf("journal: dead letter: %w", err)
	}
	d.ID = strconv.FormatInt(n, 10)
	body, err := json.Marshal(d)
	if err == nil {
		err = j.rdb.HSet(ctx, DeadLettersKey, d.ID, body).Err()
	}
	if err != nil {
		return false, fmt.Errorf("journal: dead letter: %w", err)
	}
	gone, err := j.Overtaken(ctx, &d.Event)
	return !gone, err
}

// Overtaken reports whether an erasure has taken the effect from an event of
// before, and removes the player's other dead letters of that kind.
func (j *Journal) Overtaken(ctx context.Context, e *ce.Event) (bool, error) {
	if e.Subject() == "" || event.Outlives(e.Type()) {
		return false, nil
	}
	at, err := player.Erased(ctx, j.run, e.Subject())
	if err != nil || at.IsZero() || e.Time().UnixMilli() > at.UnixMilli() {
		return false, err
	}
	return true, j.DropDeadLetters(ctx, e.Subject(), at)
}

// DropDeadLetters removes an erased player's dead letters of up to a time (zero:
// of any), but for those that outlive the erasure.
func (j *Journal) DropDeadLetters(ctx context.Context, id string, upTo time.Time) error {
	letters := j.rdb.HScan(ctx, DeadLettersKey, 0, "", 500).Iterator()
	for letters.Next(ctx) {
		number := letters.Val()
		if !letters.Next(ctx) {
			break
		}
		var letter struct {
			Event struct {
				Subject string    `json:"subject"`
				Type    string    `json:"type"`
				Time    time.Time `json:"time"`
			} `json:"event"`
		}
		if json.Unmarshal([]byte(letters.Val()), &letter) != nil {
			continue
		}
		e := &letter.Event
		if e.Subject != id || event.Outlives(e.Type) || !upTo.IsZero() && e.Time.UnixMilli() > upTo.UnixMilli() {
			continue
		}
		if err := redisdb.Write(ctx, j.run, "hdel", DeadLettersKey, number); err != nil {
			return fmt.Errorf("journal: dead letter: %w", err)
		}
	}
	if err := letters.Err(); err != nil {
		return fmt.Errorf("journal: dead letters: %w", err)
	}
	return nil
}
