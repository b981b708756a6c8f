package feature

import "fmt"

// Problem is a mistake in features.yaml: where it is and what to do.
type Problem struct {
	File   string
	Line   int    // 0: unknown
	Within string // "feature rounds_10m: where", or ""
	Detail string
}

func (p *Problem) Error() string {
	at := p.File
	if p.Line > 0 {
		at = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Within != "" {
		return fmt.Sprintf("%s: %s: %s", at, p.Within, p.Detail)
	}
	return at + ": " + p.Detail
}
