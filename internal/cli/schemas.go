package cli

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"pitboss/internal/event"
)

// schemasCmd prints the event catalogue, or the JSON Schema of one type.
func schemasCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schemas [TYPE]",
		Short: "list the event catalogue, or print the JSON Schema of one type",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				for _, i := range event.Types() {
					fmt.Fprintf(out, "%-9s %-45s %s\n", i.Direction, i.Type, i.Doc)
				}
				return nil
			}
			info, ok := event.Lookup(args[0])
			if !ok {
				return fmt.Errorf("schemas: %q is not in the catalogue; `pitboss schemas` lists it", args[0])
			}
			raw, err := json.Marshal(info.Schema(), json.Deterministic(true), jsontext.WithIndent("  "))
			fmt.Fprintln(out, string(raw))
			return err
		},
	}
}
