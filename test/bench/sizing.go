package bench

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Demand is the load of a deployment. Except for the first three fields it holds choices
// and assumptions, not measurements.
type Demand struct {
	EventsADay, Peak, Players    float64
	Busy                         float64 // share of a core to use at the peak
	NodeCores, ShardGB           float64
	Replicas                     int
	JournalDays                  float64
	PartitionMB, PartitionEvents float64
}

// Size is a deployment.
type Size struct {
	Demand
	From                *Report
	Mean, Top           float64 // events/s
	Due                 float64 // due decisions per event
	Cold                float64 // cost of profile and Redis with many players, as a multiple of that with few
	Cores               []Cores
	Nodes               int
	StateGB, JournalGB  float64
	ShardsCPU, ShardsGB int
	Messages, Bytes     float64 // through Kafka, per event, replies included
	Partitions          int
}

// Cores is what a component needs.
type Cores struct {
	Part      string
	Us, TopUs float64 // CPU of an event of the mix: at the busiest open-loop rate, and at full speed
	Mean, Top float64
}

func (s *Size) cores(part string, us, topUs float64) Cores {
	return Cores{Part: part, Us: us, TopUs: topUs, Mean: us * s.Mean / 1e6, Top: topUs * s.Top / 1e6}
}

// Size computes a deployment from a report. The mix gives how often a decision is due and
// the CPU by component: at the busiest open-loop rate for the day's mean, since an event
// costs more while there are few, and at full speed for the peak. With many players a
// state is seldom in memory, so profile and Redis cost more by the factor Cold. The
// functions alone give the bytes of messages and of the journal; the state path gives the
// bytes of a player.
func (d Demand) Size(r *Report) (*Size, error) {
	mix := r.most(RunMix, OverHTTP)
	switch {
	case mix.Events == 0:
		return nil, errors.New("sizing: the figures hold no mix: run pitboss-bench with --only mixed,parts,state or without --only")
	case len(r.Parts) != len(pathFunctions):
		return nil, errors.New("sizing: the figures hold no functions alone: run pitboss-bench with --only mixed,parts,state or without --only")
	case r.State == nil || r.State.PlayerBytes == 0:
		return nil, errors.New("sizing: the figures hold no bytes of a player: the state section needs the data folder (PITBOSS_DATA)")
	case d.EventsADay <= 0 || d.Peak < 1 || d.Players <= 0 || d.Busy <= 0 ||
		d.NodeCores <= 0 || d.ShardGB <= 0 || d.PartitionMB <= 0 || d.PartitionEvents <= 0:
		return nil, errors.New("sizing: every quantity must be above 0, --peak at least 1")
	}
	s := &Size{Demand: d, From: r, Mean: d.EventsADay / 86400, Due: float64(mix.Decided) / float64(mix.Events)}
	s.Top = s.Mean * d.Peak
	steady := r.busiest(RunMix, OverHTTP)
	s.Cold = r.State.cold()
	functions := Cores{Part: "functions"}
	for _, c := range components {
		factor := 1.0
		if c == "profile" || c == "redis" {
			factor = s.Cold
		}
		part := s.cores(c, factor*steady.CPUByPart[c], factor*mix.CPUByPart[c])
		s.Cores = append(s.Cores, part)
		if c != "broker" && c != "redis" {
			functions.Us, functions.TopUs = functions.Us+part.Us, functions.TopUs+part.TopUs
		}
	}
	functions = s.cores("functions, all three", functions.Us, functions.TopUs)
	proxy := r.State.ProxyCPUUs * (1 + 2*s.Due) // profile takes every event, score and decide those that are due
	s.Cores = append(s.Cores, s.cores("queue-proxies before them", proxy, proxy), functions)
	s.Nodes = ceil((functions.Top + s.cores("", 0, proxy).Top) / d.Busy / d.NodeCores)
	decide := r.Parts[len(r.Parts)-1]
	s.StateGB = d.Players * r.State.PlayerBytes / 1e9
	s.JournalGB = d.EventsADay * s.Due * d.JournalDays * decide.RedisBytes / 1e9
	s.ShardsCPU, s.ShardsGB = ceil(s.Cold*mix.CPUByPart["redis"]*s.Top/1e6/d.Busy), ceil((s.StateGB+s.JournalGB)/d.ShardGB)
	s.Messages = 1 + s.Due*float64(len(r.Parts))
	s.Bytes = r.Parts[0].EventBytes
	for _, p := range r.Parts {
		s.Bytes += s.Due * p.ReplyBytes
	}
	s.Partitions = max(ceil(s.Top*s.Bytes/1e6/d.PartitionMB), ceil(s.Top*s.Messages/d.PartitionEvents))
	return s, nil
}

func ceil(x float64) int { return max(1, int(math.Ceil(x))) }

// functionCores sums the cores of all functions at the day's mean.
const functionCores = 2.0

// Print writes the tables as Markdown, as docs/sizing.md has them.
func (s *Size) Print(w io.Writer) {
	fmt.Fprintf(w, "Measured: %s, commit %s, %s, load average before %s.\n\n",
		s.From.Machine, s.From.Commit, s.From.Began.Format("2006-01-02 15:04"), s.From.LoadAvg)
	fmt.Fprintf(w, "%.0f million events a day: %.0f events/s on average, %.0f at the peak (%.1f times). A decision is due on %.2f %% of events.\n\n",
		s.EventsADay/1e6, s.Mean, s.Top, s.Peak, 100*s.Due)
	fmt.Fprintf(w, "The figures of profile and Redis are multiplied by %.2f: they took that much more with the most players measured.\n\n", s.Cold)
	t := &strings.Builder{}
	fmt.Fprintln(t, "component\tCPU µs an event\tat the peak\tcores, mean\tcores, peak\tcore-hours a month")
	for _, c := range s.Cores {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t%.2f\t%.0f\n", c.Part, c.Us, c.TopUs, c.Mean, c.Top, c.Mean*24*365/12)
	}
	markdown(w, t.String())
	all := s.Cores[len(s.Cores)-1]
	verdict := "**under**"
	if all.Mean > functionCores {
		verdict = "**not under**"
	}
	fmt.Fprintf(w, "\nThe day's events take %.2f cores of the functions on average: %s the goal of %.0f.\n\n", all.Mean, verdict, functionCores)
	t.Reset()
	row := func(what, how, n string) { fmt.Fprintf(t, "%s\t%s\t%s\n", what, how, n) }
	row("what", "how", "how many")
	journal := s.From.Parts[len(s.From.Parts)-1].RedisBytes
	row("nodes for the functions",
		fmt.Sprintf("%.1f cores at the peak with queue-proxies, %.0f %% busy, %.0f a node", all.Top+s.Cores[len(s.Cores)-2].Top, 100*s.Busy, s.NodeCores),
		fmt.Sprint(s.Nodes))
	row("Redis, state", fmt.Sprintf("%.0f million players, %.0f bytes each (mean)", s.Players/1e6, s.From.State.PlayerBytes),
		fmt.Sprintf("%.0f GB", s.StateGB))
	row("Redis, journal and contacts", fmt.Sprintf("%.1f days of decisions, %.0f bytes each", s.JournalDays, journal),
		fmt.Sprintf("%.0f GB", s.JournalGB))
	shards := max(s.ShardsCPU, s.ShardsGB)
	row("Redis shards", fmt.Sprintf("%d by memory (%.0f GB each), %d by CPU at the peak", s.ShardsGB, s.ShardGB, s.ShardsCPU),
		fmt.Sprintf("%d, and %d replicas", shards, shards*s.Replicas))
	row("Kafka", fmt.Sprintf("%.2f messages an event, %.0f bytes, all hops", s.Messages, s.Bytes), fmt.Sprintf("%.1f MB/s at the peak", s.Top*s.Bytes/1e6))
	row("Kafka partitions", fmt.Sprintf("%.0f MB/s or %.0f messages/s each (assumed)", s.PartitionMB, s.PartitionEvents), fmt.Sprint(s.Partitions))
	markdown(w, t.String())
}
