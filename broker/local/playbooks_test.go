package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// onThisMachine are the blocks of a playbook that work as they stand.
var onThisMachine = regexp.MustCompile("(?s)```sh\n# make run\n(.*?)```")

// Every command that a playbook says works on `make run` does, as it stands
// (but for the ports, which are free ones here), and says something.
func TestPlaybookCommandsWork(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus here: make test installs it (scripts/deps.sh prometheus)")
	}
	s := startSystem(t)
	d := &deployment{t: t, dir: t.TempDir(), metrics: map[string]string{"run": strings.TrimPrefix(s.url, "http://")}}
	p := d.prometheus(program)
	events := worldEvents(2000)
	s.send(events[:1000])
	d.await("scores are told", func() bool { return len(p.query(t, `pitboss_score_model_seconds_count > 0`)) > 0 })
	s.send(events[1000:])
	d.await("rates", func() bool { return len(p.query(t, `rate(pitboss_score_model_seconds_count[1m]) > 0`)) > 0 })

	pitboss := filepath.Join(d.dir, "pitboss")
	if err := os.WriteFile(pitboss, fmt.Appendf(nil, "#!/bin/sh\nPITBOSS_TEST_AS=pitboss exec %s \"$@\"\n", os.Args[0]), 0o700); err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("http://127.0.0.1:8080", s.url, "http://127.0.0.1:8081", s.ingest, "http://127.0.0.1:9090", p.url, "bin/pitboss", pitboss)
	files, _ := filepath.Glob("../../docs/playbooks/Pitboss*.md")
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := onThisMachine.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no command for make run", file)
		}
		for _, b := range blocks {
			for command := range strings.Lines(b[1]) {
				cmd := exec.Command("bash", "-o", "pipefail", "-c", here.Replace(command))
				cmd.Dir = "../.."
				out, err := cmd.Output()
				if err != nil || len(out) == 0 {
					t.Errorf("%s: %s: %v, said %q", filepath.Base(file), command, err, out)
				}
				n++
			}
		}
	}
	if n < 25 {
		t.Errorf("%d commands", n)
	}
}
