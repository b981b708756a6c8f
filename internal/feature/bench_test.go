package feature_test

import (
	"fmt"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/test/cputime"
)

// players of three kinds: how many rounds, how far apart.
var players = []struct {
	name   string
	rounds int
	apart  time.Duration
}{{"light", 2, time.Minute}, {"median", 20, 30 * time.Second}, {"heavy", 3000, 4 * time.Second}}

// rounds are n rounds of one player with a deposit now and then.
func rounds(n int, apart time.Duration) []*event.Record {
	out := []*event.Record{
		record(event.TypeAccountRegistered, "account", start, &event.AccountRegistered{Jurisdiction: "SE", BirthDate: "1990-01-02",
			Brand: "lucky-harbour", Currency: "SEK", Tier: "gold", TimeZone: "Europe/Stockholm"}),
		record(event.TypeConsentChanged, "consent", start.Add(time.Second), &event.ConsentChanged{Product: "all", Channel: "in_app", Granted: true}),
	}
	for i := range n {
		at := start.Add(time.Hour + time.Duration(i)*apart)
		if i%50 == 25 {
			out = append(out, record(event.TypePaymentDeposited, fmt.Sprint("d", i), at, &event.Payment{Amount: 5000, Currency: "SEK"}))
		}
		out = append(out, record(event.TypeRoundSettled, fmt.Sprint("r", i), at, &event.RoundSettled{
			Game: []string{"book-of-tides", "neon-fruits"}[i/30%2], Product: "casino", Currency: "SEK",
			Stake: int64(100 + i%7), Win: int64(i % 3 * 150)}))
	}
	return out
}

func played(b fataler, s *feature.Set, n int, apart time.Duration) *feature.State {
	st, err := s.Decode(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range rounds(n, apart) {
		if _, err := s.Fold(st, e); err != nil {
			b.Fatal(err)
		}
	}
	return st
}

// measure runs op and reports, beside the wall clock's ns/op, the CPU time it
// took with all its garbage collection: that is what a busy machine can tell.
func measure(b *testing.B, op func(i int)) {
	b.ReportAllocs()
	before := cputime.Own(b)
	n := 0
	for b.Loop() {
		op(n)
		n++
	}
	b.ReportMetric(float64((cputime.Own(b)-before).Nanoseconds())/float64(n), "cpu-ns/op")
}

func BenchmarkFold(b *testing.B) {
	s := load(b)
	for _, p := range players {
		b.Run(p.name, func(b *testing.B) {
			st := played(b, s, p.rounds, p.apart)
			r := record(event.TypeRoundSettled, "x", st.AsOf(), &event.RoundSettled{Game: "book-of-tides", Product: "casino", Currency: "SEK", Stake: 100, Win: 150})
			ids := make([]string, 1024)
			for i := range ids {
				ids[i] = fmt.Sprint("x", i)
			}
			measure(b, func(i int) {
				r.Time, r.ID = r.Time.Add(p.apart), ids[i%1024]
				if _, err := s.Fold(st, r); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkVector(b *testing.B) {
	s := load(b)
	for _, p := range players {
		b.Run(p.name, func(b *testing.B) {
			st := played(b, s, p.rounds, p.apart)
			var v []float64
			measure(b, func(int) { v = s.Vector(v[:0], st, st.AsOf()) })
			b.ReportMetric(float64(len(v)), "features")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	s := load(b)
	for _, p := range players {
		b.Run(p.name, func(b *testing.B) {
			st := played(b, s, p.rounds, p.apart)
			var buf []byte
			measure(b, func(int) { buf, _ = s.Append(buf[:0], st) })
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	s := load(b)
	for _, p := range players {
		b.Run(p.name, func(b *testing.B) {
			buf := encode(b, s, played(b, s, p.rounds, p.apart))
			measure(b, func(int) {
				if _, err := s.Decode(buf); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkServe is what an event costs when its player's state comes from
// Redis: decode, fold, features as JSON, encode.
func BenchmarkServe(b *testing.B) {
	s := load(b)
	for _, p := range players {
		b.Run(p.name, func(b *testing.B) {
			st := played(b, s, p.rounds, p.apart)
			stored := encode(b, s, st)
			r := record(event.TypeRoundSettled, "x", st.AsOf().Add(time.Second), &event.RoundSettled{Game: "book-of-tides", Product: "casino", Currency: "SEK", Stake: 100, Win: 150})
			var v []float64
			var buf, js []byte
			measure(b, func(int) {
				st, _ := s.Decode(stored)
				if _, err := s.Fold(st, r); err != nil {
					b.Fatal(err)
				}
				v = s.Vector(v[:0], st, st.AsOf())
				js = s.AppendJSON(js[:0], v)
				buf, _ = s.Append(buf[:0], st)
			})
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b)
	}
}
