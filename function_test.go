package pitboss

import funchttp "knative.dev/func-go/http"

// What func's scaffolding for invoke: http has in its main. It need not run: it
// must compile, or no image can be built.
var _ = func() error { return funchttp.Start(New()) }
