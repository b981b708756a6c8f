package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"pitboss/internal/event"
)

// Domain is whom a model was trained on. Of anybody else it says nothing: the
// score is not known, which stops marketing and lets protection go on.
type Domain struct {
	// Products the player's latest round or launch may be on; none: any.
	Products []string `yaml:"products,omitempty,flow" json:"products,omitempty"`
	// History names the Ranges whose min is how much a player must have done
	// before: who has done less is too new for the model, as everybody is at first.
	History []string `yaml:"history,omitempty,flow" json:"history,omitempty"`
	// Ranges of the model's own columns, by name.
	Ranges map[string]Range `yaml:"ranges,omitempty" json:"ranges,omitempty"`
}

// Range is what a column's values may be; a limit that is absent does not bound.
type Range struct {
	Min *float64 `yaml:"min,omitempty" json:"min,omitempty"`
	Max *float64 `yaml:"max,omitempty" json:"max,omitempty"`
}

func (d *Domain) check(columns []string) error {
	if d == nil {
		return nil
	}
	if len(d.Products)+len(d.Ranges) == 0 {
		return errors.New("domain: declares nothing: give products or ranges, or leave it out")
	}
	known := strings.Split(event.Products, "|")
	for _, p := range d.Products {
		if !slices.Contains(known, p) {
			return fmt.Errorf("domain.products: %q is no product: use some of %s", p, strings.Join(known, ", "))
		}
	}
	for name, r := range d.Ranges {
		switch {
		case !slices.Contains(columns, name) || isWord(name):
			return fmt.Errorf("domain.ranges: %q is not among the model's columns of numbers", name)
		case r.Min == nil && r.Max == nil:
			return fmt.Errorf("domain.ranges.%s: give min, max or both", name)
		case r.Min != nil && r.Max != nil && *r.Min > *r.Max:
			return fmt.Errorf("domain.ranges.%s: min %v is above max %v", name, *r.Min, *r.Max)
		}
	}
	for _, name := range d.History {
		if d.Ranges[name].Min == nil {
			return fmt.Errorf("domain.history: %q has no min among the ranges", name)
		}
	}
	return nil
}

// bound is a range and the column it is of.
type bound struct {
	column   int
	name     string
	min, max float64
	history  bool // below min is too little of a history
}

// bounds are the domain's ranges by column.
func (d *Domain) bounds(columns []string) (out []bound) {
	if d == nil {
		return nil
	}
	for name, r := range d.Ranges {
		b := bound{column: slices.Index(columns, name), name: name, min: math.Inf(-1), max: math.Inf(1), history: slices.Contains(d.History, name)}
		if r.Min != nil {
			b.min = *r.Min
		}
		if r.Max != nil {
			b.max = *r.Max
		}
		out = append(out, b)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].column < out[j].column })
	return out
}

// tooNew is what a player is outside with whose history is too short.
const tooNew = "history"

// outside tells in words why the model has nothing to say of a player, and by
// what, for the metric; empty: it has. A player may be too new only if nothing
// else keeps them out.
func (m *Model) outside(numbers []float64, facts *event.Facts) (why, by string) {
	d := m.Manifest.Domain
	if d == nil {
		return "", ""
	}
	if len(d.Products) > 0 && !slices.Contains(d.Products, facts.LastProduct) {
		if facts.LastProduct == "" { // every round names its product
			return "the player has played nothing yet, and it was trained on " + strings.Join(d.Products, " and "), tooNew
		}
		return "the player plays " + facts.LastProduct + ", and it was trained on " + strings.Join(d.Products, " and "), "product"
	}
	for i := range m.bounds {
		b := &m.bounds[i]
		switch v := numbers[b.column]; {
		case v < b.min && b.history:
			if why == "" {
				why, by = fmt.Sprintf("%s is %s, and it was trained on players with at least %s", b.name, short(v), short(b.min)), tooNew
			}
		case v < b.min || v > b.max:
			return fmt.Sprintf("%s is %s, and it was trained on %s to %s", b.name, short(v), short(b.min), short(b.max)), b.name
		}
	}
	return why, by
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
