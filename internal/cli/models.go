package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"pitboss/internal/feature"
	"pitboss/internal/model"
)

// modelsCmd checks, lists and changes which models serve.
func modelsCmd() *cobra.Command {
	var dir, library string
	cmd := &cobra.Command{
		Use:   "models",
		Short: "check, list, promote and roll back models",
	}
	f := cmd.PersistentFlags()
	f.StringVar(&dir, "models", env("MODELS_DIR", "models"), "folder of the models")
	f.StringVar(&library, "onnxruntime", os.Getenv("ONNXRUNTIME_LIB"), "path of ONNX Runtime's library (default: where scripts/onnxruntime.sh puts it)")
	cmd.AddCommand(
		importCmd(&dir, &library),
		&cobra.Command{
			Use:   "check [FOLDER...]",
			Short: "load models as serving does, and try them on extreme rows",
			Long: "Loads each model folder (models/leave/v1), or every version there is, exactly as serving would (hash, shapes, operator sets,\n" +
				"golden vectors), scores rows of zeros, extremes and missing values, and reports what is wrong.",
			RunE: func(cmd *cobra.Command, folders []string) error {
				return checkModels(cmd.OutOrStdout(), dir, library, folders)
			},
		},
		&cobra.Command{
			Use:   "list",
			Short: "list every version and whether it serves",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return listModels(cmd.OutOrStdout(), dir) },
		},
		&cobra.Command{
			Use:   "promote NAME VERSION",
			Short: "make a version live; the one before becomes its shadow",
			Args:  cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return serveVersion(cmd.OutOrStdout(), dir, library, args[0], args[1], func(l model.Line) (model.Line, error) {
					if l.Live == args[1] {
						return l, fmt.Errorf("models: %s %s is live already", args[0], args[1])
					}
					return l.Promote(args[1]), nil
				})
			},
		},
		&cobra.Command{
			Use:   "shadow NAME VERSION",
			Short: "let a version score beside the live one, to compare them",
			Args:  cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return serveVersion(cmd.OutOrStdout(), dir, library, args[0], args[1], func(l model.Line) (model.Line, error) {
					if l.Live == args[1] || slices.Contains(l.Shadow, args[1]) {
						return l, fmt.Errorf("models: %s %s serves already: %s", args[0], args[1], l)
					}
					return l.WithShadow(args[1]), nil
				})
			},
		},
		&cobra.Command{
			Use:   "rollback NAME",
			Short: "make the version live that was live before",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return changeServing(cmd.OutOrStdout(), dir, args[0], func(l model.Line) (model.Line, error) {
					if l.Previous == "" {
						return l, fmt.Errorf("models: %s has no previous version in serving.yaml", args[0])
					}
					return l.Promote(l.Previous), nil
				})
			},
		},
	)
	return cmd
}

// serveVersion checks a version and then changes the model's line.
func serveVersion(out io.Writer, dir, library, name, version string, change func(model.Line) (model.Line, error)) error {
	if err := checkModels(io.Discard, dir, library, []string{filepath.Join(dir, name, version)}); err != nil {
		return err
	}
	return changeServing(out, dir, name, change)
}

// versions lists the folders NAME/VERSION below dir that hold a model.yaml.
func versions(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*", "*", "model.yaml"))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("models: no model below %s", dir)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found, err
}

func checkModels(out io.Writer, dir, library string, folders []string) error {
	set, err := loadFeatures(dir)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		if folders, err = versions(dir); err != nil {
			return err
		}
		if _, err := model.ReadServing(filepath.Join(dir, "serving.yaml")); err != nil {
			return err
		}
	}
	if err := model.OpenRuntime(model.Library(library)); err != nil {
		return err
	}
	empty, err := emptyVector(set)
	if err != nil {
		return err
	}
	var bad error
	for _, folder := range folders {
		m, err := model.LoadModel(folder, model.LoadOptions{Known: func(f string) bool { _, ok := empty[f]; return ok }})
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		if err := m.Probe(func(f string) float64 { return empty[f] }); err != nil {
			bad = errors.Join(bad, fmt.Errorf("models: %s: %w", folder, err), m.Close())
			continue
		}
		fmt.Fprintf(out, "%s: good; %s\n", m.Manifest.Key(), m.Explained)
		bad = errors.Join(bad, m.Close())
	}
	return bad
}

// emptyVector returns the features of a player without events.
func emptyVector(set *feature.Set) (map[string]float64, error) {
	st, err := set.Decode(nil)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for i, v := range set.Vector(nil, st, st.AsOf()) {
		out[set.Names()[i]] = v
	}
	return out, nil
}

func listModels(out io.Writer, dir string) error {
	folders, err := versions(dir)
	if err != nil {
		return err
	}
	serving, err := model.ReadServing(filepath.Join(dir, "serving.yaml"))
	if err != nil {
		return err
	}
	w := table(out, "MODEL\tVERSION\tROLE\tOUTPUT\tTRAINED WITH\tROWS\tSHA256")
	for _, folder := range folders {
		m, err := model.ReadManifest(folder, nil)
		if err != nil {
			return err
		}
		line, role := serving[m.Name], "-"
		switch {
		case line.Live == m.Version:
			role = "live"
		case slices.Contains(line.Shadow, m.Version):
			role = "shadow"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.Name, m.Version, role, m.Output, m.Trained.With, m.Trained.Rows, m.SHA256[:12])
	}
	return w.Flush()
}

// changeServing replaces one line of serving.yaml. It renames a new file over the old
// one, so that an instance never reads half a file.
func changeServing(out io.Writer, dir, name string, change func(model.Line) (model.Line, error)) error {
	path := filepath.Join(dir, "serving.yaml")
	serving, err := model.ReadServing(path)
	if err != nil {
		return err
	}
	old, ok := serving[name]
	if !ok {
		return fmt.Errorf("models: %s names no model %q", path, name)
	}
	next, err := change(old)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if body, err = model.SetLine(path, body, name, next); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", body, 0o644); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s\n  was: %s\n", name, next, old)
	return nil
}
