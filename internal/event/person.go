package event

import (
	"sync"
	"time"
	_ "time/tzdata" // an image may lack the zones, and a replay elsewhere needs the same ones
)

// Age returns the age in full years on the day of now, or -1 without a valid birth date. A
// birthday on 29 February counts as 1 March in other years.
func Age(birth string, now time.Time) int {
	b, err := time.Parse(time.DateOnly, birth)
	if err != nil {
		return -1
	}
	age := now.Year() - b.Year()
	if now.Month() < b.Month() || (now.Month() == b.Month() && now.Day() < b.Day()) {
		age--
	}
	return max(age, -1)
}

var zones sync.Map // name → *time.Location, nil where unknown

// Zone returns an IANA time zone, or nil. It caches zones, because time.LoadLocation may read a
// file.
func Zone(name string) *time.Location {
	if name == "" {
		return nil
	}
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location)
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		z = nil
	}
	zones.Store(name, z)
	return z
}
