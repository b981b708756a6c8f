package access

import (
	"fmt"
	"slices"
	"strings"
)

// Grant is a role, everywhere or at one place. An empty Jurisdiction or Brand means any.
type Grant struct {
	Role         Role   `json:"role"`
	Jurisdiction string `json:"jurisdiction,omitzero"`
	Brand        string `json:"brand,omitzero"`
}

// everywhere reports whether the grant is not limited to a place.
func (g Grant) everywhere() bool { return g.Jurisdiction == "" && g.Brand == "" }

func (g Grant) at(jurisdiction, brand string) bool {
	return (g.Jurisdiction == "" || g.Jurisdiction == jurisdiction) && (g.Brand == "" || g.Brand == brand)
}

func (g Grant) String() string {
	switch {
	case g.everywhere():
		return string(g.Role)
	case g.Brand == "":
		return string(g.Role) + "@" + g.Jurisdiction
	case g.Jurisdiction == "":
		return string(g.Role) + "@*/" + g.Brand
	}
	return string(g.Role) + "@" + g.Jurisdiction + "/" + g.Brand
}

// parseGrant reads viewer, viewer@GB, viewer@GB/casino-one or viewer@*/casino-one.
func parseGrant(text string) (g Grant, err error) {
	name, place, limited := strings.Cut(text, "@")
	g.Role = Role(strings.TrimPrefix(name, "pitboss-"))
	if !slices.Contains(AllRoles, g.Role) {
		return g, fmt.Errorf("%q is not a role among %v", name, AllRoles)
	}
	if !limited {
		return g, nil
	}
	g.Jurisdiction, g.Brand, _ = strings.Cut(place, "/")
	if g.Jurisdiction == "*" {
		g.Jurisdiction = ""
	}
	if g.everywhere() {
		return g, fmt.Errorf("%q names no place: want role@JURISDICTION, role@JURISDICTION/BRAND or role@*/BRAND", text)
	}
	return g, nil
}

// grant adds grants and their roles.
func (p *Person) grant(list ...Grant) {
	for _, g := range list {
		if !slices.Contains(p.Grants, g) {
			p.Grants = append(p.Grants, g)
		}
		if !slices.Contains(p.Roles, g.Role) {
			p.Roles = append(p.Roles, g.Role)
		}
	}
}

// Everywhere reports whether the person has the role everywhere.
func (p *Person) Everywhere(role Role) bool { return p.has(role, Grant.everywhere) }

// MayAt reports whether the person has the role at a place.
func (p *Person) MayAt(role Role, jurisdiction, brand string) bool {
	return p.has(role, func(g Grant) bool { return g.at(jurisdiction, brand) })
}

// Sees reports whether the person may see what happened at a place.
func (p *Person) Sees(jurisdiction, brand string) bool { return p.MayAt(Viewer, jurisdiction, brand) }

// has reports whether a grant of the role fits. Any role includes the viewer's.
func (p *Person) has(role Role, fits func(Grant) bool) bool {
	return p != nil && slices.ContainsFunc(p.Grants, func(g Grant) bool { return (role == Viewer || g.Role == role) && fits(g) })
}

// Key is equal for people who have the same roles at the same places.
func (p *Person) Key() string {
	var all []string
	for _, g := range p.Grants {
		all = append(all, g.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
