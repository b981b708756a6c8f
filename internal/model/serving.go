package model

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"pitboss/internal/strictyaml"
)

// Serving is the content of serving.yaml: by model, the live version and those in the
// shadow.
type Serving map[string]Line

// Line is one model's line.
type Line struct {
	Live   string   `yaml:"live"`
	Shadow []string `yaml:"shadow,omitempty,flow"`
	// Previous is the version to which a rollback returns.
	Previous string `yaml:"previous,omitempty"`
}

// ReadServing reads and checks serving.yaml.
func ReadServing(path string) (Serving, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	return parseServing(path, body)
}

func parseServing(path string, body []byte) (Serving, error) {
	var s Serving
	if err := strictyaml.Decode(body, &s); err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("score: %s: names no model", path)
	}
	for name, line := range s {
		if !versionName.MatchString(name) || !versionName.MatchString(line.Live) {
			return nil, fmt.Errorf("score: %s: %s: live must name a version", path, name)
		}
		seen := map[string]bool{line.Live: true}
		for _, v := range line.Shadow {
			if !versionName.MatchString(v) || seen[v] {
				return nil, fmt.Errorf("score: %s: %s: shadow %q is not a version, is listed twice, or is live", path, name, v)
			}
			seen[v] = true
		}
	}
	return s, nil
}

// Promote makes version live. The previously live version becomes a shadow, so that the
// two are still compared, and the one to which a rollback returns.
func (l Line) Promote(version string) Line {
	next := Line{Live: version, Previous: l.Live, Shadow: []string{l.Live}}
	for _, v := range l.Shadow {
		if v != version && v != l.Live {
			next.Shadow = append(next.Shadow, v)
		}
	}
	return next
}

// mostShadows bounds the number of shadows that score every event.
const mostShadows = 3

// WithShadow adds version as a shadow. If there are too many, the oldest is removed.
func (l Line) WithShadow(version string) Line {
	l.Shadow = append(slices.Clone(l.Shadow), version)
	l.Shadow = l.Shadow[max(0, len(l.Shadow)-mostShadows):]
	return l
}

// String returns the line as it is written in the file.
func (l Line) String() string {
	parts := []string{"live: " + l.Live}
	if len(l.Shadow) > 0 {
		parts = append(parts, "shadow: ["+strings.Join(l.Shadow, ", ")+"]")
	}
	if l.Previous != "" {
		parts = append(parts, "previous: "+l.Previous)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// SetLine replaces the line of model name in the text of serving.yaml. All other bytes,
// comments included, stay as they are.
func SetLine(path string, body []byte, name string, line Line) ([]byte, error) {
	at := regexp.MustCompile(`(?m)^(` + regexp.QuoteMeta(name) + `:[ \t]*)\{[^{}\n]*\}`)
	if !at.Match(body) {
		return nil, fmt.Errorf("score: %s: no line %q of the form %s: {live: VERSION}", path, name, name)
	}
	out := at.ReplaceAll(body, []byte("${1}"+line.String()))
	if _, err := parseServing(path, out); err != nil {
		return nil, err
	}
	return out, nil
}
