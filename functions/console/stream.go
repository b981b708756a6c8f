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

// frame is what an open page gets a few times a second, however many events come
// in. Its counts are exact; of the decisions it carries the newest few.
type frame struct {
	Flow       flowView     `json:"flow"`
	Issued     []*decision  `json:"issued"`
	Suppressed []*decision  `json:"suppressed"`
	Skipped    int64        `json:"skipped"` // decisions since the last frame that are not in this one
	Broker     brokerStatus `json:"broker"`
	Letters    int64        `json:"dead_letters"`
	Lately     int64        `json:"dead_letters_lately"` // in the last five minutes, replayed or not
	Players    int          `json:"players"`
	Bytes      int64        `json:"bytes"`
	Review     int          `json:"review"`                // decisions that wait for review
	Proposed   int64        `json:"proposed"`              // changes that wait for a second person
	Switches   []killSwitch `json:"switches"`              // those that are on
	SwitchWhy  string       `json:"switch_error,omitzero"` // why they could not be read
	Troubles   []trouble    `json:"troubles"`
	// Places says what the players of each jurisdiction and brand get.
	Places map[string][]placeNow `json:"places"`
	Models []modelNow            `json:"models"` // how often each model gave a score
	Erased []string              `json:"erased"` // players erased in the last minute

	Limited bool `json:"limited,omitzero"` // decisions are counted at the person's places only

	erased  []erased
	waiting map[place]int // decisions that wait for review
	limit   func(v *flowView, sees func(jurisdiction, brand string) bool)
}

// inFrame is how many decisions of each verdict one frame carries.
const inFrame = 8

// visible returns the decisions that the person may see, masked where they must be.
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

// frame makes a frame with the decisions newer than since (-1: the newest), and
// returns the number of the newest one.
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

// hub makes each frame once and sends it to every open page. It encodes a frame once
// for all people who may see the same.
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
			continue // no page is open; the next one begins with the newest decisions
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
		default: // a slow page misses a frame; the others do not wait for it
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

// streamFor bounds a stream on a connection that cannot be hijacked: func-go ends an
// answer after 30 s. The page reconnects by itself.
const streamFor = 20 * time.Second

// stream sends frames as server-sent events. It hijacks the connection where that is
// possible: otherwise the server's write time-out ends the stream, and an open page
// delays a drain for as long as the server waits.
func (h *hub) stream(w http.ResponseWriter, r *http.Request) (any, error) {
	c, leave := h.join(personOf(r))
	defer leave()
	ctx, end := context.WithCancel(r.Context()) // which ends with the session
	defer end()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err == nil {
		defer conn.Close()
		go func() { // the page never sends anything, so the read returns when it closes
			defer end()
			_, _ = rw.ReadByte()
		}()
		h.hijacked(ctx, w, conn, rw, c)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamFor)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	h.pump(ctx, c, func(body []byte) error {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil {
			return err
		}
		return out.Flush()
	})
	return nil, nil
}

func (h *hub) hijacked(ctx context.Context, w http.ResponseWriter, conn net.Conn, rw *bufio.ReadWriter, c chan []byte) {
	_ = conn.SetDeadline(time.Time{})
	fmt.Fprint(rw, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nX-Accel-Buffering: no\r\n")
	_ = w.Header().Write(rw) // those that every answer has
	fmt.Fprint(rw, "\r\nretry: 1000\n\n")
	h.pump(ctx, c, func(body []byte) error {
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(rw, "data: %s\n\n", body)
		return rw.Flush()
	})
}

// pump writes frames until the page closes, its session ends or the console stops.
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
