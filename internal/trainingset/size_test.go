package trainingset_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pitboss/internal/dataset"
	"pitboss/internal/feature"
	"pitboss/test/shipped"
)

// Every player of the loot-box file, with account, consents, every opening
// and the duplicate memory that internal/player keeps beside the state: the
// median player takes at most 1 KB. docs/features.md gives the figures.
func TestTheMedianPlayerTakesAtMostAKilobyte(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"csgo-openings-2023.csv.gz", "bustabit.csv.gz"} {
		path := filepath.Join("..", "..", dataset.Folder(), name)
		if os.Getenv("PITBOSS_DATA") != "" {
			path = filepath.Join(dataset.Folder(), name)
		}
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the data folder has no %s", name)
		}
		total, state := sizes(t, path)
		n := len(total)
		t.Logf("%s: %d players; bytes with duplicate memory: median %d, p90 %d, p99 %d, largest %d; state alone: median %d, p99 %d",
			name, n, total[n/2], total[n*9/10], total[n*99/100], total[n-1], state[n/2], state[n*99/100])
		if total[n/2] > 1024 {
			t.Errorf("%s: the median player takes %d bytes, at most 1024 are allowed", name, total[n/2])
		}
	}
}

func sizes(t *testing.T, path string) (total, state []int) {
	t.Helper()
	set := shipped.Features(t)
	r, err := dataset.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type one struct {
		st *feature.State
		n  int
	}
	players := map[string]*one{}
	for {
		rec, err := r.Next()
		if err != nil {
			break
		}
		p := players[rec.Subject]
		if p == nil {
			st, _ := set.Decode(nil)
			p = &one{st: st}
			players[rec.Subject] = p
			for _, s := range dataset.Setup(rec.Subject, "EUR", rec.Time) {
				if _, err := set.Fold(st, s); err != nil {
					t.Fatal(err)
				}
				p.n++
			}
		}
		if _, err := set.Fold(p.st, rec); err != nil {
			t.Fatal(err)
		}
		p.n++
	}
	const head, each, most = 8 + 3, 12, 1024 // version and count; a remembered id; how many
	for _, p := range players {
		b, err := set.Append(nil, p.st)
		if err != nil {
			t.Fatal(err)
		}
		state = append(state, len(b))
		total = append(total, head+each*min(p.n, most)+len(b))
	}
	slices.Sort(state)
	slices.Sort(total)
	return total, state
}
