// Package repeat does something again and again until a context ends.
package repeat

import (
	"context"
	"time"
)

// Now yields at once and then again so long after each time, until ctx ends:
//
//	for range repeat.Now(ctx, time.Second) { look() }
func Now(ctx context.Context, wait time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		for ctx.Err() == nil && yield() {
			if !pause(ctx, wait) {
				return
			}
		}
	}
}

// After is Now without the first time.
func After(ctx context.Context, wait time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		for pause(ctx, wait) && yield() {
		}
	}
}

func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return ctx.Err() == nil // both may have come
	}
}
