package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"pitboss/internal/model"
)

// errUnanswered ends an import that has questions.
var errUnanswered = errors.New("models: import: nothing was written: answer the questions above with the flags they name")

// importCmd makes a model version from an ONNX file.
func importCmd(dir, library *string) *cobra.Command {
	var a model.Answers
	cmd := &cobra.Command{
		Use:   "import FILE.onnx",
		Short: "make a model version from an ONNX file of any exporter",
		Long: "Writes models/NAME/VERSION (model.onnx, model.yaml, golden.json) from what the file says, and loads it as serving would. " +
			"If the file does not say everything, it asks for the rest, writes nothing and exits with status 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := loadFeatures(*dir)
			if err != nil {
				return err
			}
			if err := model.OpenRuntime(model.Library(*library)); err != nil {
				return err
			}
			empty, err := emptyVector(set)
			if err != nil {
				return err
			}
			a.Known = func(f string) bool { _, ok := empty[f]; return ok }
			m, questions, err := model.Import(args[0], *dir, a)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, q := range questions {
				fmt.Fprintln(out, q)
			}
			if len(questions) > 0 {
				return errUnanswered
			}
			man := m.Manifest
			fmt.Fprintf(out, "%s: good; %s\n", filepath.Join(*dir, man.Name, man.Version), m.Explained)
			if err := m.Probe(func(f string) float64 { return empty[f] }); err != nil {
				fmt.Fprintf(out, "  but %v: `pitboss models check` refuses it\n", err)
			}
			if a.Expected == "" {
				fmt.Fprintln(out, "  golden scores are those of this ONNX Runtime: name a column of the exporter's scores by --expected to prove the export")
			}
			fmt.Fprintf(out, "  next: add it to the shadow in %s: %s: {live: …, shadow: [%s]}\n", filepath.Join(*dir, "serving.yaml"), man.Name, man.Version)
			return m.Close()
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.Name, "name", "", "name of the model: the folder below the models folder")
	f.StringVar(&a.Version, "version", "", "its version: the folder below that")
	f.StringVar(&a.Output, "score", "", "name of the score in player.scored (default: the model's name)")
	f.StringSliceVar(&a.Columns, "features", nil, "the columns, in the order of training")
	f.StringVar(&a.OutputTensor, "output-tensor", "", "the output that holds the score")
	f.StringVar(&a.Class, "class", "", "the class whose probability is the score")
	f.StringVar(&a.Rows, "rows", "", "CSV of training rows with a header")
	f.StringVar(&a.Expected, "expected", "", "column of --rows with the exporter's own scores")
	return cmd
}
