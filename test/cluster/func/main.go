// Command func is the func CLI, for `func deploy`. It is v0.49.2: of v0.50 one
// dependency is refused as a module. Images are built by test/image/func, since
// v0.49 marks them to end on SIGKILL.
package main

import "knative.dev/func/pkg/app"

func main() { app.Main() }
