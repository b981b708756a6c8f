package functions

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/test/redistest"
)

// What a function needs may come later: a Broker's address, Redis, a key of a Secret, a
// ConfigMap. The function starts all the same, says what it waits for, and becomes ready
// once that is there.
func TestStartsInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ function, setting, content, reason string }{
		{"ingest", "K_SINK", "", "K_SINK is not set"},
		{"timer", "K_SINK", "", "K_SINK is not set"},
		{"ingest", "INGEST_HMAC_KEYS_FILE", "acme 0123456789abcdef\n", "INGEST_HMAC_KEYS_FILE"},
		{"console", "CONSOLE_TOKENS_FILE", "viewer vera 0123456789abcdef\n", "CONSOLE_TOKENS_FILE"},
		{"console", "CONSOLE_SESSION_KEY_FILE", strings.Repeat("k", 32), "CONSOLE_SESSION_KEY_FILE"},
		{"decide", "REDIS_URL", "", "redis"},
		{"feedback", "REDIS_URL", "", "redis"},
		{"privacy", "REDIS_URL", "", "redis"},
		{"profile", "REDIS_URL", "", "redis"},
		{"timer", "REDIS_URL", "", "redis"},
	} {
		t.Run(c.function+" without "+c.setting, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			srv := redistest.New(t)
			env := map[string]string{"MODELS_DIR": "../models", "K_SINK": "http://127.0.0.1:1", "REDIS_URL": "redis://" + srv.Addr,
				"PITBOSS_SEGMENTS": t.TempDir()}
			file := filepath.Join(t.TempDir(), "file")
			switch {
			case c.content != "":
				env[c.setting] = file
			case c.setting == "REDIS_URL":
				srv.Kill()
			default:
				delete(env, c.setting)
			}
			f, err := New(c.function)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Start(ctx, env); err != nil {
				t.Fatalf("the start ended the process: %v", err)
			}
			t.Cleanup(func() { _ = f.Stop(ctx) })
			if ok, err := f.Ready(ctx); ok || err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Fatalf("Ready: %v, %v, want the reason %q", ok, err, c.reason)
			}
			switch {
			case c.content != "":
				if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
			case c.setting == "REDIS_URL":
				if err := srv.Restart(); err != nil {
					t.Fatal(err)
				}
			default:
				return // a process's environment does not change; the next revision has it
			}
			awaitReady(t, f)
		})
	}
}

func awaitReady(t *testing.T, f HTTPFunction) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		ok, err := f.Ready(ctx)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not ready: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
