package privacy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/decide"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/redistest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func start(t *testing.T, url string) *Function {
	t.Helper()
	f := New()
	f.now = func() time.Time { return noon }
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": url, "MODELS_DIR": "../../models"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	return f
}

func request(t *testing.T, id, typ string, data any) *ce.Event {
	t.Helper()
	e := ce.New()
	e.SetID(typ + id)
	e.SetSource("/platform/test")
	e.SetType(typ)
	e.SetSubject(id)
	e.SetTime(noon)
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return &e
}

// live gives a player a state, a reminder and a journaled decision.
func live(t *testing.T, f *Function, id string, events ...*ce.Event) {
	t.Helper()
	events = append(events,
		request(t, id, event.TypeAccountRegistered, event.AccountRegistered{Jurisdiction: "AU", BirthDate: "1986-01-01", Brand: "acme", Currency: "AUD"}),
		request(t, id, event.TypeGameFailed, event.GameFailed{Game: "book", Error: "timeout"}))
	for _, e := range events {
		r, err := event.Parse(e, noon)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.rights.store.Update(t.Context(), id, player.Op[feature.State]{Key: r.Key(), Fold: func(s *feature.State, _ bool, _ uint8) (player.Effects, error) {
			out, err := f.rights.set.Fold(s, r)
			return player.Effects{Reminders: out.Reminders}, err
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.rights.journal.Record(t.Context(), id, journal.Anew, func(v journal.View) (*journal.Draft, error) {
		c := &decide.Contacts{Made: []decide.Made{{Key: 1, Seq: v.Seq, At: noon}}}
		return &journal.Draft{Kind: journal.KindDecision, Time: noon, Contacts: c.Append(nil), Open: []byte(`{"decision":"d-` + event.HashPlayer(id) + `"}`),
			Personal: []byte(`{"input":{"player":"` + id + `","secret":"personal"}}`)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// traces are the keys whose name or value has the player's id in it.
func traces(t *testing.T, f *Function, id string) (out []string) {
	t.Helper()
	keys, err := f.rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		dump := k
		switch f.rdb.Type(t.Context(), k).Val() {
		case "string":
			dump += f.rdb.Get(t.Context(), k).Val()
		case "zset":
			dump += strings.Join(f.rdb.ZRange(t.Context(), k, 0, -1).Val(), " ")
		case "hash":
			for field, v := range f.rdb.HGetAll(t.Context(), k).Val() {
				dump += field + v
			}
		case "stream":
			for _, m := range f.rdb.XRange(t.Context(), k, "-", "+").Val() {
				dump += m.Values["e"].(string)
			}
		}
		if strings.Contains(dump, id) {
			out = append(out, k)
		}
	}
	return out
}

func TestErase(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{
		"embedded": func() string { return "redis://" + miniredis.RunT(t).Addr() },
		"server":   func() string { return redistest.Start(t) },
	} {
		f := start(t, url())
		t.Run(name+": nothing is left of a player", func(t *testing.T) {
			const id = "erased-person"
			live(t, f, id)
			if n := len(traces(t, f, id)); n < 2 {
				t.Fatalf("only %d traces before: the test can't fail", n)
			}
			e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R1"})
			out, err := f.Handle(t.Context(), *e)
			if err != nil || out.Type() != event.TypePrivacyErased || strings.Contains(string(out.Data()), `"held":true`) {
				t.Fatalf("%v %v", out, err)
			}
			if left := traces(t, f, id); len(left) > 0 {
				t.Fatalf("left: %v", left)
			}
			again, err := f.Handle(t.Context(), *e)
			if err != nil || again.ID() != out.ID() || string(again.Data()) != string(out.Data()) {
				t.Fatalf("repeated: %v %v", again, err)
			}
			unreadable(t, f, id)
		})
		t.Run(name+": an excluded player stays excluded", func(t *testing.T) {
			const id = "excluded-person"
			live(t, f, id, request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop"}))
			e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R2"})
			out, err := f.Handle(t.Context(), *e)
			if err != nil || !strings.Contains(string(out.Data()), `"held":true`) {
				t.Fatalf("%v %v", out, err)
			}
			for _, k := range traces(t, f, id) {
				if k != journal.LegalHoldKey(id) && k != journal.ContactsKey(id) {
					t.Errorf("left: %s", k)
				}
			}
			b, err := f.rights.journal.Contacts(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			c, err := decide.ParseContacts(b)
			if err != nil || !c.Hold.After(noon.AddDate(100, 0, 0)) || len(c.Sent)+len(c.Made) != 0 {
				t.Fatalf("%+v %v", c, err)
			}
			unreadable(t, f, id)
		})
		v, err := f.rights.journal.Verify(t.Context(), journal.Segments{})
		if err != nil || len(v.Findings) > 0 {
			t.Fatalf("%+v %v", v, err)
		}
	}
}

// unreadable checks that no entry of the player's shard has a readable personal part.
func unreadable(t *testing.T, f *Function, id string) {
	t.Helper()
	n := 0
	err := journal.New(f.rdb, 1).Each(t.Context(), player.Shard(id), 0, false, func(e *journal.Entry) error {
		if n++; e.Personal != nil {
			t.Errorf("readable: %s", e.Personal)
		}
		return nil
	})
	if err != nil || n < 2 {
		t.Fatalf("%d entries, %v", n, err)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	f := start(t, "redis://"+miniredis.RunT(t).Addr())
	live(t, f, "someone")
	live(t, f, "someone-else")
	out, err := f.Handle(t.Context(), *request(t, "someone", event.TypePrivacyExport, event.PrivacyRequest{Request: "R3"}))
	if err != nil || out.Type() != event.TypePrivacyExported || strings.Contains(string(out.Data()), "1986") {
		t.Fatalf("%v %v", out, err)
	}
	doc, err := f.rights.journal.Export(t.Context(), "R3")
	if err != nil {
		t.Fatal(err)
	}
	var c Copy
	if err := json.Unmarshal(doc, &c); err != nil {
		t.Fatal(err)
	}
	if c.Facts.BirthDate != "1986-01-01" || len(c.Features) == 0 || len(c.Decisions) != 2 || strings.Contains(string(doc), "someone-else") {
		t.Fatalf("%s", doc)
	}
}
