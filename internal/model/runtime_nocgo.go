//go:build !cgo

package model

// This file replaces runtime.go in builds without cgo: everything compiles, and loading a
// model fails with an error that says what to do.

// OpenRuntime fails with [ErrNoRuntime].
func OpenRuntime(string) error { return ErrNoRuntime }

type session struct{ batch chan struct{} }

func newSession([]byte, string, *wiring, bool, int) (*session, error) { return nil, ErrNoRuntime }

func (*session) run(Row, []float64) error      { return ErrNoRuntime }
func (*session) runBatch(_, _ []float64) error { return ErrNoRuntime }
func (*session) close() error                  { return nil }
