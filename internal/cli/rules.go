package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/policy"
)

// rulesCmd reads the rule packs.
func rulesCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "rules", Short: "check, explain and compare the rule packs (not legal advice)"}
	cmd.PersistentFlags().StringVar(&o.models, "models", env("MODELS_DIR", "models"), "folder of features.yaml, actions.yaml and rules")
	cmd.AddCommand(rulesCheckCmd(o), rulesExplainCmd(o), rulesDiffCmd(o), backtestCmd(o))
	return cmd
}

func rulesCheckCmd(o *oversight) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "compile actions and rules and run the examples beside each rule", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, _, err := o.policy()
			if err != nil {
				return err
			}
			rep, err := p.Check()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%d packs, %d rules, %d markers of harm, %d examples, %d actions: all good. Policy %s.\n",
				rep.Packs, rep.Rules, rep.Markers, rep.Tests, len(p.Actions()), p.Hash())
			fmt.Fprintf(out, "%d of the rules and markers, and %d of the packs' declarations, are not reviewed against their source. %s\n",
				rep.Unreviewed, rep.UnreviewedPacks, policy.Disclaimer)
			return nil
		},
	}
}

// jurisdictionCode matches an ISO 3166 code, as in account.registered.
var jurisdictionCode = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`)

func rulesExplainCmd(o *oversight) *cobra.Command {
	var at string
	var vocabulary bool
	cmd := &cobra.Command{
		Use: "explain [JURISDICTION | RULE]", Short: "print the rules of a jurisdiction, or one rule, with their sources", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if vocabulary {
				for _, v := range policy.Vocabulary() {
					fmt.Fprintf(out, "%-26s %s\n", v[0], v[1])
				}
				return nil
			}
			p, _, err := o.policy()
			if err != nil {
				return err
			}
			now := time.Now()
			if at != "" {
				if now, err = time.Parse(time.DateOnly, at); err != nil {
					return fmt.Errorf("rules: --at: %w", err)
				}
			}
			fmt.Fprintln(out, policy.Disclaimer)
			if len(args) == 0 {
				for _, name := range p.Packs() {
					k, _ := p.Pack(name)
					fmt.Fprintf(out, "%-8s %-24s %d rules of its own\n", name, k.Title, len(k.Rules))
				}
				return nil
			}
			if a, ok := p.Rule(args[0]); ok {
				explainRule(out, a, now)
				return nil
			}
			if _, ok := p.Pack(args[0]); !ok && !jurisdictionCode.MatchString(args[0]) {
				return fmt.Errorf("rules: %q is no rule, no pack and no jurisdiction (GB, CA-ON): `pitboss rules explain` lists the packs", args[0])
			}
			pack, rules := p.RulesOf(args[0], now)
			fmt.Fprintf(out, "\n%s is under pack %s on %s: %d rules in force. Deny overrides.\n\n", args[0], pack, now.Format(time.DateOnly), len(rules))
			for _, a := range rules {
				explainRule(out, a, now)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "print the rules of this day (YYYY-MM-DD) instead of today's")
	cmd.Flags().BoolVar(&vocabulary, "vocabulary", false, "list the names that expressions can use")
	return cmd
}

func explainRule(out io.Writer, a policy.Applied, now time.Time) {
	d := a.Rule
	fmt.Fprintf(out, "%s v%d (%s, %s, pack %s)\n  %s\n  holds for %v when %s\n", d.ID, d.Version, d.Effect, d.Severity, a.Pack, d.Words(), d.AppliesTo, d.When)
	if d.Cap != nil {
		fmt.Fprintf(out, "  at most %d of %s\n", d.Cap.Max, d.Cap.Count)
	}
	for _, t := range d.Tests {
		fmt.Fprintf(out, "    %-6s %s\n", t.Expect, t.Name)
	}
}

func rulesDiffCmd(o *oversight) *cobra.Command {
	return &cobra.Command{
		Use: "diff OLD [NEW]", Short: "show what changed between two folders of models (default of NEW: --models)", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, _, err := loadPolicy(args[0])
			if err != nil {
				return err
			}
			b, _, err := loadPolicy(append(args, o.models)[1])
			if err != nil {
				return err
			}
			changes := policy.Diff(a, b)
			for _, c := range changes {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", c.What, c.How)
			}
			if len(changes) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no rule, no marker and no action differs")
			}
			if stale := policy.Unversioned(changes); len(stale) > 0 {
				return fmt.Errorf("rules: changed without a new version: %s", strings.Join(stale, ", "))
			}
			return nil
		},
	}
}
