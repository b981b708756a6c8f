package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// cpuProfile fetches a CPU profile of the function while the next load runs.
// Without -profile it does nothing.
func (b *bench) cpuProfile() (stop func(), err error) {
	if b.opt.profile == "" {
		return func() {}, nil
	}
	if err := b.populate(b.opt.players); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(2 * time.Second)
		res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.pprofAddr, int(b.opt.seconds.Seconds())-2))
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			return
		}
		defer res.Body.Close()
		out, err := os.Create(b.opt.profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			return
		}
		defer out.Close()
		_, _ = io.Copy(out, res.Body)
	}()
	return func() { <-done }, nil
}
