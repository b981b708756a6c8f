package setup_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/internal/setup"
)

const (
	child  = "SYSMON_TEST_CHILD"
	caller = "SYSMON_TEST_CALLER"
)

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "serve":
		serve()
	case "keep":
		if err := setup.KeepSysmonSteady(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Print(os.Getenv("GODEBUG"), " ", os.Getpid())
	default:
		os.Exit(m.Run())
	}
}

// serve does what a function does at a low rate, and prints how often its
// threads went to sleep.
func serve() {
	conn, err := net.Dial("tcp", os.Getenv(caller))
	if err != nil {
		panic(err)
	}
	before := switches()
	for {
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			break
		}
		for began := time.Now(); time.Since(began) < 200*time.Microsecond; {
		}
		_, _ = conn.Write([]byte("answer"))
	}
	fmt.Print(switches() - before)
}

func switches() (all int) {
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	for _, file := range threads {
		raw, _ := os.ReadFile(file)
		_, after, _ := strings.Cut(string(raw), "\nvoluntary_ctxt_switches:")
		n := 0
		_, _ = fmt.Sscan(after, &n)
		all += n
	}
	return all
}

// call asks a child that serves 300 times, 2 ms apart.
func call(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	for range 300 {
		time.Sleep(2 * time.Millisecond)
		_, _ = conn.Write([]byte("question"))
		_, _ = conn.Read(make([]byte, 64))
	}
}

func run(t *testing.T, role, godebug string) (out string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+role, "GODEBUG="+godebug)
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err, string(raw))
	}
	return string(raw), cmd.Process.Pid
}

// The setting is of the runtime's own and may change with a version of Go.
func TestSteadySysmonSavesThreadSwitches(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv(caller, l.Addr().String())
	count := func(godebug string) (n int) {
		go call(l)
		out, _ := run(t, "serve", godebug)
		if _, err := fmt.Sscan(out, &n); err != nil {
			t.Fatal(err, out)
		}
		return n
	}
	without, with := count(""), count(setup.SteadySysmon)
	t.Logf("thread switches of 300 calls: %d, steady %d", without, with)
	if with > without*2/3 {
		t.Errorf("%d thread switches with the setting, %d without", with, without)
	}
}

func TestKeepSysmonSteadyStartsTheProgramAnewOnce(t *testing.T) {
	for _, tc := range []struct{ before, after string }{
		{"", setup.SteadySysmon},
		{"madvdontneed=1", "madvdontneed=1," + setup.SteadySysmon},
		{"schedtrace=0", "schedtrace=0"},
	} {
		out, pid := run(t, "keep", tc.before)
		if want := fmt.Sprint(tc.after, " ", pid); out != want {
			t.Errorf("GODEBUG %q: %q, want %q", tc.before, out, want)
		}
	}
}

func TestFunctionsOnThePathKeepSysmonSteady(t *testing.T) {
	for _, name := range []string{"ingest", "profile", "score", "decide"} {
		raw, err := os.ReadFile("../../functions/" + name + "/func.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), "value: "+setup.SteadySysmon+"\n") {
			t.Errorf("%s: func.yaml does not set %s", name, setup.SteadySysmon)
		}
	}
}
