package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"pitboss/broker"
)

// A folder that another version wrote is left alone, and the error says what to do.
func TestForeignFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("no NATS server")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err == nil {
		_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "OLDER", Subjects: []string{"older.>"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.Shutdown()
	s.WaitForShutdown()
	for range 2 { // what refuses must also let go of the folder
		_, err = broker.Open(broker.Config{DataDir: dir, BrokerFile: "base/broker.yaml", Logger: zap.NewNop()})
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "OLDER") {
			t.Fatalf("got %v", err)
		}
	}
}
