package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a time.Duration that also reads days (30d) and weeks (2w).
type Duration time.Duration

// UnmarshalYAML reads 90s, 10m, 24h, 30d or 2w.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error { return Text(node, d) }

// UnmarshalText reads 90s, 10m, 24h, 30d or 2w.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	for unit, span := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, err := strconv.ParseFloat(strings.TrimSuffix(s, unit), 64); err == nil && strings.HasSuffix(s, unit) {
			if n < 0 || n > 36500 {
				return fmt.Errorf("duration %q is out of range", s)
			}
			*d = Duration(n * float64(span))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 || v > 36500*24*time.Hour {
		return fmt.Errorf("duration %q: write 90s, 10m, 24h, 30d or 2w", s)
	}
	*d = Duration(v)
	return nil
}

// String writes whole days as 30d, and other durations as Go does.
func (d Duration) String() string {
	if v := time.Duration(d); v > 0 && v%(24*time.Hour) == 0 {
		return strconv.Itoa(int(v/(24*time.Hour))) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Milliseconds returns d in whole milliseconds.
func (d Duration) Milliseconds() int64 { return time.Duration(d).Milliseconds() }
