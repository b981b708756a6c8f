package broker

import (
	"context"
	"maps"
	"slices"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
)

// every and oneOf are the loops of Knative's own, without what those do beside:
// a goroutine reorders the filters by their hits and counts them without a
// lock against the readers (eventing v0.50.0), which the race detector refuses.
// Every leaf is Knative's.
type (
	every []eventfilter.Filter
	oneOf []eventfilter.Filter
)

// allOf is a Trigger's spec.filters: every one must pass.
func allOf(log *zap.Logger, specs []eventingv1.SubscriptionsAPIFilter) eventfilter.Filter {
	return every(filtersOf(log, specs))
}

func filtersOf(log *zap.Logger, specs []eventingv1.SubscriptionsAPIFilter) (out []eventfilter.Filter) {
	for _, s := range specs {
		switch {
		case len(s.All) > 0:
			out = append(out, every(filtersOf(log, s.All)))
		case len(s.Any) > 0:
			out = append(out, oneOf(filtersOf(log, s.Any)))
		case s.Not != nil:
			out = append(out, subscriptionsapi.NewNotFilter(allOf(log, []eventingv1.SubscriptionsAPIFilter{*s.Not})))
		default: // the manifest was validated: a leaf that cannot be made is an empty one
			if leaf := subscriptionsapi.MaterializeSubscriptionsAPIFilter(log, s); leaf != nil {
				out = append(out, leaf)
			}
		}
	}
	return out
}

func (f every) Filter(ctx context.Context, e ce.Event) eventfilter.FilterResult {
	res := eventfilter.NoFilter
	for _, one := range f {
		if res = one.Filter(ctx, e); res == eventfilter.FailFilter {
			return res
		}
	}
	return res
}

func (f oneOf) Filter(ctx context.Context, e ce.Event) eventfilter.FilterResult {
	res := eventfilter.NoFilter
	for _, one := range f {
		if res = one.Filter(ctx, e); res == eventfilter.PassFilter {
			return res
		}
	}
	return res
}

func (f every) Cleanup() {
	for _, one := range f {
		one.Cleanup()
	}
}

func (f oneOf) Cleanup() { every(f).Cleanup() }

// attributesOf is the attributes that filters read, sorted. false: they cannot
// be told (CESQL).
func attributesOf(specs []eventingv1.SubscriptionsAPIFilter) (names []string, ok bool) {
	for _, s := range specs {
		if s.CESQL != "" {
			return nil, false
		}
		for _, leaf := range []map[string]string{s.Exact, s.Prefix, s.Suffix} {
			names = slices.AppendSeq(names, maps.Keys(leaf))
		}
		inner := slices.Concat(s.All, s.Any)
		if s.Not != nil {
			inner = append(inner, *s.Not)
		}
		more, ok := attributesOf(inner)
		if !ok {
			return nil, false
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
