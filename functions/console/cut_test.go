package console_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"pitboss/internal/journal"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// A file that ends at a decision that cannot be read says so. Otherwise its reader would
// take it for all decisions.
func TestAFileThatIsCutShortSaysSo(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	p, set := shipped.Policy(t)
	j, r := journal.New(redistest.Client(t, url), 10), rand.New(rand.NewPCG(1, 2))
	now := time.Now().UTC().Truncate(time.Millisecond)
	for n, at := range []time.Time{now.Add(-time.Hour), now} {
		id := journal.DecisionID("alice", fmt.Sprint("d", n))
		open, personal := decideOne(p, set, id, "alice", at, r).Split()
		if n == 0 {
			personal = []byte("no JSON")
		}
		d := &journal.Draft{Kind: journal.KindDecision, Time: at, Open: open, Personal: personal, Decision: id, Contacts: journal.Bytes("x")}
		if _, err := j.Record(context.Background(), "alice", journal.Anew, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, map[string]string{"REDIS_URL": url})
	s.indexed()
	res, err := http.Get(s.url + "/api/decisions.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[2], "cut short: ") {
		t.Errorf("%v, %d lines, the last one is %q", err, len(lines), lines[len(lines)-1])
	}
}
