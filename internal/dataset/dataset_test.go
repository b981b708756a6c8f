package dataset_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
)

const bustabit = `id,game_id,player,bet,cashed_out,bonus,profit,busted_at,played_at
1,3294811,aa,100,NA,NA,NA,1.25,2021-10-31T15:38:43Z
2,3294827,bb,4,1.1,3.25,0.53,1.63,2021-10-31T15:43:54Z
`

const csgo = `unix_seconds,player,case,item
1675641716,aa,伽玛 2 号武器箱,XM1014（StatTrak™） | 滑流
1675641715,bb,2022年里约热内卢锦标赛竞争组印花胶囊,印花 | IEM
1675641959,aa,伽玛武器箱,刺刀（★） | 伽玛多普勒
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	if strings.HasSuffix(name, ".gz") {
		w := gzip.NewWriter(&b)
		w.Write([]byte(text))
		w.Close()
	} else {
		b.WriteString(text)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readAll(t *testing.T, path string) (out []*event.Record) {
	t.Helper()
	r, err := dataset.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
}

func TestBustabitRowsBecomeRounds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"b.csv", "b.csv.gz"} {
		got := readAll(t, write(t, name, bustabit))
		if len(got) != 2 {
			t.Fatalf("%s: %d events", name, len(got))
		}
		r := got[1]
		want := event.RoundSettled{Game: "bustabit", Product: "casino", Stake: 400, Win: 453, Currency: "EUR"}
		if d := r.Data.(*event.RoundSettled); *d != want {
			t.Errorf("%s: data %+v, want %+v", name, *d, want)
		}
		if at := time.Date(2021, 10, 31, 15, 43, 54, 0, time.UTC); r.ID != "2" || r.Subject != "bb" || !r.Time.Equal(at) {
			t.Errorf("%s: %s of %s at %s", name, r.ID, r.Subject, r.Time)
		}
		if d := got[0].Data.(*event.RoundSettled); d.Win != 0 {
			t.Errorf("a lost bet won %d", d.Win)
		}
	}
}

func TestOpeningsBecomeRounds(t *testing.T) {
	t.Parallel()
	got := readAll(t, write(t, "c.csv", csgo))
	var stakes, wins []int64
	for _, r := range got {
		d := r.Data.(*event.RoundSettled)
		stakes, wins = append(stakes, d.Stake), append(wins, d.Win)
	}
	if !reflect.DeepEqual(stakes, []int64{249, 100, 249}) || !reflect.DeepEqual(wins, []int64{20, 20, 20000}) {
		t.Errorf("stakes %v, wins %v", stakes, wins)
	}
	if got[0].ID != "1" || got[2].ID != "3" {
		t.Errorf("ids %s and %s are not the row numbers", got[0].ID, got[2].ID)
	}
}

func TestLoadSortsAndEveryEventKeepsTheContract(t *testing.T) {
	t.Parallel()
	setup, events, err := dataset.Load(write(t, "c.csv", csgo), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 3 || events[0].Subject() != "bb" {
		t.Errorf("%d events, first of %s: want 3, first of bb", len(events), events[0].Subject())
	}
	accounts := 0
	for _, e := range append(setup, events...) {
		if _, err := event.Parse(e, time.Now()); err != nil {
			t.Errorf("%s: %v", e.ID(), err)
		}
	}
	for _, e := range setup {
		if e.Source() != dataset.SourceSetup {
			t.Errorf("setup event %s has source %s", e.ID(), e.Source())
		}
		if e.Type() == event.TypeAccountRegistered {
			accounts++
		}
	}
	if accounts != 2 {
		t.Errorf("%d accounts, want one a player", accounts)
	}
	again, _, err := dataset.Load(write(t, "c.csv", csgo), 0)
	if err != nil || !reflect.DeepEqual(setup, again) {
		t.Errorf("setup events differ from run to run (%v)", err)
	}
}

func TestCloudEventsRoundTripThroughALineFile(t *testing.T) {
	t.Parallel()
	want := readAll(t, write(t, "b.csv", bustabit))
	var text strings.Builder
	for _, r := range want {
		e, err := dataset.CloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		text.Write(raw)
		text.WriteString("\n\n")
	}
	if got := readAll(t, write(t, "e.ndjson", text.String())); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got[0], want[0])
	}
}

// event1 is a line with one event, in which old is replaced; "" stands for its beginning.
func event1(old, new string) string {
	const line = `"specversion":"1.0","type":"pitboss.round.settled.v1","source":"/s","id":"1","time":"2026-01-01T10:00:00Z","subject":"p",` +
		`"data":{"game":"g","product":"casino","stake":1,"win":0,"currency":"GBP"}}`
	return "{" + strings.Replace(line, old, new, 1) + "\n"
}

func TestBadFilesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"unknown header":  {"a,b\n1,2\n", "the first line is neither"},
		"bad stake":       {strings.Replace(bustabit, "aa,100", "aa,lots", 1), "line 2: bet"},
		"bad time":        {strings.Replace(bustabit, "2021-10-31T15:38:43Z", "today", 1), "line 2"},
		"short row":       {bustabit + "1,2\n", "wrong number of fields"},
		"no player":       {strings.Replace(bustabit, ",aa,", ",,", 1), "line 2: no-subject at /subject"},
		"a negative win":  {bustabit + "9,1,aa,10,1.2,NA,-20,2.0,2021-10-31T15:38:43Z\n", "at /data/win"},
		"not an event":    {"{}\n", "line 1"},
		"twice a member":  {event1("", `"subject":"q",`), "line 1: not-a-cloudevent at /subject"},
		"no time":         {event1(`"time":"2026-01-01T10:00:00Z",`, ""), "line 1: no-time at /time"},
		"an unknown type": {event1("round.settled", "round.lost"), "line 1: unknown-type at /type"},
		"a later line":    {event1("", "") + event1(`"stake":1`, `"stake":-1`), "line 2: schema-violation at /data/stake"},
		"two on a line":   {strings.TrimSuffix(event1("", ""), "\n") + event1("", ""), "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := dataset.Open(write(t, "x.csv", tc.text))
			for err == nil {
				_, err = r.Next()
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q", err, tc.want)
			}
		})
	}
}

func TestTheRealFiles(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"bustabit.csv.gz": 50000, "csgo-openings-2023.csv.gz": 108544} {
		path := filepath.Join("..", "..", dataset.Folder(), name)
		if os.Getenv("PITBOSS_DATA") != "" {
			path = name
		}
		if _, err := os.Stat(path); err != nil && os.Getenv("PITBOSS_DATA") == "" {
			t.Skipf("the data folder has no %s", name)
		}
		if got := len(readAll(t, path)); got != want {
			t.Errorf("%s: %d events, want %d", name, got, want)
		}
	}
}
