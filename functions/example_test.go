package functions_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"pitboss/functions"
)

func ExampleNames() {
	fmt.Println(functions.Names())
	// Output: [console decide feedback ingest privacy profile score timer]
}

// A function is created by its name and configured as by its environment. ingest checks what
// a platform POSTs and forwards it to the Broker, which here is a server that prints.
func ExampleNew() {
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the Broker gets", r.Header.Get("Ce-Type"), "of", r.Header.Get("Ce-Subject"))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	ctx := context.Background()
	ingest, err := functions.New("ingest")
	if err != nil {
		log.Fatal(err)
	}
	if err := ingest.Start(ctx, map[string]string{"K_SINK": broker.URL}); err != nil {
		log.Fatal(err)
	}
	defer ingest.Stop(ctx)

	for _, data := range []string{
		`{"game":"book","product":"casino","stake":100,"win":0,"currency":"EUR"}`,
		`{"game":"book","product":"casino","stake":"a lot","win":0,"currency":"EUR"}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(data))
		for name, value := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "pitboss.round.settled.v1", "Ce-Source": "/platform",
			"Ce-Id": "1", "Ce-Subject": "alice", "Ce-Time": "2026-06-01T12:00:00Z", "Content-Type": "application/json"} {
			r.Header.Set(name, value)
		}
		r.RemoteAddr = "127.0.0.1:50000" // without keys or an issuer it serves this machine only
		w := httptest.NewRecorder()
		ingest.Handle(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// the Broker gets pitboss.round.settled.v1 of alice
	// 202
	// 400
}
