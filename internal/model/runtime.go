//go:build cgo

package model

import (
	"errors"
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

var runtimeOnce struct {
	sync.Mutex
	open bool
}

// OpenRuntime loads ONNX Runtime from lib (see [Library]) and creates its
// environment, once per process; further calls return at once. It costs 10 to
// 12 ms. The environment stays until the process ends.
func OpenRuntime(lib string) error {
	runtimeOnce.Lock()
	defer runtimeOnce.Unlock()
	if runtimeOnce.open {
		return nil
	}
	// Release 1.27.0 has none, but the library may be overridden.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return fmt.Errorf("score: %w", err)
	}
	ort.SetSharedLibraryPath(lib)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("score: ONNX Runtime at %s: %w (fetch it with scripts/onnxruntime.sh, or name it by ONNXRUNTIME_LIB)", lib, err)
	}
	runtimeOnce.open = true
	return nil
}

// session is a loaded graph with a pool of preallocated bindings. The channel
// is the pool, the limit on concurrent runs and, in close, the wait for them.
type session struct {
	ort   *ort.DynamicAdvancedSession
	slots chan *slot
	batch chan *slot
}

// slot is one binding with its tensors: neither may be shared between calls.
type slot struct {
	in, out *ort.Tensor[float32]
	binding *ort.IoBinding
}

// newSession loads an ONNX graph with one input [N, in.width] and one output
// [N, out.width], for up to slots concurrent calls.
func newSession(data []byte, in, out tensorSpec, slots int) (s *session, err error) {
	opts, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opts.Destroy()) }()
	// One thread a call: requests are the parallelism, and a thread pool per
	// session would cost more than a call.
	if err := errors.Join(opts.SetIntraOpNumThreads(1), opts.SetInterOpNumThreads(1)); err != nil {
		return nil, err
	}
	sess, err := ort.NewDynamicAdvancedSessionWithONNXData(data, []string{in.name}, []string{out.name}, opts)
	if err != nil {
		return nil, err
	}
	s = &session{ort: sess, slots: make(chan *slot, slots), batch: make(chan *slot, 1)}
	for range slots {
		if err := s.addSlot(s.slots, 1, in, out); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if err := s.addSlot(s.batch, batchRows, in, out); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *session) addSlot(to chan *slot, rows int64, in, out tensorSpec) (err error) {
	sl := &slot{}
	defer func() {
		if err != nil {
			err = errors.Join(err, sl.destroy())
		}
	}()
	if sl.in, err = ort.NewEmptyTensor[float32](ort.NewShape(rows, int64(in.width))); err != nil {
		return err
	}
	if sl.out, err = ort.NewEmptyTensor[float32](ort.NewShape(rows, int64(out.width))); err != nil {
		return err
	}
	if sl.binding, err = s.ort.CreateIoBinding(); err != nil {
		return err
	}
	if err = errors.Join(sl.binding.BindInput(in.name, sl.in), sl.binding.BindOutput(out.name, sl.out)); err != nil {
		return err
	}
	to <- sl
	return nil
}

// run scores one row. x and y have the widths given at load. No allocation.
func (s *session) run(x, y []float32) error { return s.runIn(s.slots, x, y) }

// runBatch scores up to batchRows rows, row by row in x and y. No allocation.
func (s *session) runBatch(x, y []float32) error { return s.runIn(s.batch, x, y) }

func (s *session) runIn(pool chan *slot, x, y []float32) error {
	sl := <-pool
	copy(sl.in.GetData(), x)
	err := s.ort.RunWithBinding(sl.binding)
	copy(y, sl.out.GetData())
	pool <- sl
	return err
}

// close frees everything. Nobody may be in run or call it afterwards: freeing
// a session during a run ends the process (SIGSEGV). [Model] counts its users.
func (s *session) close() error {
	var err error
	for _, pool := range []chan *slot{s.slots, s.batch} {
		for len(pool) > 0 {
			err = errors.Join(err, (<-pool).destroy())
		}
	}
	return errors.Join(err, s.ort.Destroy())
}

func (sl *slot) destroy() error {
	var err error
	if sl.binding != nil {
		err = sl.binding.Destroy()
	}
	if sl.in != nil {
		err = errors.Join(err, sl.in.Destroy())
	}
	if sl.out != nil {
		err = errors.Join(err, sl.out.Destroy())
	}
	return err
}
