package console

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compressed compresses answers of a kilobyte or more for browsers that accept it. It
// leaves the stream alone, whose connection is hijacked.
func compressed(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(1<<10), gzhttp.ContentTypes([]string{
		"application/json", "text/html", "text/css", "text/javascript", "application/javascript", "image/svg+xml"}))
	if err != nil { // only for options that contradict each other
		panic(err)
	}
	zipped := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/stream" || r.Method == http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		zipped.ServeHTTP(w, r)
	})
}
