// Package repeat repeats work until a context ends.
package repeat

import (
	"context"
	"time"
)

// Now yields at once, and then again after a pause of wait, until ctx ends:
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

// After is like Now, but pauses before the first time too.
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
		return ctx.Err() == nil // both may be ready
	}
}
