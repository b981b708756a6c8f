package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/broker"
)

// brokerProcess, set in the environment, makes the test binary a Broker that
// serves the folder it names until it is killed.
const brokerProcess = "PITBOSS_TEST_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerProcess); dir != "" {
		b, err := broker.Open(broker.Config{DataDir: filepath.Join(dir, "log"), BrokerFile: filepath.Join(dir, "broker.yaml"), TriggerDirs: []string{filepath.Join(dir, "triggers")}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(b.URL())
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		go func() {
			<-interrupted
			_ = b.Drain(context.Background())
			os.Exit(0)
		}()
		_ = b.Serve()
		select {} // until it is drained
	}
	os.Exit(m.Run())
}

// startProcess starts a Broker on dir as a process and returns its URL.
func startProcess(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), brokerProcess+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the Broker process did not start: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

// An acknowledged event is delivered although the Broker is killed, again and
// again, in the middle of taking and delivering events.
func TestKilledBrokerLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	delivered := map[string]int{}
	s := sink(t, func(id string) {
		time.Sleep(2 * time.Millisecond) // so that some are under way when the kill comes
		mu.Lock()
		delivered[id]++
		mu.Unlock()
	})
	write(t, filepath.Join(dir, "broker.yaml"), fastBroker)
	write(t, filepath.Join(dir, "triggers", "t.yaml"), fmt.Sprintf("apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec: {broker: pitboss, subscriber: {uri: \"%s\"}}\n", s.URL))

	acknowledged := killed(t, dir, "t", 4)
	arrived(t, acknowledged, func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		return delivered[id] > 0
	})
}

// killed kills a Broker on dir so many times while events are POSTed to it,
// leaves another running, and returns which events were acknowledged.
func killed(t *testing.T, dir, typ string, times int) (acknowledged map[string]bool) {
	t.Helper()
	var mu sync.Mutex
	acknowledged = map[string]bool{}
	next := 0
	for range times {
		cmd, url := startProcess(t, dir)
		kill := time.AfterFunc(400*time.Millisecond, func() { _ = cmd.Process.Kill() })
		next = sendUntilDown(url, typ, next, func(id string) {
			mu.Lock()
			acknowledged[id] = true
			mu.Unlock()
		})
		kill.Stop()
		_ = cmd.Wait()
	}
	startProcess(t, dir)
	return acknowledged
}

// arrived waits until has says so of every acknowledged event.
func arrived(t *testing.T, acknowledged map[string]bool, has func(id string) bool) {
	t.Helper()
	missing := func() (n int) {
		for id := range acknowledged {
			if !has(id) {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(30 * time.Second); missing() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := missing(); n > 0 || len(acknowledged) < 100 {
		t.Errorf("%d of %d acknowledged events, or the replies to them, did not arrive", n, len(acknowledged))
	}
}

// A reply has no place of its own in the log: killed between the two, the
// Broker delivers what it answers once more, and so has the reply again.
func TestKilledBrokerLosesNoReply(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	replied := map[string]bool{}
	first := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) { reply(w, "second", "reply-to-"+e.ID()) })
	second := sink(t, func(id string) {
		time.Sleep(5 * time.Millisecond) // longer than the first hop takes: replies queue up
		mu.Lock()
		replied[id] = true
		mu.Unlock()
	})
	write(t, filepath.Join(dir, "broker.yaml"), fastBroker)
	for name, to := range map[string]string{"first": first.URL, "second": second.URL} {
		write(t, filepath.Join(dir, "triggers", name+".yaml"), fmt.Sprintf(`apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: %s}
spec: {broker: pitboss, filter: {attributes: {type: %s}}, subscriber: {uri: "%s/"}}
`, name, name, to))
	}
	arrived(t, killed(t, dir, "first", 3), func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		return replied["reply-to-"+id]
	})
}

// sendUntilDown POSTs events from eight senders until the Broker is gone.
func sendUntilDown(url, typ string, next int, acknowledged func(id string)) int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	c := client()
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				mu.Lock()
				next++
				id := strconv.Itoa(next)
				mu.Unlock()
				req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader("{}"))
				req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Type": {typ}, "Ce-Source": {"/p"}, "Content-Type": {"application/json"}}
				resp, err := c.Do(req)
				if err != nil {
					return
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusAccepted {
					acknowledged(id)
				}
			}
		}()
	}
	wg.Wait()
	return next
}
