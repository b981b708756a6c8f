// Command restateapp is Pitboss's path on Restate: profile is a Virtual Object for each
// player with 1 KB of state, score is a service, and decide is a Virtual Object with a
// player's last decisions. Restate makes it exactly-once: its ingress recognises an event
// by its idempotency key, and its journal does the rest.
//
//	restateapp ADDRESS
package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
)

// Event is what a platform sends.
type Event struct {
	ID     string `json:"id"`
	Player string `json:"player"`
	TS     int64  `json:"ts"`
	Game   string `json:"game"`
	Stake  int64  `json:"stake"`
	Win    int64  `json:"win"`
}

// State is a player's state.
type State struct {
	N      int64            `json:"n"`
	Stake  int64            `json:"stake"`
	Win    int64            `json:"win"`
	Games  map[string]int64 `json:"games"`
	Losing int64            `json:"losing"` // rounds in a row
	Last   int64            `json:"last"`
	Rest   string           `json:"rest"` // stands in for the rest of Pitboss's state
}

var rest = strings.Repeat("x", 800)

// Outcome is the consumer's input, and the answer of Fold.
type Outcome struct {
	ID     string `json:"id"`
	Player string `json:"player"`
	N      int64  `json:"n"`
	Action string `json:"action,omitempty"`
}

// Scored is the input of Decide.
type Scored struct {
	Outcome Outcome `json:"outcome"`
	State   *State  `json:"state"`
	Score   float64 `json:"score"`
}

// Player stands in for profile.
type Player struct{}

func fold(ctx restate.ObjectContext, e Event) (*State, error) {
	s, err := restate.Get[*State](ctx, "state")
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = &State{Games: map[string]int64{}, Rest: rest}
	}
	s.N++
	s.Stake += e.Stake
	s.Win += e.Win
	s.Games[e.Game]++
	s.Losing++
	if e.Win > e.Stake {
		s.Losing = 0
	}
	s.Last = max(s.Last, e.TS)
	restate.Set(ctx, "state", s)
	return s, nil
}

// Fold only changes the state.
func (Player) Fold(ctx restate.ObjectContext, e Event) (Outcome, error) {
	s, err := fold(ctx, e)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{ID: e.ID, Player: e.Player, N: s.N}, nil
}

// Apply changes the state and sends it on.
func (Player) Apply(ctx restate.ObjectContext, e Event) error {
	s, err := fold(ctx, e)
	if err != nil {
		return err
	}
	restate.ServiceSend(ctx, "Score", "Score").Send(Scored{Outcome: Outcome{ID: e.ID, Player: e.Player, N: s.N}, State: s})
	return nil
}

// Score stands in for score.
type Score struct{}

// Score computes a logistic regression, the smallest possible model.
func (Score) Score(ctx restate.Context, m Scored) error {
	m.Score = 1 / (1 + math.Exp(2-0.1*float64(m.State.Losing)-1e-4*float64(m.State.Stake-m.State.Win)))
	restate.ObjectSend(ctx, "Decide", m.Outcome.Player, "Decide").Send(m)
	return nil
}

// Decide stands in for decide.
type Decide struct{}

// keep bounds the decisions that are kept of a player.
const keep = 16

// Decide chooses an action and stores it.
func (Decide) Decide(ctx restate.ObjectContext, m Scored) error {
	last, err := restate.Get[[]string](ctx, "last")
	if err != nil {
		return err
	}
	m.Outcome.Action = "none"
	if m.Score > 0.5 {
		m.Outcome.Action = "break"
	}
	last = append(last, m.Outcome.ID+":"+m.Outcome.Action)
	restate.Set(ctx, "last", last[max(0, len(last)-keep):])
	restate.ServiceSend(ctx, "Consumer", "Take").Send(m.Outcome)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := server.NewRestate().WithLogger(slog.DiscardHandler, true).
		Bind(restate.Reflect(Player{})).Bind(restate.Reflect(Score{})).Bind(restate.Reflect(Decide{})).
		Start(ctx, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "restateapp:", err)
		os.Exit(1)
	}
}
