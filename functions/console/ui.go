package console

import (
	"bytes"
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// bundle is the built page. scripts/console-ui.sh builds it from ui/src, and CI checks
// that the committed files equal a fresh build.
//
//go:embed all:ui/dist
var bundle embed.FS

// styleOf returns the path of the built page's stylesheet, whose name contains a hash.
func styleOf(files embed.FS) string {
	found, _ := fs.Glob(files, "ui/dist/assets/*.css")
	if len(found) == 0 {
		return ""
	}
	return found[0][len("ui/dist"):]
}

// page serves the bundle. Built files have a hash in their names, so browsers may cache
// them for good; index.html is never cached. Every other path is a view of the page.
func page() http.Handler {
	root, _ := fs.Sub(bundle, "ui/dist")
	index, err := fs.ReadFile(root, "index.html")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "console: the page is for GET; events are POSTed to /events", http.StatusMethodNotAllowed)
			return
		}
		file := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if body, err := fs.ReadFile(root, file); err == nil && file != "index.html" {
			if strings.HasPrefix(file, "assets/") {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(file)))
			http.ServeContent(w, r, file, time.Time{}, bytes.NewReader(body))
			return
		}
		if strings.HasPrefix(file, "assets/") {
			http.NotFound(w, r) // a browser would run index.html as a script
			return
		}
		if err != nil {
			http.Error(w, "console: the page was not built: run scripts/console-ui.sh", http.StatusNotFound)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(index)
	})
}
