package dataset

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/cespare/xxhash/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
)

// SourceSetup is the source of the accounts and consents that are generated for files without
// accounts. replay counts these events separately.
const SourceSetup = "/dataset/setup"

// accountAge is the age of a generated account when its player is first seen.
const accountAge = 24 * time.Hour

// homes lists the jurisdictions of generated accounts, each equally likely. FR has no rule
// pack, so that the strict default applies.
var homes = []struct{ jurisdiction, zone string }{
	{"GB", "Europe/London"}, {"SE", "Europe/Stockholm"}, {"NL", "Europe/Amsterdam"}, {"DE", "Europe/Berlin"},
	{"MT", "Europe/Malta"}, {"CA-ON", "America/Toronto"}, {"AU", "Australia/Sydney"}, {"FR", "Europe/Paris"},
}

// Setup generates a player's account and consents from a hash of the player's id:
// jurisdiction (one of eight), birth date (18 to 73 years before the account), tier, and
// opt-ins (70 % in-app for all products, 40 % casino by push, 30 % casino by e-mail). first
// is the time of the player's first event; the account is a day older.
func Setup(player, currency string, first time.Time) []*event.Record {
	h := xxhash.Sum64String("setup\x00" + player)
	draw := func(n uint64) uint64 {
		x := h % n
		h = h/n ^ h<<17 ^ 0x9e3779b97f4a7c15
		return x
	}
	at := first.Add(-accountAge).Truncate(time.Second).UTC()
	home := homes[draw(uint64(len(homes)))]
	born := at.AddDate(-18-int(draw(55)), 0, -1-int(draw(365)))
	brand := []string{"lucky-harbour", "high-tide"}[draw(2)]
	tier := []string{"blue", "silver", "gold"}[draw(3)]
	out := []*event.Record{setupEvent("account-"+player, event.TypeAccountRegistered, player, at, &event.AccountRegistered{
		Jurisdiction: home.jurisdiction, BirthDate: born.Format(time.DateOnly), Brand: brand, Currency: currency,
		Tier: tier, TimeZone: home.zone,
	})}
	for _, c := range []struct {
		product, channel string
		percent          uint64
	}{{"all", "in_app", 70}, {"casino", "push", 40}, {"casino", "email", 30}} {
		if draw(100) < c.percent {
			out = append(out, setupEvent("consent-"+c.product+"-"+c.channel+"-"+player, event.TypeConsentChanged, player, at.Add(time.Second),
				&event.ConsentChanged{Product: c.product, Channel: c.channel, Granted: true}))
		}
	}
	return out
}

func setupEvent(id, typ, player string, at time.Time, data any) *event.Record {
	info, _ := event.Lookup(typ)
	return &event.Record{ID: id, Source: SourceSetup, Type: typ, Subject: player, Time: at, Info: info, Data: data}
}

// CloudEvent returns the record as the event that a platform would POST.
func CloudEvent(r *event.Record) (*ce.Event, error) {
	body, err := json.Marshal(r.Data)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", r.ID, err)
	}
	e := ce.New()
	e.SetID(r.ID)
	e.SetSource(r.Source)
	e.SetType(r.Type)
	e.SetSubject(r.Subject)
	e.SetTime(r.Time)
	e.SetExtension(event.ExtPartitionKey, r.Subject)
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return &e, nil
}

// Load reads the first limit events (0: all) of a file as CloudEvents, in
// order of event time, and the setup events of the players among them.
func Load(path string, limit int) (setup, events []*ce.Event, err error) {
	r, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	seen := map[string]bool{}
	for limit == 0 || len(events) < limit {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if r.bare && !seen[rec.Subject] {
			seen[rec.Subject] = true
			for _, s := range Setup(rec.Subject, rec.Data.(*event.RoundSettled).Currency, rec.Time) {
				e, err := CloudEvent(s)
				if err != nil {
					return nil, nil, err
				}
				setup = append(setup, e)
			}
		}
		e, err := CloudEvent(rec)
		if err != nil {
			return nil, nil, err
		}
		events = append(events, e)
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].Time().Before(events[j].Time()) })
	return setup, events, nil
}
