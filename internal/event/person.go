package event

import (
	"sync"
	"time"
	_ "time/tzdata" // an image need not have the zones, and a replay elsewhere wants the same ones
)

// Age is the age in full years on the day of now; a birthday on 29 February
// is celebrated on 1 March in other years. -1: no or no valid birth date.
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

// Zone finds an IANA time zone, or nil. time.LoadLocation may read a file.
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
