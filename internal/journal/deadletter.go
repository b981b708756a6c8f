package journal

import (
	"context"
	"net/url"
	"strconv"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// DeadLetter is an event that a subscriber or the Broker refused, or that could not be
// delivered after all retries.
type DeadLetter struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Trigger    string    `json:"trigger"`
	Subscriber string    `json:"subscriber"` // the address that did not accept it
	Code       int       `json:"code"`
	Reason     string    `json:"reason"`
	Attempts   int       `json:"attempts"`
	Event      ce.Event  `json:"event"`
}

// DeadLettersKey is the hash of the dead letters in the console, as JSON with the event.
const DeadLettersKey = "{console}:letters"

// deadLetterIDKey holds the number of the last dead letter.
const deadLetterIDKey = "{console}:letter"

// NewDeadLetter returns a dead letter. Its Trigger is the host of subscriber: on a cluster
// that is the Service.
func NewDeadLetter(e *ce.Event, subscriber string, code int, reason string, now time.Time) DeadLetter {
	d := DeadLetter{At: now, Subscriber: subscriber, Code: code, Reason: reason, Event: event.Shown(*e)}
	if u, err := url.Parse(subscriber); err == nil {
		d.Trigger = u.Hostname()
	}
	return d
}

// KeepDeadLetter stores d until a person replays or discards it. kept is false if the
// player was erased after the event: a replay would have no effect, and erased data must
// not come back.
//
// Invariant: no dead letter survives an erasure of its player. An erasure leaves its mark
// before it looks for dead letters, and KeepDeadLetter checks the mark after it has
// written d. So of a concurrent erasure and dead letter at least one sees the other. If
// this process dies in between, the dead letter is delivered again, and then all dead
// letters that the erasure should have found are removed.
func (j *Journal) KeepDeadLetter(ctx context.Context, d DeadLetter) (kept bool, err error) {
	if gone, err := j.Overtaken(ctx, &d.Event); err != nil || gone {
		return false, err
	}
	n, err := j.rdb.Incr(ctx, deadLetterIDKey).Result()
	if err != nil {
		return false, failed("dead letter", err)
	}
	d.ID = strconv.FormatInt(n, 10)
	body, err := json.Marshal(d)
	if err == nil {
		err = j.rdb.HSet(ctx, DeadLettersKey, d.ID, body).Err()
	}
	if err != nil {
		return false, failed("dead letter", err)
	}
	gone, err := j.Overtaken(ctx, &d.Event)
	return !gone, err
}

// Overtaken reports whether the event's player was erased after it, so that it has no
// effect any more. If so, it removes the player's other dead letters from before the
// erasure.
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

// DropDeadLetters removes an erased player's dead letters up to a time (zero: all), except
// those of types that outlive an erasure.
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
			return failed("dead letter", err)
		}
	}
	return failed("dead letters", letters.Err())
}
