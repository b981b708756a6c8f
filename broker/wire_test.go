package broker

import (
	"net/http"
	"testing"

	"pitboss/internal/event"
)

// headers are those of a request that names and values were given for in turn.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// A message is as HTTP carries it, whatever mode it came in; what a function in
// this process or a dead letter gets is what the sender meant.
func TestMessagesAreEncodedOnTheWireAndDecodedForReaders(t *testing.T) {
	t.Parallel()
	binary, err := readHTTP(headers("Ce-Specversion", "1.0", "Ce-Id", "50%25", "Ce-Source", "/a%2520b", "Ce-Type", "t", "Ce-Subject", "ren%C3%A9e%20o", "Ce-Shop", "as it is: é"), nil)
	if err != nil {
		t.Fatal(err)
	}
	structured, err := readHTTP(headers("Content-Type", "Application/CloudEvents+JSON"),
		[]byte(`{"specversion":"1.0","id":"50%","source":"/a%20b","type":"t","subject":"renée o","shop":"as it is: é"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*message{binary, structured} {
		for name, want := range map[string]string{"id": "50%25", "source": "/a%2520b", "subject": "ren%C3%A9e%20o", "shop": "as%20it%20is:%20%C3%A9"} {
			if got := m.attribute(name); got != want || !m.plain {
				t.Errorf("%s is %q on the wire, want %q", name, got, want)
			}
		}
		e := m.event()
		if e.ID() != "50%" || event.Source(&e) != "/a%20b" || e.Subject() != "renée o" || e.Extensions()["shop"] != "as it is: é" {
			t.Errorf("the event is %s", e)
		}
		if again, err := messageOf(&e, nil); err != nil || again.attribute("subject") != m.attribute("subject") || again.attribute("source") != m.attribute("source") {
			t.Errorf("written again it is %v (%v)", again, err)
		}
	}
	for _, header := range [][]string{
		{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Id", "2", "Ce-Source", "/p", "Ce-Type", "t"},
		{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/p", "Ce-Type", "t", "Ce-Subject", "a%FFb"},
		{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/p", "Ce-Type", "t", "Ce-Subject", "100%"},
	} {
		if m, err := readHTTP(headers(header...), nil); err == nil {
			t.Errorf("%q was read as %v", header, m.attrs)
		}
	}
}
