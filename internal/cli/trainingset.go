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

// trainingSetCmd writes point-in-time features and labels of recorded files or of the
// journal.
func trainingSetCmd() *cobra.Command {
	var out, models, points string
	var games, fromJournal bool
	o, since := &oversight{}, 90*24*time.Hour
	cmd := &cobra.Command{
		Use:   "training-set FILE... --out x.parquet",
		Short: "write features with labels, from recorded events or from the journal",
		Long: `Folds recorded events (bustabit.csv.gz, csgo-openings-2023.csv.gz, or CloudEvents as JSON, one a line)
exactly as serving does, and writes a row for each decision point: the features right after the event
and the labels of labels.yaml. The extension of --out selects Parquet (.parquet) or CSV (.csv).
Each file is a recording of its own: equal player ids in two files are different players.

With --from-journal the decision points are the journal's decisions, with the features that each was made from. The labels are those that
timer has settled since (labels.yaml's with a score; the others are empty). Decisions count only if they were made with this features.yaml
and their player was not erased. With --segments decisions that were written out count, too.`,
		Args: func(_ *cobra.Command, files []string) error {
			if fromJournal != (len(files) == 0) {
				return fmt.Errorf("training set: give files, or --from-journal")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			if fromJournal {
				o.models = models
				return o.journalTrainingSet(cmd, out, since, trainingset.Options{Games: games})
			}
			return writeTrainingSet(cmd.Context(), files, out, models, trainingset.Options{Points: trainingset.Points(points), Games: games}, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "training.parquet", "file to write: .parquet or .csv")
	f.StringVar(&models, "models", env("MODELS_DIR", "models"), "folder of features.yaml and labels.yaml")
	f.StringVar(&points, "points", string(trainingset.Rounds), "decision points: rounds (every settled round), score_when (those serving scores) or all")
	f.BoolVar(&games, "games", false, "add a column recent_games, which rankings of the next game are trained on")
	f.BoolVar(&fromJournal, "from-journal", false, "read the journal's decisions instead of files")
	f.Var((*days)(&since), "since", "with --from-journal: how far back, e.g. 30d")
	f.StringVar(&o.redis, "redis", redisURL(), "with --from-journal: where the journal is")
	f.StringVar(&o.segments, "segments", env("PITBOSS_SEGMENTS", ""), "with --from-journal: folder of the journal's Parquet segments")
	return cmd
}

// closer is a sink that must be closed to complete its file.
type closer interface {
	trainingset.Sink
	io.Closer
}

func writeTrainingSet(ctx context.Context, files []string, out, models string, opt trainingset.Options, log io.Writer) error {
	return fillTrainingSet(out, models, opt, func(opt trainingset.Options, sink trainingset.Sink) error {
		for _, name := range files {
			if err := foldFile(ctx, name, opt, sink, log); err != nil {
				return err
			}
		}
		return nil
	})
}

// journalTrainingSet is `pitboss training-set --from-journal`.
func (o *oversight) journalTrainingSet(cmd *cobra.Command, out string, since time.Duration, opt trainingset.Options) error {
	ctx := cmd.Context()
	if err := o.open(ctx); err != nil {
		return err
	}
	defer o.rdb.Close()
	written, err := o.written()
	if err != nil {
		return err
	}
	return fillTrainingSet(out, o.models, opt, func(opt trainingset.Options, sink trainingset.Sink) error {
		t, err := trainingset.FromJournal(ctx, o.journal, written, time.Now().Add(-since), opt, sink)
		if err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "journal: %d decisions: %d rows of %d players, %d of them labelled; %d of erased players and %d of another features.yaml are left out\n",
				t.Decisions, t.Rows, t.Players, t.Settled, t.Erased, t.Other)
		}
		return err
	})
}

// fillTrainingSet creates the file and has fill write its rows.
func fillTrainingSet(out, models string, opt trainingset.Options, fill func(trainingset.Options, trainingset.Sink) error) (err error) {
	if opt.Set, err = loadFeatures(models); err != nil {
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
	if err := fill(opt, sink); err != nil {
		return err
	}
	if err := errors.Join(sink.Close(), buf.Flush(), file.Close()); err != nil {
		return fmt.Errorf("training set: %w", err)
	}
	return os.Rename(file.Name(), out) // so that readers never see half a file
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
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // this process does nothing else, so it trades memory for time
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

// cpuTime is the CPU time that the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
