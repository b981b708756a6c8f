package cli

import (
	"path/filepath"
	"testing"

	"pitboss/test/redistest"
)

func TestWhereCommandsLookForRedis(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "broker")
	t.Setenv("PITBOSS_STATE_DIR", dir)
	t.Setenv("REDIS_URL", "")
	const usual = "redis://127.0.0.1:6379"
	if got := redisURL(); got != usual {
		t.Errorf("nothing runs: %s", got)
	}
	embedded := redistest.Start(t)
	forget, err := NoteRedis(dir, embedded)
	if err != nil {
		t.Fatal(err)
	}
	if got := redisURL(); got != embedded {
		t.Errorf("beside pitboss run: %s, want %s", got, embedded)
	}
	cmd := rootCmd("test")
	cmd.SetArgs([]string{"killswitch", "list"})
	if err := cmd.Execute(); err != nil {
		t.Errorf("a command beside pitboss run: %v", err)
	}
	t.Setenv("REDIS_URL", "redis://elsewhere:1")
	if got := redisURL(); got != "redis://elsewhere:1" {
		t.Errorf("REDIS_URL is set: %s", got)
	}
	t.Setenv("REDIS_URL", "")
	if forget(); redisURL() != usual {
		t.Errorf("pitboss run ended: %s", redisURL())
	}
	if _, err := NoteRedis(dir, embedded); err != nil { // of a run that is killed
		t.Fatal(err)
	}
	if _, err := NoteRedis(dir, ""); err != nil || redisURL() != usual {
		t.Errorf("a run with a Redis of its own: %s, %v", redisURL(), err)
	}
}
