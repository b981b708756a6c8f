package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// broker is what the rows read of Pitboss' Broker.
type broker struct {
	Metadata struct{ Annotations map[string]string }
	Status   struct{ Address struct{ URL string } }
}

func readBroker(ctx context.Context) (b broker, err error) {
	return b, read(ctx, brokersPath+"/pitboss", "", &b)
}

func (b *broker) kafka() bool {
	return b.Metadata.Annotations["eventing.knative.dev/broker.class"] == "Kafka"
}

// post sends an event straight to the Broker, past ingest.
func (b *broker) post(ctx context.Context, kind, player, id, data string) (status int, err error) {
	at, err := url.Parse(b.Status.Address.URL)
	if err != nil {
		return 0, err
	}
	host := strings.Split(at.Host, ".") // SERVICE.NAMESPACE.svc…, a name that the node does not know
	if len(host) < 2 {
		return 0, fmt.Errorf("the Broker's address is %q", at)
	}
	var service struct{ Spec struct{ ClusterIP string } }
	if err := read(ctx, "/api/v1/namespaces/"+host[1]+"/services/"+host[0], "", &service); err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+service.Spec.ClusterIP+at.Path, strings.NewReader(data))
	if err != nil {
		return 0, err
	}
	r.Host = at.Host
	for name, value := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": kind, "Ce-Source": "/acme/lobby", "Ce-Id": id, "Ce-Subject": player,
		"Ce-Time": time.Now().UTC().Format(time.RFC3339Nano), "Content-Type": "application/json"} {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// limits sends data of the most bytes that ingest takes and of one more, and to
// the Broker more than a Kafka takes: what is acknowledged is applied, all else is
// refused at once.
func limits(ctx context.Context, c *cluster) (figures, error) {
	const most = 64 << 10
	player := fmt.Sprintf("large-%d", time.Now().UnixNano())
	data := func(size int) string {
		const around = `{"device":"web","note":""}`
		return `{"device":"web","note":"` + strings.Repeat("x", size-len(around)) + `"}`
	}
	f := figures{"most": most}
	if err := c.post(ctx, "pitboss.session.started.v1", player, player+"-most", data(most)); err != nil {
		return f, fmt.Errorf("%d bytes of data: %w", most, err)
	}
	if err := c.post(ctx, "pitboss.session.started.v1", player, player+"-more", data(most+1)); err == nil || !strings.HasPrefix(err.Error(), "400 ") {
		return f, fmt.Errorf("%d bytes of data: %v, want 400", most+1, err)
	}
	err := await(ctx, time.Minute, "the largest event in the player's state", func() (bool, error) {
		text, err := cli(ctx, "features", "explain", player)
		return eventsApplied(text) == 1, err
	})
	if err != nil {
		return f, err
	}
	b, err := readBroker(ctx)
	if err != nil {
		return f, err
	}
	for _, size := range []int{1000 << 10, 1 << 20, 2 << 20} {
		began := time.Now()
		status, err := b.post(ctx, "pitboss.session.started.v1", player, fmt.Sprint(player, "-", size), data(size))
		if err != nil {
			return f, err
		}
		f[fmt.Sprint("broker_", size)] = fmt.Sprintf("%d after %d ms", status, time.Since(began).Milliseconds())
	}
	return f, nil
}

// deadLetters brings an event that no function knows to the Broker, and waits
// until the console lists it. On Kafka it passes the second Broker on its way.
func deadLetters(ctx context.Context, _ *cluster) (figures, error) {
	began := time.Now()
	id, err := postUnknown(ctx)
	if err != nil {
		return nil, err
	}
	err = awaitDeadLetter(ctx, id)
	return figures{"listed_ms": time.Since(began).Milliseconds()}, err
}

func postUnknown(ctx context.Context) (id string, err error) {
	b, err := readBroker(ctx)
	if err != nil {
		return "", err
	}
	id = fmt.Sprintf("unknown-%d", time.Now().UnixNano())
	status, err := b.post(ctx, "acme.unknown.v1", "nobody", id, `{}`)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the Broker answers %d", status)
	}
	return id, err
}

func awaitDeadLetter(ctx context.Context, id string) error {
	address, err := internalIngress(ctx)
	if err != nil {
		return err
	}
	p := &people{url: "http://" + address}
	return await(ctx, 2*time.Minute, "the dead letter in the console", func() (bool, error) {
		text, err := p.ask(ctx, vera, http.MethodGet, "/api/deadletters", nil)
		return bytes.Contains(text, []byte(id)), err
	})
}

// redeploy takes the functions out and in again under load, as make undeploy and
// make deploy do: what the Broker has acknowledged waits for them. An event that
// none of them knows comes while none is there, and is listed afterwards.
func redeploy(ctx context.Context, c *cluster) (figures, error) {
	b, err := readBroker(ctx)
	if err != nil {
		return nil, err
	}
	if !b.kafka() {
		return figures{"skipped": "the in-memory Broker keeps nothing"}, nil
	}
	var unknown string
	f, err := c.under(ctx, "redeploy", func(f figures, _ *load) (err error) {
		if f["undeploy_s"], err = script(ctx, "undeploy"); err != nil {
			return err
		}
		if unknown, err = postUnknown(ctx); err != nil {
			return err
		}
		f["deploy_s"], err = script(ctx, "deploy")
		return err
	})
	if err != nil {
		return f, err
	}
	return f, awaitDeadLetter(ctx, unknown)
}

// script runs one of scripts/ as a user would.
func script(ctx context.Context, name string) (seconds int, err error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, "scripts/"+name+".sh")
	cmd.Env = append(os.Environ(), "NAMESPACE="+namespace, "BROKER=kafka", "METHOD=kubectl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s.sh: %w: %s", name, err, out)
	}
	return int(time.Since(began).Seconds()), nil
}
