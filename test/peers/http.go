package main

import (
	"bufio"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// poster is a sender over one keep-alive connection. It writes requests itself to save CPU,
// since the loader shares the machine with what it measures.
type poster struct {
	addr    string
	request func(b []byte, e event) []byte        // appends the POST
	answer  func(e event, res *fasthttp.Response) // unless nil, is called with every answer

	conn net.Conn
	in   *bufio.Reader
	buf  []byte
	res  fasthttp.Response
}

func (p *poster) send(e event) error {
	p.buf = p.request(p.buf[:0], e)
	if err := p.exchange(); err != nil {
		p.close()
		return err
	}
	if code := p.res.StatusCode(); code >= 300 {
		return fmt.Errorf("status %d: %.200s", code, p.res.Body())
	}
	if p.answer != nil {
		p.answer(e, &p.res)
	}
	return nil
}

func (p *poster) exchange() (err error) {
	if p.conn == nil {
		if p.conn, err = net.DialTimeout("tcp", p.addr, 5*time.Second); err != nil {
			return err
		}
		p.in = bufio.NewReaderSize(p.conn, 8<<10)
	}
	if err := p.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := p.conn.Write(p.buf); err != nil {
		return err
	}
	return p.res.Read(p.in)
}

func (p *poster) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
