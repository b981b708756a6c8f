package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// event is one send, of a new event or of an earlier one again.
type event struct {
	id, player string
	kind       kind
	win        int       // of a round with a stake of 120
	at         time.Time // when it was meant to be sent
	again      bool
}

// kind says what happened. The other systems get rounds only.
type kind int

const (
	round kind = iota
	account
	consent
)

// source draws events. It is not safe for concurrent use.
type source func() (e event, ok bool)

func playerName(i int) string { return fmt.Sprintf("player-%d", i) }

// everyPlayer has one event of each kind for every player, then ends.
func everyPlayer(run string, players int, kinds []kind) source {
	i := 0
	return func() (event, bool) {
		n, k := i/len(kinds), i%len(kinds)
		i++
		return event{id: fmt.Sprintf("%s-%d", run, i), player: playerName(n), kind: kinds[k]}, n < players
	}
}

// How players are drawn.
const (
	uniform = "uniform"
	zipf    = "zipf(1.1)"
	hot     = "one hot player"
)

// play yields rounds without end, of players drawn in one way. The share again of them
// repeats one of the last 32 rounds.
func play(run, draw string, players int, again float64) source {
	rng := rand.New(rand.NewPCG(1, 0))
	z := rand.NewZipf(rng, 1.1, 1, uint64(players-1))
	pick := map[string]func() int{
		uniform: func() int { return rng.IntN(players) },
		zipf:    func() int { return int(z.Uint64()) },
		hot:     func() int { return 0 },
	}[draw]
	var late []event
	i := 0
	return func() (event, bool) {
		if len(late) > 0 && rng.Float64() < again {
			e := late[rng.IntN(len(late))]
			e.again = true
			return e, true
		}
		i++
		e := event{id: fmt.Sprintf("%s-%d", run, i), player: playerName(pick()), win: 100 * rng.IntN(3)}
		if late = append(late, e); len(late) > 32 {
			late = late[1:]
		}
		return e, true
	}
}
