package setup

import (
	"context"
	"strings"
	"testing"

	"pitboss/test/redistest"
)

// A Redis that may forget that a player is excluded is refused at the start,
// whatever its deployment, and where CONFIG is forbidden too.
func TestARedisThatEvictsIsRefused(t *testing.T) {
	t.Parallel()
	const evicts, hidden = "allkeys-lru", "--rename-command"
	for name, tc := range map[string]struct {
		url  func() string
		says string
	}{
		"it keeps":                       {func() string { return redistest.Start(t) }, ""},
		"it evicts":                      {func() string { return redistest.Start(t, "--maxmemory-policy", evicts) }, evicts},
		"it evicts what expires":         {func() string { return redistest.Start(t, "--maxmemory-policy", "volatile-ttl") }, "volatile-ttl"},
		"it evicts, CONFIG is forbidden": {func() string { return redistest.Start(t, "--maxmemory-policy", evicts, hidden, "CONFIG", "hidden") }, evicts},
		"it keeps, CONFIG is forbidden":  {func() string { return redistest.Start(t, hidden, "CONFIG", "hidden") }, ""},
		"a cluster that evicts":          {func() string { return redistest.Cluster(t, "--maxmemory-policy", evicts) }, evicts},
		"sentinels with one that evicts": {func() string { return redistest.Sentinel(t, 1, "--maxmemory-policy", evicts).URL() }, evicts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := tc.url()
			open := func(cfg map[string]string) error {
				g := NewEdge("test")
				t.Cleanup(func() { _ = g.Stop(context.Background()) })
				return g.Open(context.Background(), cfg, &struct{}{}, func(ctx context.Context) error {
					_, err := g.Redis(ctx, url)
					return err
				})
			}
			switch err := open(nil); {
			case tc.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.says != "" && (err == nil || !strings.Contains(err.Error(), "maxmemory-policy is "+tc.says) || !strings.Contains(err.Error(), allowEviction)):
				t.Errorf("error %v, want one that says %s and how to allow it", err, tc.says)
			}
			if err := open(map[string]string{allowEviction: "true"}); err != nil {
				t.Errorf("allowed by name, and refused: %v", err)
			}
		})
	}
}
