package cli

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// upliftCmd is `pitboss policy uplift`.
func upliftCmd(o *oversight) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use: "uplift", Short: "show the effect of each action against no message, by segment", Args: cobra.NoArgs,
		Long: `Compares players who got an action with those held out, at each player's first randomised decision about it (doubly robust, by the
probabilities of both). stayed: the player was seen again between 10 minutes and 24 hours later. harmed: a new marker of harm showed
within 24 hours. The intervals are 95 % confidence sequences, which stay valid however often one looks. The segments of players are
those of learning.yaml. They need the sealed parts, so erased players count only for everybody. With --segments decisions that were
written out count, too.`,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			effects, trials, err := o.uplift(cmd)
			if err != nil {
				return err
			}
			if as == "json" {
				return json.MarshalWrite(cmd.OutOrStdout(), reported(effects))
			}
			return printUplift(cmd.OutOrStdout(), effects, trials)
		}),
	}
	cmd.Flags().StringVar(&as, "as", "text", "text or json")
	return cmd
}

// mostTrials bounds the trials in memory.
const mostTrials = 5_000_000

// uplift finds the trials in the journal, in Redis and in segments.
func (o *oversight) uplift(cmd *cobra.Command) (policy.Effects, int, error) {
	ctx := cmd.Context()
	spec, err := o.learning()
	if err != nil {
		return nil, 0, err
	}
	p, _, err := o.policy()
	if err != nil {
		return nil, 0, err
	}
	seen := map[[3]string]bool{}
	trials := policy.NewTrials(p.Experiment(), func(player, action, arm string) bool {
		k := [3]string{player, action, arm}
		defer func() { seen[k] = true }()
		return seen[k]
	}, mostTrials)
	var last time.Time
	written, err := o.written()
	if err != nil {
		return nil, 0, err
	}
	err = o.journal.Opened(ctx, written, time.Time{}, func(e *journal.Entry) error {
		if e.Kind != journal.KindDecision {
			return nil
		}
		r, err := policy.Join(e.Open, e.Personal)
		if err != nil {
			return err
		}
		then, err := o.policyOf(ctx, r.Decision.Policy)
		if err != nil {
			return err
		}
		if e.Time.After(last) {
			last = e.Time
		}
		trials.Decision(e.KeyName, r.Input.Now, &r.Decision, r.Segments(spec, then.FeatureNames()))
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	effects := policy.Effects{}
	settled := trials.Settled(last)
	for _, t := range settled {
		effects.Add(t, policy.OutcomeStayed)
		effects.Add(t, policy.OutcomeHarmed)
	}
	return effects, len(settled), nil
}

func reported(es policy.Effects) (out []policy.Told) {
	for _, e := range es.All() {
		out = append(out, e.Tell())
	}
	return out
}

func printUplift(out io.Writer, es policy.Effects, trials int) error {
	fmt.Fprintf(out, "%d trials whose outcomes are known\n", trials)
	w := table(out, "ACTION\tARM\tOUTCOME\tSEGMENT\tSENT\tHELD OUT\tUPLIFT, 95 % AT ALL TIMES")
	for _, e := range reported(es) {
		segment := cmp.Or(e.Segment, "everybody")
		text := fmt.Sprintf("%+.3f [%+.3f, %+.3f]", e.Uplift, e.Low, e.High)
		if e.TooEarly {
			text = "too early to say"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", e.Action, e.Arm, e.Outcome, segment, e.Sent, e.Held, text)
	}
	return w.Flush()
}
