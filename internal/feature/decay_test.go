package feature

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A decayed sum that an older release kept, as of the latest event, is read and
// added to for what it is: two releases serve the same players during a deploy.
func TestDecayedSumsOfOlderReleasesAreRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sl := &slot{halfLife: float64(rapid.Int64Range(1000, 86_400_000).Draw(t, "half-life"))}
		latest := rapid.Int64Range(1.7e12, 1.8e12).Draw(t, "latest")
		later := latest + rapid.Int64Range(0, int64(8*sl.halfLife)).Draw(t, "later")
		sum, more := rapid.Float64Range(1, 1e9).Draw(t, "sum"), rapid.Float64Range(1, 1e9).Draw(t, "more")
		c := &cell{on: true, t: latest, f: sum}
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-12*want { // the time's share of a half-life is rounded, once each
				t.Fatalf("%s: %g, want %g", what, got, want)
			}
		}
		left := math.Exp2(-float64(later-latest) / sl.halfLife)
		near("read", sl.decayed(c, later, make(growing, 1)), sum*left)
		sl.addDecayed(c, later, more, make(growing, 1))
		near("added to", sl.decayed(c, later, make(growing, 1)), sum*left+more)
	})
}
