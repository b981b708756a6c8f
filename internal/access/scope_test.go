package access

import "testing"

func TestGrants(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Grant{
		"viewer":               {Role: Viewer},
		"pitboss-compliance":   {Role: Compliance},
		"operator@GB":          {Role: Operator, Jurisdiction: "GB"},
		"compliance@SE/casino": {Role: Compliance, Jurisdiction: "SE", Brand: "casino"},
		"viewer@*/casino":      {Role: Viewer, Brand: "casino"},
	} {
		g, err := parseGrant(text)
		if err != nil || g != want {
			t.Errorf("%s: %+v %v", text, g, err)
		}
		again, err := parseGrant(g.String())
		if err != nil || again != g {
			t.Errorf("%s written and read again: %+v %v", text, again, err)
		}
	}
	for _, text := range []string{"", "boss", "viewer@", "viewer@*", "viewer@*/", "@GB"} {
		if g, err := parseGrant(text); err == nil {
			t.Errorf("%q: %+v", text, g)
		}
	}
}

// A role at one place is none at another, and gives the eyes of a viewer only
// where it is held.
func TestPlaces(t *testing.T) {
	t.Parallel()
	p := &Person{}
	p.grant(Grant{Role: Compliance, Jurisdiction: "SE"}, Grant{Role: Viewer, Jurisdiction: "GB", Brand: "one"})
	for _, c := range []struct {
		role                Role
		jurisdiction, brand string
		want                bool
	}{
		{Compliance, "SE", "one", true}, {Compliance, "SE", "", true}, {Compliance, "GB", "one", false}, {Operator, "SE", "one", false},
		{Viewer, "SE", "two", true}, {Viewer, "GB", "one", true}, {Viewer, "GB", "two", false}, {Viewer, "", "", false},
	} {
		if got := p.MayAt(c.role, c.jurisdiction, c.brand); got != c.want {
			t.Errorf("%s at %s/%s: %v", c.role, c.jurisdiction, c.brand, got)
		}
	}
	if p.Everywhere(Viewer) || p.Key() != "compliance@SE viewer@GB/one" {
		t.Errorf("has %q", p.Key())
	}
	p.grant(Grant{Role: Operator})
	if !p.Everywhere(Viewer) || !p.Everywhere(Operator) || p.Everywhere(Compliance) {
		t.Errorf("with a role everywhere: %q", p.Key())
	}
	if (*Person)(nil).Sees("GB", "one") {
		t.Error("nobody sees something")
	}
}
