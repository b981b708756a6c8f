package console

import (
	"context"
	"sync"
	"time"

	"pitboss/internal/repeat"
)

// stopped is the kill switches that are on, as last read: an open page is told
// several times a second, Redis is asked once.
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

// watch reads the switches every so often until ctx ends. While they cannot be
// read, the last known ones stay, with the reason.
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
