package feature

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/test/anyvalue"
)

// A fact that nobody has thought about may not be decided by a hash.
func TestEveryFactSaysWhichValueIsSafer(t *testing.T) {
	t.Parallel()
	set, err := Parse("test.yaml", []byte("version: 1\nfeatures: [{name: n, on: [round.settled], agg: count}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	st := set.newState()
	data := map[string]any{
		event.TypeAccountRegistered: new(event.AccountRegistered), event.TypeAccountUpdated: new(event.Account),
		event.TypeConsentChanged: new(event.ConsentChanged), event.TypeExcluded: new(event.Excluded), event.TypeReinstated: new(event.Reinstated),
		event.TypeLimitSet: new(event.LimitSet), event.TypeLimitReached: new(event.LimitReached), event.TypeIndicatorRaised: new(event.IndicatorRaised),
		event.TypeBonusGranted: new(event.BonusGranted), event.TypeGameLaunched: new(event.GameLaunched), event.TypeGameFailed: new(event.GameFailed),
		event.TypeRoundSettled: new(event.RoundSettled),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for typ, write := range factWriters {
		if data[typ] == nil {
			t.Fatalf("this test has no data for %s, which changes facts", typ)
		}
		for range 50 { // until each field was there
			anyvalue.Fill(rng, reflect.ValueOf(data[typ]).Elem(), nil)
			write(st, positionOf(time.Now(), 1), data[typ])
		}
	}
	for _, r := range st.facts {
		if safer[r.tag] == nil {
			t.Errorf("safer has no line for fact %d", r.tag)
		}
	}
}
