package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// event is one send: of an event of its own, or of an earlier one again.
type event struct {
	id, player string
	kind       kind
	win        int       // of a round, whose stake is 120
	at         time.Time // when it was meant to be sent
	again      bool
}

// kind says what happened; peers of Pitboss get rounds only.
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

// The ways in which players are drawn.
const (
	uniform = "uniform"
	zipf    = "zipf(1.1)"
	hot     = "one hot player"
)

// play is rounds without end, of players drawn in some way. A share of them,
// again, repeats one of the 32 before.
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
