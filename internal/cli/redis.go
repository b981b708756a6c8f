package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pitboss/internal/setup"
)

// redisNote is the file with the address of the embedded Redis of a running
// `pitboss run`.
func redisNote(stateDir string) string { return filepath.Join(stateDir, "redis-url") }

// NoteRedis tells the other commands on this machine the address of the embedded Redis
// of `pitboss run`, until forget is called. The address is empty if there is none.
func NoteRedis(stateDir, address string) (forget func(), err error) {
	note := redisNote(stateDir)
	forget = func() { _ = os.Remove(note) }
	if address == "" {
		forget() // a run that was killed may have left a note
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

// redisURL is the Redis that commands use by default: REDIS_URL, else the embedded one
// of a `pitboss run` in this folder, else the usual port of this machine.
func redisURL() string {
	noted, err := os.ReadFile(redisNote(env("PITBOSS_STATE_DIR", "data/broker")))
	if err != nil {
		noted = []byte("redis://127.0.0.1:6379")
	}
	return env("REDIS_URL", strings.TrimSpace(string(noted)))
}

// openRedis connects a command to Redis. The caller closes it.
func openRedis(ctx context.Context, url string) (setup.Client, error) {
	if os.Getenv("LOG_LEVEL") == "" {
		os.Setenv("LOG_LEVEL", "fatal") // silences the client's own log, since the error says enough
	}
	rdb, err := setup.Redis(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("%w (is `make run` running in this folder? --redis or REDIS_URL names another Redis)", err)
	}
	return rdb, nil
}
