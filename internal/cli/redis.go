package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pitboss/internal/setup"
)

// redisNote is a file that says where the embedded Redis of a running
// `pitboss run` is.
func redisNote(stateDir string) string { return filepath.Join(stateDir, "redis-url") }

// NoteRedis tells the other commands on this machine where the embedded Redis
// of `pitboss run` is, until forget is called. An empty address: there is none.
func NoteRedis(stateDir, address string) (forget func(), err error) {
	note := redisNote(stateDir)
	forget = func() { _ = os.Remove(note) }
	if address == "" {
		forget() // of a run that was killed
		return forget, nil
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	if err := os.WriteFile(note, []byte(address+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	return forget, nil
}

// redisURL is where commands look for Redis: REDIS_URL, else the embedded one
// of a `pitboss run` in this folder, else this machine's usual port.
func redisURL() string {
	noted, err := os.ReadFile(redisNote(env("PITBOSS_STATE_DIR", "data/broker")))
	if err != nil {
		noted = []byte("redis://127.0.0.1:6379")
	}
	return env("REDIS_URL", strings.TrimSpace(string(noted)))
}

// openRedis connects a command to Redis; the caller closes it.
func openRedis(ctx context.Context, url string) (setup.Client, error) {
	if os.Getenv("LOG_LEVEL") == "" {
		os.Setenv("LOG_LEVEL", "fatal") // the client's attempts: the error says enough
	}
	rdb, err := setup.Redis(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("%w (is `make run` running in this folder? --redis or REDIS_URL names another Redis)", err)
	}
	return rdb, nil
}
