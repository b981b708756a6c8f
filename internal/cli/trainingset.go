package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/trainingset"
)

// trainingSetCmd writes point-in-time features and labels of recorded files.
func trainingSetCmd() *cobra.Command {
	var out, models, points string
	var games bool
	cmd := &cobra.Command{
		Use:   "training-set FILE... --out x.parquet",
		Short: "fold recorded events as serving does and write features with labels",
		Long: `Folds recorded events (bustabit.csv.gz, csgo-openings-2023.csv.gz, or CloudEvents as JSON, one a line)
exactly as serving does, and writes a row for each decision point: the features right after the event
and the labels of labels.yaml. The ending of --out chooses Parquet (.parquet) or CSV (.csv).
Several files are read one after the other, as one recording each: a player of one is not a player of the next.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return writeTrainingSet(cmd.Context(), files, out, models, trainingset.Options{Points: trainingset.Points(points), Games: games}, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "training.parquet", "file to write: .parquet or .csv")
	f.StringVar(&models, "models", env("MODELS_DIR", "models"), "folder of features.yaml and labels.yaml")
	f.StringVar(&points, "points", string(trainingset.Rounds), "decision points: rounds (every settled round), score_when (those serving scores) or all")
	f.BoolVar(&games, "games", false, "a column recent_games, too: what rankings of the next game are trained on")
	return cmd
}

// exportTrainingSet is `pitboss replay FILE --training-set OUT`.
func exportTrainingSet(cmd *cobra.Command, files []string, out string) error {
	return writeTrainingSet(cmd.Context(), files, out, env("MODELS_DIR", "models"), trainingset.Options{Points: trainingset.Rounds}, cmd.ErrOrStderr())
}

// closer is a sink that ends its file.
type closer interface {
	trainingset.Sink
	Close() error
}

func writeTrainingSet(ctx context.Context, files []string, out, models string, opt trainingset.Options, log io.Writer) (err error) {
	opt.Set, err = feature.Load(filepath.Join(models, "features.yaml"))
	if err != nil {
		return err
	}
	if opt.Labels, err = feature.LoadLabels(filepath.Join(models, "labels.yaml")); err != nil {
		return err
	}
	file, err := os.Create(out + ".partial")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	buf := bufio.NewWriterSize(file, 1<<20)
	sink, err := newSink(buf, out, opt)
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := foldFile(ctx, name, opt, sink, log); err != nil {
			return err
		}
	}
	if err := errors.Join(sink.Close(), buf.Flush(), file.Close()); err != nil {
		return fmt.Errorf("training set: %w", err)
	}
	return os.Rename(file.Name(), out) // readers never see half a file
}

func newSink(w io.Writer, out string, opt trainingset.Options) (closer, error) {
	switch filepath.Ext(out) {
	case ".parquet":
		return trainingset.NewParquet(w, opt)
	case ".csv":
		return trainingset.NewCSV(w, opt)
	}
	return nil, fmt.Errorf("training set: --out %s must end in .parquet or .csv", out)
}

func foldFile(ctx context.Context, name string, opt trainingset.Options, sink trainingset.Sink, log io.Writer) error {
	r, err := dataset.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // one big batch: memory is there to be used
	started, cpu := time.Now(), cpuTime()
	t, err := trainingset.Run(ctx, opt, func() (*event.Record, error) { return r.Next() }, sink)
	if err != nil {
		return err
	}
	s := time.Since(started).Seconds()
	fmt.Fprintf(log, "%s: %d events of %d players (%d duplicates, %d late, %d that serving does not fold, %d rollbacks of unknown rounds), %d rows; %.2f s, %.0f events/s, %.0f a second of one core\n",
		name, t.Events, t.Players, t.Duplicates, t.Late, t.Ignored, t.Unknown, t.Rows, s, float64(t.Events)/s, float64(t.Events)/(cpuTime()-cpu).Seconds())
	return nil
}

// cpuTime is what the process has used so far, all threads together.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
