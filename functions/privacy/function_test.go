package privacy

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
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
		c := &policy.Contacts{Bonuses: 1, Made: []policy.Made{{Key: 1, Seq: v.Seq, At: noon}}, Sent: []policy.Sent{{Decision: "d-" + event.HashPlayer(id),
			At: noon, Expires: noon.Add(time.Hour), Kind: 'm', Bonus: true, Status: policy.StatusDelivered}}}
		return &journal.Draft{Kind: journal.KindDecision, Time: noon, Contacts: c, Open: []byte(`{"decision":"d-` + event.HashPlayer(id) + `"}`),
			Personal: []byte(`{"input":{"player":"` + id + `","secret":"personal"}}`)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// spread leaves the player's data elsewhere: in a copy that waits to be fetched, and in dead
// letters of the console.
func spread(t *testing.T, f *Function, id string) {
	t.Helper()
	_, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyExport, event.PrivacyRequest{Request: "copy-of-" + id}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		letter, err := json.Marshal(map[string]any{"id": n, "event": request(t, id, event.TypeGameFailed, event.GameFailed{Game: "book", Error: "e"})})
		if err != nil {
			t.Fatal(err)
		}
		f.rights.rdb.HSet(t.Context(), journal.DeadLettersKey, id+"-letter-"+strconv.Itoa(n), letter)
	}
}

// traces returns the keys whose name or value contains the player's id, in clear or hashed
// as in the duplicate memory and in logs.
func traces(t *testing.T, f *Function, id string) (out []string) {
	t.Helper()
	keys, err := f.rights.rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		dump := k
		switch typ := f.rights.rdb.Type(t.Context(), k).Val(); typ {
		case "string":
			dump += f.rights.rdb.Get(t.Context(), k).Val()
		case "zset":
			dump += strings.Join(f.rights.rdb.ZRange(t.Context(), k, 0, -1).Val(), " ")
		case "set":
			dump += strings.Join(f.rights.rdb.SMembers(t.Context(), k).Val(), " ")
		case "hash":
			for field, v := range f.rights.rdb.HGetAll(t.Context(), k).Val() {
				dump += field + v
			}
		case "stream":
			for _, m := range f.rights.rdb.XRange(t.Context(), k, "-", "+").Val() {
				for field, v := range m.Values {
					dump += field + v.(string)
				}
			}
		default:
			t.Fatalf("key %s is a %s: this test can't look into it", k, typ)
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
			spread(t, f, id)
			live(t, f, "another")
			spread(t, f, "another")
			others := traces(t, f, "another")
			// State, reminder, contacts, the copy and its index, dead letters.
			if n := len(traces(t, f, id)); n != 6 {
				t.Fatalf("%d traces before: the test can't fail", n)
			}
			e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R1"})
			out, err := f.Handle(t.Context(), *e)
			if err != nil || out.Type() != event.TypePrivacyErased || strings.Contains(string(out.Data()), `"held":true`) {
				t.Fatalf("%v %v", out, err)
			}
			onlyMark(t, f, id)
			if now := traces(t, f, "another"); !slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(others))) {
				t.Fatalf("another player's keys were %v, are %v", others, now)
			}
			if n := f.rights.rdb.HLen(t.Context(), journal.DeadLettersKey).Val(); n != 3 {
				t.Fatalf("%d dead letters left, want the other player's 3", n)
			}
			again, err := f.Handle(t.Context(), *e)
			if err != nil || again.ID() != out.ID() || string(again.Data()) != string(out.Data()) {
				t.Fatalf("repeated: %v %v", again, err)
			}
			unreadable(t, f, id)
			_, err = f.rights.journal.Record(t.Context(), id, journal.Present, func(v journal.View) (*journal.Draft, error) {
				return &journal.Draft{Kind: journal.KindOutcome, Time: noon, Open: []byte(`{}`), Contacts: journal.Bytes("again")}, nil
			})
			if !errors.Is(err, journal.ErrErased) {
				t.Fatalf("an outcome after the erasure: %v", err)
			}
			onlyMark(t, f, id)
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
				if k != journal.LegalHoldKey(id) && k != journal.ContactsKey(id) && k != player.StateKey(id) {
					t.Errorf("left: %s", k)
				}
			}
			b, err := f.rights.journal.Contacts(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			c, err := policy.ParseContacts(b)
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

// linkAccounts gives accounts a person, as decide does.
func linkAccounts(t *testing.T, f *Function, person string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := f.rights.journal.Record(t.Context(), id, journal.Present, func(v journal.View) (*journal.Draft, error) {
			c, err := policy.ReadContacts(v.Contacts)
			if err != nil {
				return nil, err
			}
			c = c.Relink(policy.Link{Person: person, At: noon, On: true, Confidence: 90}, "link", v.Seq, noon)
			return &journal.Draft{Kind: journal.KindLink, Time: noon, Open: []byte(`{"id":"l","linked":true}`), Contacts: c}, nil
		})
		if err == nil {
			err = f.rights.journal.Index(t.Context(), person, id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEraseLinkedAccounts(t *testing.T) {
	t.Parallel()
	f := start(t, redistest.Start(t))
	live(t, f, "kept-account")
	live(t, f, "gone-account")
	live(t, f, "held-account", request(t, "held-account", event.TypeExcluded, event.Excluded{Scheme: "BetStop"}))
	linkAccounts(t, f, "one-person", "kept-account", "gone-account", "held-account")
	for _, id := range []string{"gone-account", "held-account"} {
		if _, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"})); err != nil {
			t.Fatal(err)
		}
	}
	onlyMark(t, f, "gone-account")
	accounts, err := f.rights.journal.Accounts(t.Context(), []string{"one-person"})
	if err != nil || len(accounts) != 2 || accounts[0].ID != "held-account" || accounts[1].ID != "kept-account" {
		t.Fatalf("%+v %v", accounts, err)
	}
	held, err := policy.ReadContacts(accounts[0].Contacts)
	if err != nil || len(held.Links) != 1 || held.Hold.IsZero() {
		t.Fatalf("the exclusion would bind nobody any more: %+v %v", held, err)
	}
}

func TestExportRevealsNoLinkedAccount(t *testing.T) {
	t.Parallel()
	f := start(t, redistest.Start(t))
	live(t, f, "mine")
	live(t, f, "theirs")
	linkAccounts(t, f, "one-person", "mine", "theirs")
	_, err := f.rights.journal.Record(t.Context(), "mine", journal.Anew, func(v journal.View) (*journal.Draft, error) {
		in := policy.Input{Decision: "d2", Player: "mine", Now: noon, Contacts: &policy.Contacts{}, Features: []float64{0.1},
			Linked: &policy.Linked{Accounts: 1, Exclusions: []event.Exclusion{{Scheme: "SECRET-SCHEME", Since: noon}}, Contacts: &policy.Contacts{}}}
		rec := policy.Record{Input: in, Decision: policy.Decision{Reasons: []event.Reason{{Code: policy.ReasonLinked, Text: "SECRET-REASON"}, {Code: "ALL-EXCL", Text: "stays"}}}}
		open, personal := rec.Split()
		return &journal.Draft{Kind: journal.KindDecision, Time: noon, Open: open, Personal: personal}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := f.rights.Export(t.Context(), "mine", "R", noon)
	if err != nil {
		t.Fatal(err)
	}
	text := string(doc)
	if strings.Contains(text, "SECRET") || strings.Contains(text, "theirs") || strings.Contains(text, "one-person") {
		t.Errorf("it reveals another account:\n%s", text)
	}
	if !strings.Contains(text, "ALL-EXCL") || !strings.Contains(text, `"confidence": 90`) {
		t.Errorf("it lacks what is the player's own:\n%s", text)
	}
}

// Only a person who may open the vault finds what the law has the operator keep of an erased
// player. Each opening is journaled, and the data expires.
func TestWhatTheLawHasUsKeep(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	m.SetTime(noon)
	f := start(t, "redis://"+m.Addr())
	j := f.rights.journal
	const id = "kept-person"
	live(t, f, id, request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop", Until: noon.AddDate(0, 6, 0)}))
	rec := policy.Record{Input: policy.Input{Decision: "d-protect", Player: id, Now: noon, Contacts: &policy.Contacts{}},
		Decision: policy.Decision{Issued: true, Action: "safer_gambling_call", Kind: policy.Protection, Channel: "phone", Message: "We would like to talk."}}
	open, personal := rec.Split()
	for _, d := range []*journal.Draft{
		{Kind: journal.KindDecision, Time: noon, Open: open, Personal: personal},
		{Kind: journal.KindReview, Time: noon, Open: []byte(`{"decision":"d-protect","verdict":"approved","by":"anna"}`)},
		{Kind: journal.KindReview, Time: noon, Open: []byte(`{"decision":"d-other","verdict":"approved","by":"anna"}`)},
	} {
		if _, err := j.Record(t.Context(), id, journal.Present, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
	}
	e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R7"})
	for range 2 { // the second time the player is already gone, and what is kept stays
		if _, err := f.Handle(t.Context(), *e); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range traces(t, f, id) {
		if k != journal.LegalHoldKey(id) && k != journal.ContactsKey(id) && k != player.StateKey(id) {
			t.Errorf("%s names the player", k)
		}
	}
	look := func(secret string, at time.Time) []journal.Kept {
		t.Helper()
		docs, err := j.Vault(secret).Open(t.Context(), id, journal.Opening{By: "carol", Reason: "a complaint", At: at})
		if err != nil {
			t.Fatal(err)
		}
		return docs
	}
	docs := look("", noon)
	if len(docs) != 1 {
		t.Fatalf("%d documents", len(docs))
	}
	var kept Kept
	if err := json.Unmarshal(docs[0].Document, &kept); err != nil {
		t.Fatal(err)
	}
	if kept.Player != id || len(kept.Exclusions) != 1 || len(kept.Interactions) != 2 || kept.Interactions[0].Action != "safer_gambling_call" ||
		!strings.Contains(string(kept.Interactions[1].Said), "anna") || !strings.Contains(kept.Law, "section 107") || !kept.Until.Equal(noon.Add(2557*24*time.Hour)) {
		t.Errorf("%+v", kept)
	}
	if other := look("another secret of more than 32 characters", noon); len(other) != 0 {
		t.Errorf("found with another key: %s", other[0].Document)
	}
	n := 0
	err := j.Each(t.Context(), journal.Ops, 0, true, func(e *journal.Entry) error {
		if e.Kind == journal.KindOpen && strings.Contains(string(e.Open), "carol") && !strings.Contains(string(e.Open), id) {
			n++
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("%d openings journaled, want 2: %v", n, err)
	}
	if late := look("", noon.Add(2558*24*time.Hour)); len(late) != 0 {
		t.Error("it is shown after its time")
	}
	before := len(m.Keys())
	m.FastForward((2557 + 200) * 24 * time.Hour)
	if left := strings.Join(m.Keys(), " "); strings.Contains(left, ":w:") || len(m.Keys()) >= before {
		t.Errorf("not swept: %s", left)
	}
	if held, err := j.LegalHold(t.Context(), id); err != nil || held != nil {
		t.Errorf("the hold outlives exclusion and retention: %s %v", held, err)
	}
}

// onlyMark checks that only the mark of the erasure contains the player's id: 27 bytes of
// version, time and expiry, for two days.
func onlyMark(t *testing.T, f *Function, id string) {
	t.Helper()
	key := player.StateKey(id)
	if left := traces(t, f, id); !slices.Equal(left, []string{key}) {
		t.Fatalf("left: %v", left)
	}
	n, ttl := f.rights.rdb.StrLen(t.Context(), key).Val(), f.rights.rdb.PTTL(t.Context(), key).Val()
	if n != 27 || ttl <= 0 || ttl > 48*time.Hour {
		t.Fatalf("%d bytes are left for %v", n, ttl)
	}
}

// unreadable checks that no entry of the player's shard has a readable personal part.
func unreadable(t *testing.T, f *Function, id string) {
	t.Helper()
	n := 0
	err := journal.New(f.rights.rdb, 1).Each(t.Context(), player.Shard(id), 0, false, func(e *journal.Entry) error {
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
	f := start(t, redistest.Start(t))
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
	byHand, err := f.rights.Export(t.Context(), "someone", "R3", noon)
	if err != nil || string(byHand) != string(doc) {
		t.Fatalf("by hand it is another copy (%v):\n%s", err, byHand)
	}
	var c Copy
	if err := json.Unmarshal(doc, &c); err != nil {
		t.Fatal(err)
	}
	if c.Facts.BirthDate != "1986-01-01" || strings.Contains(string(doc), "someone-else") {
		t.Errorf("facts, or another player's: %s", doc)
	}
	if n := len(f.rights.set.Declarations()); len(c.Features) != n {
		t.Errorf("%d features, want all %d", len(c.Features), n)
	}
	for _, x := range c.Features {
		if x.Name == "load_fails_10m" && (x.Value != 1 || !strings.Contains(x.Means, "failed to load")) {
			t.Errorf("%+v", x)
		}
	}
	if want := []Reminder{{"idle_after_fail", noon.Add(90 * time.Second)}}; !slices.Equal(c.Reminders, want) {
		t.Errorf("reminders %v, want %v", c.Reminders, want)
	}
	if len(c.Remembered) != 2 || len(c.State) < 3 || c.Bytes == 0 {
		t.Errorf("remembered %v, state %v, %d bytes", c.Remembered, c.State, c.Bytes)
	}
	want := Contacts{Bonuses: 1, Decisions: 1, Sent: []Sent{{"d-" + event.HashPlayer("someone"), policy.Marketing, true, noon, noon.Add(time.Hour), "delivered"}}}
	if !reflect.DeepEqual(c.Contacts, &want) {
		t.Errorf("contacts %+v", c.Contacts)
	}
	if len(c.Journal) != 1 || c.Journal[0].Kind != journal.KindDecision || !strings.Contains(string(c.Journal[0].Personal), "personal") {
		t.Errorf("journal %+v", c.Journal)
	}
}

// TestExportTellsWhatBecameOfDecisions: outcomes and reviews name a decision and no player,
// and belong to the player's copy all the same.
func TestExportTellsWhatBecameOfDecisions(t *testing.T) {
	t.Parallel()
	f := start(t, "redis://"+miniredis.RunT(t).Addr())
	live(t, f, "a")
	for _, decision := range []string{"d-" + event.HashPlayer("a"), "d-of-somebody-else"} {
		_, err := f.rights.journal.Record(t.Context(), "a", journal.Present, func(v journal.View) (*journal.Draft, error) {
			return &journal.Draft{Kind: journal.KindOutcome, Time: noon, Open: []byte(`{"decision":"` + decision + `"}`)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	doc, err := f.rights.Export(t.Context(), "a", "R", noon)
	if err != nil {
		t.Fatal(err)
	}
	var c Copy
	if err := json.Unmarshal(doc, &c); err != nil || len(c.Journal) != 2 || c.Journal[1].Kind != journal.KindOutcome {
		t.Fatalf("%+v %v", c.Journal, err)
	}
}

// If a folder of segments is not mounted, a copy must not look whole.
func TestStartTellsThatSegmentsAreNotMounted(t *testing.T) {
	t.Parallel()
	f := New()
	err := f.Start(t.Context(), map[string]string{"MODELS_DIR": "../../models", "REDIS_URL": redistest.Start(t), "PITBOSS_SEGMENTS": t.TempDir() + "/not-there"})
	if err == nil || !strings.Contains(err.Error(), "PITBOSS_SEGMENTS") {
		t.Fatalf("%v", err)
	}
	_ = f.Stop(context.Background())
}
