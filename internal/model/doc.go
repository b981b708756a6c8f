// Package model runs ONNX models over a player's features. It loads models and checks
// them before use, keeps the live and shadow models of each score, replaces them under
// load, explains each score by Shapley values, and watches the features for drift.
//
//	models/serving.yaml ─▶ Registry ─▶ Lineup ─▶ Model ─▶ session (ONNX Runtime)
//	                                              ├▶ explainer (Shapley values over the ONNX file's own trees)
//	                                              └▶ drift (PSI against the training histogram)
//
// A model is a folder models/<name>/<version> with model.onnx, model.yaml (the
// [Manifest]) and golden.json (inputs and the outputs that Python computed for them).
// Loading refuses everything that would make scores wrong: an unknown feature, a wrong
// hash, shape or operator set, a golden row whose output differs.
//
// Only runtime.go imports the binding to ONNX Runtime; it needs cgo and the
// shared library (see [Library]).
package model

import "errors"

var (
	// ErrNotFinite is returned for an input that is NaN or infinite (as float32). A tree
	// ensemble would return a plausible number for it.
	ErrNotFinite = errors.New("score: input is not a finite number")
	// ErrNoScore is returned if a model's output is NaN or infinite.
	ErrNoScore = errors.New("score: the model's output is not a finite number")
	// ErrMissingFeature is returned if the event lacks a live model's input. The event's
	// content is fixed, so that a retry can't succeed.
	ErrMissingFeature = errors.New("score: a feature the model needs is missing")
	// ErrNoRuntime is returned if the binary was built without cgo.
	ErrNoRuntime = errors.New("score: built without cgo, so there is no ONNX Runtime: " +
		"build with CGO_ENABLED=1 and a C compiler (in an image: scripts/go-cgo)")
	// ErrNotLoaded is returned before the first lineup is loaded.
	ErrNotLoaded = errors.New("score: models are not loaded yet")
)
