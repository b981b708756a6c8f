package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/repeat"
)

// notYet marks an error of a start that may resolve without a restart of the process.
type notYet struct{ error }

func (e notYet) Unwrap() error { return e.error }

// NotYet marks the error of a start that needs something which somebody else will provide,
// such as the Broker's address or a key of a Secret. The function then stays up without
// being ready, and becomes ready by itself. A permanent mistake must be a plain error.
func NotYet(err error) error { return notYet{err} }

func isNotYet(err error) bool { return errors.As(err, new(notYet)) }

// Sink checks the Broker's address, K_SINK. On a cluster a SinkBinding sets it once the
// Broker has an address, in the Service's next revision.
func Sink(function, url string) error {
	if url == "" {
		return NotYet(fmt.Errorf("%s: K_SINK is not set: it names the Broker (a SinkBinding sets it in the next revision, once the Broker is ready)", function))
	}
	return nil
}

// ReadFile reads a file of a mounted Secret or ConfigMap. If it does not exist, the error is
// [NotYet], so that the start waits.
func ReadFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, NotYet(err)
	}
	return text, err
}

// EachLine calls take with each line of the file of a setting that is neither empty nor a
// comment (#). The error names file and line.
func EachLine(setting, path string, take func(line string) error) error {
	raw, err := ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	for i, line := range strings.Split(string(raw), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := take(line); err != nil {
			return fmt.Errorf("%s: %s:%d: %w", setting, path, i+1, err)
		}
	}
	return nil
}

// Secret returns the trimmed content of a setting's file, or "" if the setting names none.
// It must have at least 32 characters.
func Secret(setting, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	raw, err := ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < 32 {
		return "", fmt.Errorf("%s: %s has %d characters, want at least 32", setting, path, len(secret))
	}
	return secret, nil
}

// startAgain is how long a start waits between tries.
const startAgain = time.Second

// startLater repeats the start until it succeeds or Stop is called. Ready reports its
// failures. The process goes on after any failure, because its cause may be a Secret that
// somebody is just writing.
func (g *Edge) startLater(start func(context.Context) error) {
	ctx, stop := context.WithCancel(g.living)
	g.AtEnd(func() error { stop(); return nil })
	go func() {
		for range repeat.After(ctx, startAgain) {
			if g.startNow(ctx, start) {
				return
			}
		}
	}()
}

// startNow tries the start once and reports whether to stop trying.
func (g *Edge) startNow(ctx context.Context, start func(context.Context) error) bool {
	g.mu.Lock() // keeps Stop from running during a start
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return true
	}
	last := *g.failed.Load()
	if err := g.try(ctx, start); err != nil {
		if err.Error() != last.Error() { // logs each reason once
			g.Log.Warn("waiting; the start is tried again every second", zap.Error(err))
		}
		g.failed.Store(&err)
		return false
	}
	g.failed.Store(nil)
	g.ready.Store(true)
	g.Log.Info("started")
	return true
}

// try runs the start. If it fails, everything that it has opened is closed again.
func (g *Edge) try(ctx context.Context, start func(context.Context) error) error {
	before := len(g.ends)
	err := start(ctx)
	if err == nil {
		return nil
	}
	for i := len(g.ends) - 1; i >= before; i-- {
		_ = g.ends[i](ctx) // the error of the start matters more
	}
	g.ends, g.redis = g.ends[:before], nil
	return err
}
