package trainingset_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/trainingset"
	"pitboss/test/shipped"
)

// BenchmarkTrainingSet writes the Parquet file of the loot-box recording, labels and all, and reports
// events per second of one core: CPU time, so that a busy machine tells the same.
func BenchmarkTrainingSet(b *testing.B) {
	path := filepath.Join("..", "..", dataset.Folder(), "csgo-openings-2023.csv.gz")
	if os.Getenv("PITBOSS_DATA") != "" {
		path = filepath.Join(dataset.Folder(), "csgo-openings-2023.csv.gz")
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		b.Skip("the data folder has no csgo-openings-2023.csv.gz")
	}
	set := shipped.Features(b)
	labels, err := feature.LoadLabels(models + "/labels.yaml")
	if err != nil {
		b.Fatal(err)
	}
	events, begin := int64(0), cpu()
	for b.Loop() {
		r, err := dataset.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		opt := trainingset.Options{Set: set, Labels: labels, Points: trainingset.Rounds}
		sink, err := trainingset.NewParquet(io.Discard, opt)
		if err != nil {
			b.Fatal(err)
		}
		totals, err := trainingset.Run(b.Context(), opt, func() (*event.Record, error) { return r.Next() }, sink)
		if err := errors.Join(err, sink.Close(), r.Close()); err != nil {
			b.Fatal(err)
		}
		events += totals.Events
	}
	b.ReportMetric(float64(events)/(cpu()-begin).Seconds(), "events/core-s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
