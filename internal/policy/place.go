package policy

import (
	"cmp"
	"maps"
	"slices"

	"pitboss/internal/event"
)

// Blocks that follow from what a pack declares about its jurisdiction.
const (
	BlockNoPack      = "no-rules-here"
	BlockLicence     = "no-licence"
	BlockAge         = "under-age"
	BlockProduct     = "product-not-legal"
	BlockAdvertising = "advertising-not-legal"
	BlockBonuses     = "bonuses-not-legal"
)

const (
	legal   = "legal"
	illegal = "illegal"
)

// declaration checks what every jurisdiction's pack must declare.
func (l *loader) declaration(f *PackFile) {
	if f.Shared || l.legacy && f.MinAge == nil && f.Products == nil {
		return
	}
	what := "pack " + f.Pack
	missing := func(field, remedy string) { l.problem("$."+field, what, remedy, "%s is missing", field) }
	if _, ok := f.MinAge["all"]; !ok {
		missing("min_age", "write {all: 18}, and the products whose age differs")
	}
	for _, product := range slices.Sorted(maps.Keys(f.MinAge)) {
		l.oneOf("$.min_age", what, "min_age", product, productNames)
		if age := f.MinAge[product]; age < 16 || age > 30 {
			l.problem("$.min_age", what, "the age from which a player may play", "min_age.%s is %d", product, age)
		}
	}
	if len(f.Products) == 0 {
		missing("products", "list what may lawfully be offered online there")
	}
	for _, product := range f.Products {
		l.oneOf("$.products", what, "products", product, productNames[:len(productNames)-1])
	}
	if len(f.Languages) == 0 {
		missing("languages", "name the languages of the sources: [en]")
	}
	if f.Reviewed == nil {
		missing("reviewed", "false until a lawyer has reviewed the pack")
	}
	l.oneOf("$.advertising", what, "advertising", f.Advertising, []string{legal, illegal})
	l.oneOf("$.bonuses", what, "bonuses", f.Bonuses, []string{legal, illegal})
	l.oneOf("$.licence", what, "licence", f.Licence, []string{"required", "not-required"})
}

// minAge returns the minimum age for a product, or the highest of all if no product is
// given.
func (f *PackFile) minAge(product string) int {
	if age, ok := f.MinAge[product]; ok && product != "all" {
		return age
	}
	age := f.MinAge["all"]
	if product == "" || product == "all" {
		for _, a := range f.MinAge {
			age = max(age, a)
		}
	}
	return age
}

// product returns the product that an action is about. An action about all products
// counts as being about the one that the player plays; "" means unknown.
func (e *evaluation) product(a *action) string {
	if a.decl.Product != "all" {
		return a.decl.Product
	}
	return e.in.Facts.LastProduct
}

// licensed reports whether the player's licensee has a licence in the jurisdiction.
func (e *evaluation) licensed(jurisdiction string) bool {
	licensee := cmp.Or(e.in.Facts.Licensee, "default")
	return slices.Contains(e.p.file.Licensees[licensee], jurisdiction)
}

// place returns the blocks of service and marketing by the jurisdiction's declaration.
func (e *evaluation) place(a *action) (out []event.Blocked) {
	k := e.pack.decl
	if k.Products == nil {
		return nil // the policy is from before packs declared this
	}
	block := func(rule, format string, args ...any) { out = append(out, a.blocked(rule, format, args...)) }
	marketing, where, product, last := a.kind == bitMarketing, k.Title, e.product(a), e.in.Facts.LastProduct
	if k.Pack == DefaultPack {
		if marketing || a.play || a.deposit {
			block(BlockNoPack, "There is no rule pack for %s: no marketing and no prompt to play or deposit there.", cmp.Or(e.in.Facts.Jurisdiction, unknownPlace))
		}
	} else if k.Licence == "required" && !e.licensed(k.Pack) {
		block(BlockLicence, "The player's licensee has no licence in %s.", where)
	}
	if age := k.minAge(product); e.scope.age >= 0 && e.scope.age < age {
		block(BlockAge, "The player is %d; one must be %d in %s.", e.scope.age, age, where)
	}
	switch {
	case product != "" && !slices.Contains(k.Products, product):
		block(BlockProduct, "%s may not lawfully be offered online in %s.", product, where)
	case last != "" && !slices.Contains(k.Products, last):
		block(BlockProduct, "The player plays %s, which may not lawfully be offered online in %s.", last, where)
	case product == "" && marketing && len(k.Products) < len(productNames)-1:
		block(BlockProduct, "It is about every product, and not every product is legal in %s.", where)
	}
	if marketing && k.Advertising == illegal {
		block(BlockAdvertising, "Advertising gambling to a player is not legal in %s.", where)
	}
	if b := a.decl.Bonus; b != nil {
		if k.Bonuses == illegal {
			block(BlockBonuses, "Bonuses are not legal in %s.", where)
		}
		for _, on := range b.Products {
			if !slices.Contains(k.Products, on) {
				block(BlockProduct, "The bonus is for %s, which may not lawfully be offered online in %s.", on, where)
			}
		}
	}
	return out
}
