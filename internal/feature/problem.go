package feature

import (
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

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

// lineOf finds the line of the node at a YAML path such as
// $.features[3].where; the nearest parent's line where the node is absent.
func lineOf(src []byte, paths ...string) (line int) {
	defer func() { _ = recover() }() // positions are a courtesy
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		return 0
	}
	for _, path := range paths {
		p, err := yaml.PathString(path)
		if err != nil {
			continue
		}
		if node, err := p.FilterFile(file); err == nil && node != nil && node.GetToken() != nil {
			return node.GetToken().Position.Line
		}
	}
	return 0
}
