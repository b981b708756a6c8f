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

// OpenRuntime loads ONNX Runtime from lib (see [Library]) and creates its environment,
// which takes 10 to 12 ms. Further calls return at once. The environment stays until the
// process ends.
func OpenRuntime(lib string) error {
	runtimeOnce.Lock()
	defer runtimeOnce.Unlock()
	if runtimeOnce.open {
		return nil
	}
	// Release 1.27.0 has no telemetry, but the library may be overridden.
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

// session is a loaded graph with a pool of preallocated bindings. The channel slots is the
// pool, and it limits the number of concurrent runs: a run takes a slot and puts it back.
type session struct {
	ort   *ort.DynamicAdvancedSession
	wires *wiring
	slots chan *slot
	batch chan *slot // nil: rows of this graph are not batched
}

// slot holds the inputs and the output of one call. Concurrent calls must not share it.
type slot struct {
	inputs  []inputTensor
	out     outputTensor   // nil: ONNX Runtime allocates the output
	binding *ort.IoBinding // nil with out
	values  []ort.Value    // the values of inputs
}

// newSession loads an ONNX graph for up to slots concurrent calls. folder has the files
// with weights outside the graph.
func newSession(data []byte, folder string, w *wiring, batched bool, slots int) (s *session, err error) {
	opts, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opts.Destroy()) }()
	// Each call uses one thread: requests run in parallel already, and handing work to a
	// thread pool would cost more than a call.
	if err := errors.Join(opts.SetIntraOpNumThreads(1), opts.SetInterOpNumThreads(1),
		opts.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", folder)); err != nil {
		return nil, err
	}
	var in []string
	for _, i := range w.inputs {
		in = append(in, i.name)
	}
	sess, err := ort.NewDynamicAdvancedSessionWithONNXData(data, in, []string{w.output.name}, opts)
	if err != nil {
		return nil, err
	}
	s = &session{ort: sess, wires: w, slots: make(chan *slot, slots)}
	for range slots {
		if err := s.addSlot(s.slots, 1); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if batched {
		s.batch = make(chan *slot, 1)
		if err := s.addSlot(s.batch, batchRows); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *session) addSlot(to chan *slot, rows int64) (err error) {
	sl := &slot{}
	defer func() {
		if err != nil {
			err = errors.Join(err, sl.destroy())
		}
	}()
	for _, in := range s.wires.inputs {
		t, err := newInput(in, rows)
		if err != nil {
			return err
		}
		sl.inputs, sl.values = append(sl.inputs, t), append(sl.values, t.value())
	}
	out := &s.wires.output
	if out.shape == nil || out.class != "" {
		to <- sl
		return nil
	}
	if sl.out, err = newOutput(out.elem, times(out.shape, rows)); err != nil {
		return err
	}
	if sl.binding, err = s.ort.CreateIoBinding(); err != nil {
		return err
	}
	for i, in := range s.wires.inputs {
		if err := sl.binding.BindInput(in.name, sl.values[i]); err != nil {
			return err
		}
	}
	if err = sl.binding.BindOutput(out.name, sl.out.value()); err != nil {
		return err
	}
	to <- sl
	return nil
}

// times returns shape with its first dimension set to rows.
func times(shape []int64, rows int64) ort.Shape {
	out := ort.NewShape(shape...)
	if rows > 1 {
		out[0] = rows
	}
	return out
}

// run scores one row. It does not allocate if all tensors are numbers of known shape.
func (s *session) run(row Row, y []float64) error {
	sl := <-s.slots
	defer func() { s.slots <- sl }()
	for _, in := range sl.inputs {
		if err := in.fill(row.Numbers, row.Words); err != nil {
			return err
		}
	}
	if sl.binding == nil {
		return s.runFree(sl, y)
	}
	if err := s.ort.RunWithBinding(sl.binding); err != nil {
		return err
	}
	sl.out.read(s.wires.output.column, y[:s.wires.output.width])
	return nil
}

// runBatch scores up to batchRows concatenated rows of a plain graph. It does not
// allocate.
func (s *session) runBatch(x, y []float64) error {
	sl := <-s.batch
	defer func() { s.batch <- sl }()
	if err := sl.inputs[0].fill(x, nil); err != nil {
		return err
	}
	if err := s.ort.RunWithBinding(sl.binding); err != nil {
		return err
	}
	sl.out.read(0, y)
	return nil
}

// runFree runs a graph whose output shape is only known after the call.
func (s *session) runFree(sl *slot, y []float64) (err error) {
	outputs := []ort.Value{nil}
	if err := s.ort.Run(sl.values, outputs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outputs[0].Destroy()) }()
	return readValue(outputs[0], &s.wires.output, y)
}

// close frees everything. No run may be in progress or follow: freeing a session during a
// run crashes the process (SIGSEGV). [Lineup] counts the users of a model for that.
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
	for _, in := range sl.inputs {
		err = errors.Join(err, in.value().Destroy())
	}
	if sl.out != nil {
		err = errors.Join(err, sl.out.value().Destroy())
	}
	return err
}
