package console

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/access"
	"pitboss/internal/repeat"
)

// frame is what an open page is told a few times a second, however many
// events come in: counts are exact, the tickers are the newest few.
type frame struct {
	Flow       flowView     `json:"flow"`
	Issued     []*decision  `json:"issued"`
	Suppressed []*decision  `json:"suppressed"`
	Skipped    int64        `json:"skipped"` // decided since the last frame and not in it
	Broker     brokerStatus `json:"broker"`
	Letters    int64        `json:"dead_letters"`
	Lately     int64        `json:"dead_letters_lately"` // of the last five minutes, replayed or not
	Players    int          `json:"players"`
	Bytes      int64        `json:"bytes"`
	Review     int          `json:"review"`                // decisions that wait for a person
	Proposed   int64        `json:"proposed"`              // changes that wait for a second person
	Switches   []killSwitch `json:"switches"`              // that are on
	SwitchWhy  string       `json:"switch_error,omitzero"` // why they cannot be read
	Troubles   []trouble    `json:"troubles"`
	// Places are what the players of each jurisdiction and brand get.
	Places map[string][]placeNow `json:"places"`
	Models []modelNow            `json:"models"` // for how many decisions their scores were there
	Erased []string              `json:"erased"` // players, of late

	Limited bool `json:"limited,omitzero"` // decisions are counted of the person's places only

	erased  []erased
	waiting map[place]int // for review
	limit   func(v *flowView, sees func(jurisdiction, brand string) bool)
}

// inFrame is how many decisions of each verdict one frame carries.
const inFrame = 8

// visible are the decisions that the person may see, masked where they must be.
func visible(list []*decision, p *access.Person) []*decision {
	out := make([]*decision, 0, len(list))
	for _, d := range list {
		switch {
		case !p.Sees(d.Jurisdiction, d.Brand):
		case p.MayAt(access.Compliance, d.Jurisdiction, d.Brand):
			out = append(out, d)
		default:
			out = append(out, d.masked())
		}
	}
	return out
}

func (f *Function) frame(since int64) (*frame, int64) {
	now := f.now()
	fr := frame{Flow: f.flow.view(now), limit: f.flow.limit, Broker: f.broker.status(), Letters: f.deadLetters.count(), Lately: f.deadLetters.lately()}
	var last int64
	fr.Issued, fr.Suppressed, last = f.decisions.since(since, inFrame)
	if since >= 0 {
		fr.Skipped = max(0, last-since-int64(len(fr.Issued)+len(fr.Suppressed)))
	}
	fr.Players, fr.Bytes = f.players.kept()
	fr.erased = f.players.erasedLately(now)
	fr.waiting, fr.Proposed = f.waiting(), f.proposed.Load()
	fr.Switches, fr.SwitchWhy = f.stopped.now()
	fr.Troubles, fr.Places, fr.Models = f.troubles(&fr, now), f.health.view(now), f.health.scores(now)
	return &fr, last
}

// hub makes a frame once and hands it to every open page, written once for all
// who may see the same.
type hub struct {
	every time.Duration
	frame func(since int64) (*frame, int64)

	mu    sync.Mutex
	pages map[chan []byte]*access.Person
	done  chan struct{}
}

func newHub(every time.Duration, makeFrame func(int64) (*frame, int64)) *hub {
	return &hub{every: max(every, 50*time.Millisecond), frame: makeFrame, pages: map[chan []byte]*access.Person{}, done: make(chan struct{})}
}

func (h *hub) run(ctx context.Context) {
	defer close(h.done)
	since := int64(-1)
	for range repeat.After(ctx, h.every) {
		if h.open() == 0 {
			since = -1
			continue // nobody looks; the next page begins with the newest
		}
		var fr *frame
		fr, since = h.frame(since)
		h.send(fr)
	}
}

func (h *hub) send(fr *frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	written := map[string][]byte{}
	for c, who := range h.pages {
		key := who.Key()
		if written[key] == nil {
			body, err := json.Marshal(fr.forPerson(who))
			if err != nil {
				return
			}
			written[key] = body
		}
		select {
		case c <- written[key]:
		default: // a slow page misses a frame, nobody waits for it
		}
	}
}

func (h *hub) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pages)
}

func (h *hub) join(who *access.Person) (c chan []byte, leave func()) {
	c = make(chan []byte, 2)
	h.mu.Lock()
	h.pages[c] = who
	h.mu.Unlock()
	return c, func() {
		h.mu.Lock()
		delete(h.pages, c)
		h.mu.Unlock()
	}
}

// streamFor bounds a stream on a connection that cannot be taken over: func-go
// cuts an answer after 30 s. The page comes back by itself.
const streamFor = 20 * time.Second

// stream sends frames as server-sent events. The connection is taken over
// from the server where it can be: the server's write time-out would cut it,
// and an open page would hold up a drain for as long as the server waits.
func (h *hub) stream(w http.ResponseWriter, r *http.Request) (any, error) {
	c, leave := h.join(personOf(r))
	defer leave()
	ctx, end := context.WithCancel(r.Context()) // it ends with the session, too
	defer end()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err == nil {
		defer conn.Close()
		go func() { // a page that closes sends nothing, so the read ends
			defer end()
			_, _ = rw.ReadByte()
		}()
		h.takeOver(ctx, w, conn, rw, c)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamFor)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	h.pump(ctx, c, func(body []byte) error {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil {
			return err
		}
		return out.Flush()
	})
	return nil, nil
}

func (h *hub) takeOver(ctx context.Context, w http.ResponseWriter, conn net.Conn, rw *bufio.ReadWriter, c chan []byte) {
	_ = conn.SetDeadline(time.Time{})
	fmt.Fprint(rw, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\nX-Accel-Buffering: no\r\n")
	_ = w.Header().Write(rw) // the security headers
	fmt.Fprint(rw, "\r\nretry: 1000\n\n")
	h.pump(ctx, c, func(body []byte) error {
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(rw, "data: %s\n\n", body)
		return rw.Flush()
	})
}

// pump writes frames until the page is gone, its session ends or the console stops.
func (h *hub) pump(ctx context.Context, c chan []byte, write func([]byte) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.done:
			return
		case body := <-c:
			if write(body) != nil {
				return
			}
		}
	}
}
