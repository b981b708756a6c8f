package console

import (
	"context"
	"sync"
	"time"

	"pitboss/internal/repeat"
)

// stopped holds the kill switches that are on, as last read. Frames go out several
// times a second; Redis is read once a second.
type stopped struct {
	mu  sync.Mutex
	on  []killSwitch
	why string
}

func (s *stopped) now() ([]killSwitch, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on == nil {
		return []killSwitch{}, s.why
	}
	return s.on, s.why
}

// watch reads the switches every so often until ctx ends. While they cannot be read,
// it keeps the last known ones and the reason.
func (s *stopped) watch(ctx context.Context, every time.Duration, read func(context.Context) ([]killSwitch, error)) {
	for range repeat.Now(ctx, every) {
		on, err := read(ctx)
		s.mu.Lock()
		if s.why = ""; err != nil {
			s.why = err.Error()
		} else {
			s.on = on
		}
		s.mu.Unlock()
	}
}
