// Package model runs ONNX models over a player's features: it loads a model
// and proves it before use, keeps the live and shadow models of each score,
// swaps them under load, explains each score by exact Shapley values, and
// watches the features for drift.
//
//	models/serving.yaml ─▶ Registry ─▶ Lineup ─▶ Model ─▶ session (ONNX Runtime)
//	                                              ├▶ explainer (Shapley values over the ONNX file's own trees)
//	                                              └▶ drift (PSI against the training histogram)
//
// A model is a folder models/<name>/<version> with model.onnx, model.yaml
// (the [Manifest]) and golden.json (inputs and the outputs Python computed for
// them). Loading refuses whatever would make a score wrong: an unknown feature,
// a wrong hash, shape or operator set, a golden vector that differs.
//
// Only runtime.go imports the binding to ONNX Runtime; it needs cgo and the
// shared library (see [Library]).
package model

import "errors"

var (
	// ErrNotFinite is returned for an input that is NaN or infinite (as
	// float32). A tree ensemble would answer it with a plausible number.
	ErrNotFinite = errors.New("score: input is not a finite number")
	// ErrNoScore is returned where a model's output is NaN or infinite: the model
	// said nothing.
	ErrNoScore = errors.New("score: the model's output is not a finite number")
	// ErrMissingFeature is returned when a live model's input is absent from
	// the event. The event's content is fixed, so no retry can mend it.
	ErrMissingFeature = errors.New("score: a feature the model needs is missing")
	// ErrNoRuntime is returned where the binary was built without cgo.
	ErrNoRuntime = errors.New("score: built without cgo, so there is no ONNX Runtime: " +
		"build with CGO_ENABLED=1 and a C compiler (in an image: scripts/go-cgo)")
	// ErrNotLoaded is returned before the first lineup is loaded.
	ErrNotLoaded = errors.New("score: models are not loaded yet")
)
