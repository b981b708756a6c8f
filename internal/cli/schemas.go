package cli

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"pitboss/internal/event"
)

// schemasCmd prints the event catalogue: as a list, as JSON Schema, or as AsyncAPI.
func schemasCmd() *cobra.Command {
	var asyncAPI bool
	cmd := &cobra.Command{
		Use:   "schemas [TYPE]",
		Short: "list the event catalogue, print the JSON Schema of one type, or all as an AsyncAPI document",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			var doc map[string]any
			switch {
			case asyncAPI:
				doc = event.AsyncAPI()
			case len(args) == 0:
				for _, i := range event.Types() {
					fmt.Fprintf(out, "%-9s %-45s %s\n", i.Direction, i.Type, i.Doc)
				}
				return nil
			default:
				info, ok := event.Lookup(args[0])
				if !ok {
					return fmt.Errorf("schemas: %q is not in the catalogue; `pitboss schemas` lists it", args[0])
				}
				doc = info.Schema()
			}
			raw, err := json.Marshal(doc, json.Deterministic(true), jsontext.WithIndent("  "))
			fmt.Fprintln(out, string(raw))
			return err
		},
	}
	cmd.Flags().BoolVar(&asyncAPI, "asyncapi", false, "print the whole catalogue as an AsyncAPI 3.0 document (JSON)")
	return cmd
}
