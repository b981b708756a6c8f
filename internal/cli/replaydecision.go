package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/learn"
	"pitboss/internal/model"
	"pitboss/internal/policy"
)

// replayDecisionCmd is `pitboss replay-decision DECISION`.
func replayDecisionCmd() *cobra.Command {
	o := &oversight{}
	var library string
	cmd := &cobra.Command{
		Use: "replay-decision DECISION", Short: "reproduce a decision bit for bit from its stored inputs", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			r, _, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p, err := o.policyOf(cmd.Context(), r.Decision.Policy)
			if err != nil {
				return err
			}
			if r.Decision.Learned != "" {
				m, err := o.candidate(cmd.Context(), r.Decision.Learned)
				if err != nil {
					return err
				}
				p = p.With(m)
			}
			if s := r.Decision.Shadow; s != nil {
				m, err := o.candidate(cmd.Context(), s.Learned)
				if err != nil {
					return err
				}
				p = p.WithShadow(m)
			}
			diff, err := p.Reproduce(r)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if diff != "" {
				return fmt.Errorf("replay-decision: the outcome differs: %s", diff)
			}
			fmt.Fprintf(out, "The decision is the same, bit for bit: %s (policy %s).\n", r.Decision.Action, p.Hash())
			return rescore(out, o.models, library, p, r)
		}),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&library, "onnxruntime", env("ONNXRUNTIME_LIB", ""), "ONNX Runtime's shared library")
	return cmd
}

// rescore runs the models with the stored hashes on the stored features.
func rescore(out io.Writer, models, library string, p *policy.Policy, r *policy.Record) error {
	if r.Input.Refreshed {
		fmt.Fprintln(out, "The scores are from an older state than the stored features, so the models are not run again.")
		return nil
	}
	dirs, err := filepath.Glob(filepath.Join(models, "*", "*", "model.yaml"))
	if err != nil {
		return fmt.Errorf("replay-decision: %w", err)
	}
	byHash := map[string]string{}
	for _, name := range dirs {
		if m, err := model.ReadManifest(filepath.Dir(name), nil); err == nil {
			byHash[m.SHA256] = filepath.Dir(name)
		}
	}
	opened := false
	for _, run := range r.Input.Models {
		dir, ok := byHash[run.SHA256]
		if !ok {
			fmt.Fprintf(out, "Model %s %s (sha256 %s) is not in %s, so it is not run again.\n", run.Name, run.Version, run.SHA256, models)
			continue
		}
		if !opened {
			if err := model.OpenRuntime(model.Library(library)); err != nil {
				return err
			}
			opened = true
		}
		if err := rescoreOne(out, dir, p, r, run); err != nil {
			return err
		}
	}
	return nil
}

func rescoreOne(out io.Writer, dir string, p *policy.Policy, r *policy.Record, run event.ModelRun) error {
	m, err := model.LoadModel(dir, model.LoadOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Manifest.Kind != model.KindProbability {
		fmt.Fprintf(out, "Model %s %s ranks games, so it is not run again.\n", run.Name, run.Version)
		return nil
	}
	at := map[string]float64{}
	for i, name := range p.FeatureNames() {
		at[name] = r.Input.Features[i]
	}
	row, err := m.Manifest.Row(at, &r.Input.Facts)
	if err != nil {
		return fmt.Errorf("replay-decision: stored: %w", err)
	}
	if run.Outside != "" {
		fmt.Fprintf(out, "Model %s %s gave no score: %s.\n", run.Name, run.Version, run.Outside)
		return nil
	}
	y := make([]float64, 1)
	if err := m.Score(row, y); err != nil {
		return err
	}
	if y[0] != run.Given() {
		return fmt.Errorf("replay-decision: model %s %s now gives %v, stored is %v", run.Name, run.Version, y[0], run.Given())
	}
	fmt.Fprintf(out, "Model %s %s (sha256 %s) gives %s = %v again, bit for bit.\n", run.Name, run.Version, run.SHA256, run.Output, y[0])
	if c := run.Calibrated; c != nil {
		again := learn.Calibration{Slope: c.Slope, Offset: c.Offset}.Apply(c.Raw)
		if again != run.Score {
			return fmt.Errorf("replay-decision: model %s %s: %v calibrated is now %v, stored is %v", run.Name, run.Version, c.Raw, again, run.Score)
		}
		fmt.Fprintf(out, "  Calibrated (slope %v, offset %v) that is %v, bit for bit.\n", c.Slope, c.Offset, again)
	}
	return nil
}
