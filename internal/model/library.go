package model

import (
	"os"
	"path/filepath"
)

// RuntimeVersion is the release of ONNX Runtime that Pitboss is tested with.
// Releases from 1.29 on carry telemetry that writes files and looks up hosts.
const RuntimeVersion = "1.27.0"

const libraryName = "libonnxruntime.so.1"

// Library returns the path of ONNX Runtime's shared library: override (ONNXRUNTIME_LIB)
// if it is set, else the path to which scripts/onnxruntime.sh installs it if that exists,
// else the bare name, which the dynamic linker looks up.
func Library(override string) string {
	if override != "" {
		return override
	}
	cache, err := os.UserCacheDir() // honours XDG_CACHE_HOME
	if err == nil {
		path := filepath.Join(cache, "pitboss", "onnxruntime", RuntimeVersion, libraryName)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return libraryName
}
