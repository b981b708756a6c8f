//go:build !cgo

package model

// The twin of runtime.go for builds without cgo: everything compiles, and
// whoever loads a model is told what to do.

// OpenRuntime fails with [ErrNoRuntime].
func OpenRuntime(string) error { return ErrNoRuntime }

type session struct{}

func newSession([]byte, tensorSpec, tensorSpec, int) (*session, error) { return nil, ErrNoRuntime }

func (*session) run(_, _ []float32) error      { return ErrNoRuntime }
func (*session) runBatch(_, _ []float32) error { return ErrNoRuntime }
func (*session) close() error                  { return nil }
