package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/setup"
	"pitboss/internal/sink"
)

// load POSTs rounds of many players at a steady rate, and counts for each player how many
// were acknowledged.
type load struct {
	client  *sink.Client
	url     string
	run     string // part of every id, so that two runs share no event
	players int
	age     time.Duration // how long ago its events happened

	acknowledged []atomic.Int64 // by player
	failed       atomic.Int64   // POSTs that had to be repeated
	failedAt     []time.Time    // by player, if idle: when the game failed to load
}

func newLoad(url, run string, players int) *load {
	return &load{client: sink.New(url, 30*time.Second, 256), url: url, run: run, players: players, acknowledged: make([]atomic.Int64, players)}
}

func (l *load) player(n int) string { return fmt.Sprintf("drill-%s-%d", l.run, n) }

// event builds an event of a player, at now.
func (l *load) event(player int, id, typ string, data any) (*ce.Event, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	e := ce.New()
	e.SetID(id)
	e.SetSource("/drill")
	e.SetType(typ)
	e.SetSubject(l.player(player))
	e.SetTime(time.Now().Add(-l.age))
	e.SetExtension(event.ExtPartitionKey, l.player(player))
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return &e, nil
}

// register opens an account for every player.
func (l *load) register(ctx context.Context) error {
	return l.each(ctx, 32, func(n int) error {
		e, err := l.event(n, fmt.Sprintf("%s-account-%d", l.run, n), event.TypeAccountRegistered,
			map[string]any{"jurisdiction": []string{"GB", "SE", "NL"}[n%3], "birth_date": "1980-05-01", "brand": "drill", "currency": "GBP"})
		if err != nil {
			return err
		}
		return l.post(ctx, n, e)
	})
}

// each calls do for every player, workers at a time.
func (l *load) each(ctx context.Context, workers int, do func(n int) error) error {
	var next atomic.Int64
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for n := int(next.Add(1)) - 1; n < l.players; n = int(next.Add(1)) - 1 {
				if err := do(n); err != nil || ctx.Err() != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// post sends an event until it is acknowledged, as a platform does.
func (l *load) post(ctx context.Context, player int, e *ce.Event) error {
	if err := l.client.Post(ctx, e); err != nil {
		l.failed.Add(1)
		if err := l.client.PostRetry(ctx, e); err != nil {
			return err
		}
	}
	l.acknowledged[player].Add(1)
	return nil
}

// failedPayment asks for a decision (score_when in features.yaml, at most once a
// minute for a player).
var failedPayment = map[string]any{"operation": "deposit", "amount": 2000, "currency": "GBP", "error": "card declined"}

// play sends rounds at rate until ctx ends. Players lose and win alternately, and now and
// then a payment fails, which asks for a decision.
func (l *load) play(ctx context.Context, rate int) (sent int, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var wg sync.WaitGroup
	limit := make(chan struct{}, 512)
	failed := make(chan error, 1)
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return sent, nil
		case err := <-failed:
			return sent, err
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
			limit <- struct{}{}
			wg.Add(1)
			go func(n int) {
				defer func() { <-limit; wg.Done() }()
				if err := l.playOne(context.WithoutCancel(ctx), n); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}(sent)
		}
	}
}

func (l *load) playOne(ctx context.Context, n int) error {
	e, err := l.nth(n)
	if err != nil {
		return err
	}
	return l.post(ctx, n%l.players, e)
}

// nth returns the nth event that play sends.
func (l *load) nth(n int) (*ce.Event, error) {
	typ, data := event.TypeRoundSettled, map[string]any{
		"game": "roulette", "product": "casino", "stake": 100, "win": (n / l.players % 2) * 150, "currency": "GBP"}
	if n%7 == 0 {
		typ, data = event.TypePaymentFailed, failedPayment
	}
	return l.event(n%l.players, fmt.Sprintf("%s-%d", l.run, n), typ, data)
}

// differences compares what was acknowledged with what the players' states hold.
func (l *load) differences(ctx context.Context, models, redisURL string) (lost, double, late int64, err error) {
	set, err := feature.Load(filepath.Join(models, "features.yaml"))
	if err != nil {
		return 0, 0, 0, err
	}
	rdb, err := setup.Redis(ctx, redisURL)
	if err != nil {
		return 0, 0, 0, err
	}
	defer rdb.Close()
	store := player.NewStore(rdb, set, player.Config{})
	for n := range l.players {
		st, _, err := store.Read(ctx, l.player(n))
		if err != nil {
			return 0, 0, 0, err
		}
		applied, kept := st.Counts()
		late += int64(kept)
		switch d := int64(applied+kept) - l.acknowledged[n].Load(); {
		case d < 0:
			lost -= d
			tell(int(lost), "lost: %s: %d of %d applied", l.player(n), applied+kept, l.acknowledged[n].Load())
		case d > 0:
			double += d
		}
	}
	return lost, double, late, nil
}
