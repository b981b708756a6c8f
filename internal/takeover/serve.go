package takeover

import (
	"bufio"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Pipelining is the header by which the first answer on a connection says how
// many requests may be on their way there at once (HTTP/1.1 pipelining, RFC 9112,
// section 9.3.2), all of them answered at the same time, in one write and in
// their order. RFC 9112 wants unsafe requests kept apart where an effect might be
// doubled or order matters: a sender of events that are known by their id, and
// whose order does not matter, need not.
const Pipelining = "Pitboss-Pipelining"

var errExpect = errors.New("a request behind another may not wait for 100 Continue")

// serve answers what comes over a connection until it ends. The first request
// is under way already.
func (c *Connections) serve(conn *connection) {
	defer conn.Close()
	s := served{c: c, conn: conn, r: bufio.NewReaderSize(conn, c.buffer), w: bufio.NewWriterSize(conn, c.buffer)}
	for underWay := true; underWay || s.await(); underWay = false {
		if !underWay {
			c.busy.Add(1)
		}
		goesOn := s.read() && !c.stopping.Load()
		s.answer()
		goesOn = s.write(goesOn)
		c.busy.Add(-1)
		if !goesOn {
			return
		}
	}
}

// served is a connection that is being served.
type served struct {
	c     *Connections
	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	told  bool // that it may pipeline
	batch []*fasthttp.RequestCtx
	wrong error // why the last of the batch could not be read
}

// await waits for the next request to begin.
func (s *served) await() bool {
	_ = s.conn.SetReadDeadline(time.Now().Add(timeout))
	_, err := s.r.Peek(1)
	return err == nil
}

// lent marks a request that net/http's handler got, as the context of its own
// request: what that handler began may still look at it when it is answered, so it
// is not used again.
const lent = "lent"

var contexts = sync.Pool{New: func() any { return new(fasthttp.RequestCtx) }}

// read reads all requests that have come. false: no more will be read.
func (s *served) read() (goesOn bool) {
	_ = s.conn.SetReadDeadline(time.Now().Add(timeout))
	s.wrong = nil
	for more := true; more; more = s.r.Buffered() > 0 && len(s.batch) < s.c.cfg.Pipeline {
		ctx := contexts.Get().(*fasthttp.RequestCtx)
		ctx.Init2(s.conn, nil, false)
		ctx.Response.Header.SetNoDefaultContentType(true)
		s.batch = append(s.batch, ctx)
		if s.wrong = s.readOne(ctx); s.wrong != nil || ctx.Request.ConnectionClose() {
			return false
		}
	}
	return true
}

func (s *served) readOne(ctx *fasthttp.RequestCtx) error {
	if err := ctx.Request.Header.Read(s.r); err != nil {
		return err
	}
	if ctx.Request.MayContinue() {
		if len(s.batch) > 1 {
			return errExpect
		}
		_, _ = s.w.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	return ctx.Request.ContinueReadBody(s.r, s.c.cfg.MaxBody, false)
}

// answer has every request of the batch handled, all at the same time.
func (s *served) answer() {
	n := len(s.batch)
	if s.wrong != nil {
		n-- // the last could not be read
	}
	if n == 0 {
		return
	}
	var others sync.WaitGroup
	others.Add(n - 1)
	for _, ctx := range s.batch[1:n] {
		s.c.begin(job{ctx, &others})
	}
	s.c.handle(s.batch[0])
	others.Wait()
}

// job is a request to be handled.
type job struct {
	ctx  *fasthttp.RequestCtx
	done *sync.WaitGroup
}

// begin has a job done by a goroutine that did one before, if one is free: its
// stack has grown to what a handler needs, and growing it anew takes longer than
// some handlers do (a tenth of profile's time).
func (c *Connections) begin(j job) {
	select {
	case c.jobs <- j:
	default:
		go c.work(j)
	}
}

func (c *Connections) work(j job) {
	for ok := true; ok; {
		c.handle(j.ctx)
		j.done.Done()
		select {
		case j = <-c.jobs:
		case <-c.idle:
			ok = false
		}
	}
}

// write writes the answers. false: the connection ends with them.
func (s *served) write(goesOn bool) bool {
	_ = s.conn.SetWriteDeadline(time.Now().Add(timeout))
	last := s.batch[len(s.batch)-1]
	if s.wrong != nil {
		s.c.unreadable(last, s.wrong)
	}
	for _, ctx := range s.batch {
		ctx.Response.SkipBody = ctx.IsHead()
		if ctx.Response.ConnectionClose() {
			goesOn = false
		}
		if ctx == last && !goesOn {
			ctx.SetConnectionClose()
		} else {
			ctx.Response.Header.ResetConnectionClose() // the others are answered on it
		}
		if !s.told && s.c.cfg.Pipeline > 1 {
			s.told = true
			ctx.Response.Header.Set(Pipelining, strconv.Itoa(s.c.cfg.Pipeline))
		}
		_ = ctx.Response.Write(s.w)
		if ctx.UserValue(lent) == nil {
			ctx.Request.Reset()
			ctx.Response.Reset()
			contexts.Put(ctx)
		}
	}
	clear(s.batch)
	s.batch = s.batch[:0]
	return s.w.Flush() == nil && goesOn // it keeps the first error
}
