package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
)

const (
	bustabitHeader = "id,game_id,player,bet,cashed_out,bonus,profit,busted_at,played_at"
	csgoHeader     = "unix_seconds,player,case,item"
)

// Sources of the events made from the two files.
const (
	SourceBustabit = "/dataset/bustabit"
	SourceCSGO     = "/dataset/csgo"
)

// table reads a CSV file with a header. turn makes an event of each row. The files have no
// quoted fields, so that a quote is an error.
func table(in *bufio.Reader, columns int, turn func(line int, row []string) (*event.Record, error)) func() (*event.Record, error) {
	line, row := 0, make([]string, columns)
	return func() (*event.Record, error) {
		for {
			raw, err := in.ReadSlice('\n')
			if len(raw) == 0 || err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if line++; line == 1 {
				continue
			}
			if err := split(string(bytes.TrimRight(raw, "\r\n")), row); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			rec, err := turn(line-1, row)
			if err == nil {
				rec, err = checked(rec)
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			return rec, nil
		}
	}
}

func split(line string, row []string) error {
	if strings.IndexByte(line, '"') >= 0 {
		return errors.New("quoted fields are not expected")
	}
	for i := range row {
		field, rest, more := strings.Cut(line, ",")
		if more != (i < len(row)-1) {
			return fmt.Errorf("wrong number of fields: want %d", len(row))
		}
		row[i], line = field, rest
	}
	return nil
}

var roundInfo, _ = event.Lookup(event.TypeRoundSettled)

func round(id, source, player string, at time.Time, data event.RoundSettled) *event.Record {
	both := &struct { // one allocation
		record event.Record
		data   event.RoundSettled
	}{data: data}
	both.record = event.Record{ID: id, Source: source, Type: event.TypeRoundSettled, Subject: player, Time: at, Info: roundInfo, Data: &both.data}
	return &both.record
}

// bustabit reads rows with one bet of a crash game each. The minor unit is a hundredth of a
// bit, so that every profit is a whole number.
func bustabit(in *bufio.Reader) func() (*event.Record, error) {
	return table(in, 9, func(_ int, row []string) (*event.Record, error) {
		at, err := time.Parse(time.RFC3339, row[8])
		if err != nil {
			return nil, err
		}
		bet, err := strconv.ParseInt(row[3], 10, 64)
		if err != nil || bet < 0 || bet > math.MaxInt64/200 {
			return nil, fmt.Errorf("bet %q is not a number of bits", row[3])
		}
		d := event.RoundSettled{Game: "bustabit", Product: "casino", Stake: bet * 100, Currency: "EUR"}
		if row[6] != "NA" {
			profit, err := strconv.ParseFloat(row[6], 64)
			if err != nil || math.IsNaN(profit) || math.Abs(profit) > 1e15 {
				return nil, fmt.Errorf("profit %q is neither a number nor NA", row[6])
			}
			d.Win = d.Stake + int64(math.Round(profit*100))
		}
		return round(row[0], SourceBustabit, row[2], at, d), nil
	})
}

// The prices of loot boxes and of what is won, in US cents. The file has no prices: these are
// the publisher's key price and round figures.
const (
	priceCase    = 249
	priceCapsule = 100
	wonKnife     = 20000
	wonOther     = 20
)

// csgo reads rows with one opened loot box each. The case is the game.
func csgo(in *bufio.Reader) func() (*event.Record, error) {
	return table(in, 4, func(n int, row []string) (*event.Record, error) {
		sec, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("unix_seconds %q is not a number", row[0])
		}
		d := event.RoundSettled{Game: row[2], Product: "casino", Stake: priceCase, Win: wonOther, Currency: "USD"}
		if strings.HasSuffix(row[2], "胶囊") {
			d.Stake = priceCapsule
		}
		if strings.Contains(row[3], "★") {
			d.Win = wonKnife
		}
		return round(strconv.Itoa(n), SourceCSGO, row[1], time.Unix(sec, 0).UTC(), d), nil
	})
}

// checked checks a row's event against the contract as if it had been POSTed, so that events
// that serving refuses do not become training rows.
func checked(r *event.Record) (*event.Record, error) {
	e, err := CloudEvent(r)
	if err != nil {
		return nil, err
	}
	return event.Parse(e, time.Now())
}

// lines reads CloudEvents in structured JSON, one a line, exactly as Pitboss reads them over
// HTTP. The error for an event against the contract names the line and the field.
func lines(in *bufio.Reader) func() (*event.Record, error) {
	line := 0
	return func() (*event.Record, error) {
		for {
			line++
			raw, err := in.ReadBytes('\n')
			if len(raw) == 0 && err != nil {
				return nil, err
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if len(bytes.TrimSpace(raw)) == 0 {
				continue
			}
			m, err := cehttp.ReadJSON(raw)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			rec, err := event.Parse(m.Event(), time.Now())
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			return rec, nil
		}
	}
}
