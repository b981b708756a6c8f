package repeat

import (
	"context"
	"testing"
	"time"
)

func TestRepeatingEndsWithItsContextOrItsLoop(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]func(context.Context, time.Duration) func(func() bool){"now": Now, "after": After} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		for range each(ctx, time.Microsecond) {
			if n++; n == 3 {
				cancel()
			}
		}
		if n != 3 {
			t.Errorf("%s: went on %d times after its context had ended", name, n-3)
		}
		for range each(ctx, 0) {
			t.Errorf("%s: began although its context had ended", name)
			break
		}
		n = 0
		for range each(t.Context(), time.Microsecond) {
			if n++; n == 2 {
				break
			}
		}
		cancel()
	}
	began := time.Now()
	for range Now(t.Context(), time.Hour) {
		break
	}
	if time.Since(began) > time.Minute {
		t.Error("it waited before the first time")
	}
}
