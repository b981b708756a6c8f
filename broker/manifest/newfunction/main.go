// Command newfunction writes a new function: its folder, its line in the
// registry, its Trigger and the generated manifests. What it writes builds,
// passes its test and passes make lint; the TODOs say what is left to decide.
//
//	go run ./broker/manifest/newfunction NAME EVENT-TYPE
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"pitboss/broker/manifest"
	"pitboss/internal/event"
)

//go:embed template/*.tmpl
var templates embed.FS

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: newfunction NAME EVENT-TYPE, for example: newfunction vip pitboss.round.settled.v1")
		os.Exit(2)
	}
	files, err := create(".", function{Name: os.Args[1], Takes: os.Args[2], Created: time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "newfunction:", err)
		os.Exit(1)
	}
	fmt.Println("wrote", strings.Join(files, ", "))
	fmt.Println("next: write Handle, then run go test ./functions/" + os.Args[1] + " and make lint")
}

// function is what the templates are filled with.
type function struct{ Name, Takes, Created string }

var validName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)

// create writes the function into the repository at root and returns the files
// that it wrote or changed, relative to root.
func create(root string, f function) ([]string, error) {
	if !validName.MatchString(f.Name) {
		return nil, fmt.Errorf("NAME %q: want a Go package name: lower-case letters and digits", f.Name)
	}
	if _, ok := event.Lookup(f.Takes); !ok {
		return nil, fmt.Errorf("EVENT-TYPE %q is not in the event catalogue (docs/events.md)", f.Takes)
	}
	folder := filepath.Join("functions", f.Name)
	if _, err := os.Stat(filepath.Join(root, folder)); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s exists already", folder)
	}
	trigger := filepath.Join("triggers", f.Name+".yaml")
	written := map[string]string{
		filepath.Join(folder, "function.go"):      "function.go",
		filepath.Join(folder, "function_test.go"): "function_test.go",
		filepath.Join(folder, "func.yaml"):        "func.yaml",
		trigger:                                   "trigger.yaml",
	}
	changed := []string{filepath.Join("functions", "functions.go"), filepath.Join("triggers", "kustomization.yaml")}
	for path, name := range written {
		if err := render(filepath.Join(root, path), name, f); err != nil {
			return nil, err
		}
		changed = append(changed, path)
	}
	if err := register(filepath.Join(root, changed[0]), f.Name); err != nil {
		return nil, err
	}
	if err := insertSorted(filepath.Join(root, changed[1]), regexp.MustCompile(`^  - `), "  - "+f.Name+".yaml"); err != nil {
		return nil, err
	}
	slices.Sort(changed)
	return changed, manifest.Generate(root)
}

func render(path, name string, f function) error {
	t, err := template.ParseFS(templates, "template/"+name+".tmpl")
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, f); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// register adds the import and the registry's line.
func register(file, name string) error {
	if err := insertSorted(file, regexp.MustCompile(`^\t"pitboss/functions/`), fmt.Sprintf("\t%q", "pitboss/functions/"+name)); err != nil {
		return err
	}
	line := fmt.Sprintf("\t%-11s func() HTTPFunction { return over(%s.New()) },", `"`+name+`":`, name)
	return insertSorted(file, regexp.MustCompile(`^\t"[a-z0-9]+": +func\(\) HTTPFunction`), line)
}

// insertSorted inserts line among the lines of file that match, in order.
func insertSorted(file string, match *regexp.Regexp, line string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	at := -1
	for i, l := range lines {
		if !match.MatchString(l) {
			continue
		}
		if at < 0 {
			at = i
		}
		if l < line {
			at = i + 1
		}
	}
	if at < 0 {
		return fmt.Errorf("%s has no line like %s", file, match)
	}
	return os.WriteFile(file, []byte(strings.Join(slices.Insert(lines, at, line), "\n")), 0o644)
}
