package console_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sentences returns the texts in Go files, from formats and concatenations, with a hole for
// each value. blocks are the arguments of block(); refusals are the API's answers.
func sentences(t *testing.T, dirs ...string) (all, blocks, refusals map[string]bool) {
	t.Helper()
	all, blocks, refusals = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok {
					if text := textOf(e); strings.Trim(text, hole) != "" {
						all[text] = true
						all[strings.TrimPrefix(text, hole+": ")] = true // the text of an error that wraps another
					}
				}
				switch n := n.(type) {
				case *ast.CallExpr:
					switch f, _ := n.Fun.(*ast.Ident); {
					case f == nil:
					case f.Name == "block" && len(n.Args) > 1:
						blocks[textOf(n.Args[1])] = true
					case f.Name == "bad" || f.Name == "forbidden":
						refusals[textOf(n.Args[0])] = true
					}
				case *ast.CompositeLit:
					if f, _ := n.Type.(*ast.Ident); f != nil && f.Name == "problem" {
						refusals[textOf(n.Elts[1])] = true
					}
				}
				return true
			})
		}
	}
	return all, blocks, refusals
}

const hole = "\x00"

var (
	verb  = regexp.MustCompile(`%[sdvqw]`)
	value = regexp.MustCompile(`\{\w+\}`)
)

func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return verb.ReplaceAllString(s, hole)
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			x, y := textOf(e.X), textOf(e.Y)
			if x == hole && strings.HasPrefix(y, hole) {
				return y
			}
			return x + y
		}
	}
	return hole
}

// matches reports whether one of the messages, with any values, is text.
func matches(messages map[string]bool, text string) bool {
	for m := range messages {
		if ok, _ := regexp.MatchString("^"+strings.ReplaceAll(regexp.QuoteMeta(m), hole, ".+")+"$", text); ok {
			return true
		}
	}
	return false
}

// The page recognises the server's sentences by their English message. A sentence that
// changes here must change there, too, in every language.
func TestThePageKnowsWhatIsRecorded(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("ui/src/messages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var messages map[string]string
	if err := json.Unmarshal(raw, &messages); err != nil {
		t.Fatal(err)
	}
	all, blocks, refusals := sentences(t, "../../internal/policy", "../../internal/access", "../../internal/journal", "../../internal/openid", "../../internal/search", ".")
	// Sentences whose middle is assembled elsewhere.
	for _, whole := range []string{"There is no \x00 score: its model said nothing or is switched off. Marketing that needs it stops, protection goes on.",
		"There is no \x00 score: \x00 was not trained on such players. Marketing that needs it stops, protection goes on.",
		"There is no \x00 score: the player is too new for \x00. Marketing that needs it stops, protection goes on.",
		"what the message calls \x00 is not known", "text: it is the text that is in force", "console: not possible now: \x00", "not allowed there: \x00",
		"the sign-in service does not answer: \x00", "the change could not be journaled, so it was not made: \x00"} {
		all[whole] = true
	}
	known, n := map[string]bool{}, 0
	for key, text := range messages {
		if !strings.HasPrefix(key, "policy.") && !strings.HasPrefix(key, "refused.") {
			continue
		}
		n++
		text = strings.ReplaceAll(value.ReplaceAllString(text, hole), `"`+hole+`"`, hole)
		known[text] = true
		if !all[text] {
			t.Errorf("%s: nothing says %q", key, strings.ReplaceAll(text, hole, "…"))
		}
	}
	for text := range blocks {
		if !known[text] {
			t.Errorf("no message in policy.* for %q", strings.ReplaceAll(text, hole, "…"))
		}
	}
	for _, never := range []string{ // the page never causes these
		"only the console's own page may ask for this", "a change is sent as application/json", "the answer cannot be written as JSON: \x00", "body: \x00",
		"range is one of 1h, 6h, 24h, 7d and 30d", "what is jurisdiction, action, model or rule; name it, and the note says why",
		"file is actions.yaml, markers.yaml or rules/PACK.yaml, and hours is from 1 to 744",
	} {
		delete(refusals, never)
		if !all[never] {
			t.Errorf("nothing refuses with %q any more", never)
		}
	}
	for text := range refusals {
		if strings.Trim(text, hole) != "" && !matches(known, text) {
			t.Errorf("no message in refused.* for %q", strings.ReplaceAll(text, hole, "…"))
		}
	}
	if n < 70 || len(blocks) < 10 || len(refusals) < 15 {
		t.Errorf("%d messages, %d blocks, %d refusals: nothing was compared", n, len(blocks), len(refusals))
	}
}
