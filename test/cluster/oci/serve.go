package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"
)

// serve serves one registry at the same address on both sides: what the scripts
// push out here is pulled inside the cluster's network.
func serve(args []string) error {
	f := flag.NewFlagSet("serve", flag.ExitOnError)
	addr, dir, netns := f.String("addr", "127.0.0.1:30500", ""), f.String("dir", "", ""), f.String("netns", "", "")
	_ = f.Parse(args)
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(*dir)))
	here, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	inside, err := listenIn(*netns, *addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	for _, l := range []net.Listener{here, inside} {
		go func() { failed <- http.Serve(l, handler) }() //nolint:gosec // a rig's registry, on loopback
	}
	return <-failed
}

// listenIn listens in a network namespace: a socket stays where it was opened.
func listenIn(netns, addr string) (l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var f *os.File
		if f, err = os.Open(netns); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			l, err = net.Listen("tcp", addr)
		}
	}()
	<-done
	return l, err
}
