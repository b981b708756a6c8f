package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// proposalsCmd shows and settles changes that wait for a second person.
func proposalsCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "proposals", Short: "list, approve or withdraw changes that wait for a second person"}
	o.flags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "list the changes that wait, the oldest first", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			all, err := o.journal.Proposals(cmd.Context(), time.Now())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, p := range all {
				fmt.Fprintf(table, "%s\t%s\t%s\tby %s\tuntil %s\t%s\n", p.ID, p.What, p.Subject, p.By, p.Until.Format(time.RFC3339), p.Note)
			}
			if len(all) == 0 {
				fmt.Fprintln(table, "none waits")
			}
			return table.Flush()
		}),
	}, settleCmd(o, "approve", journal.Approved), settleCmd(o, "withdraw", journal.Withdrawn))
	return cmd
}

func settleCmd(o *oversight, word, verdict string) *cobra.Command {
	var who person
	cmd := &cobra.Command{
		Use: word + " ID", Short: word + " a change", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			p, err := o.journal.FindProposal(cmd.Context(), args[0], time.Now())
			if err != nil {
				return err
			}
			if verdict == journal.Approved && p.What != journal.ProposeSwitchOff && p.What != journal.ProposeLearned {
				return fmt.Errorf("proposals: %s is approved in the console, which holds the files it changes", p.What)
			}
			if err := o.journal.Settle(cmd.Context(), p, verdict, who.by, "", time.Now().UTC()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", p.What, p.Subject, verdict)
			if verdict == journal.Withdrawn {
				return nil
			}
			if err := o.carryOut(cmd, &who, p); err != nil {
				return errors.Join(err, o.journal.Restore(cmd.Context(), p))
			}
			return nil
		}),
	}
	who.flags(cmd, "who settles it")
	return cmd
}

// carryOut makes a change that was approved.
func (o *oversight) carryOut(cmd *cobra.Command, who *person, p journal.Proposal) error {
	now := time.Now().UTC()
	if p.What == journal.ProposeLearned {
		return o.journal.PromoteLearned(cmd.Context(), p.Subject, []string{p.By, who.by}, p.Note, now)
	}
	return o.turn(cmd, who, journal.SwitchChange{Switch: p.Subject, By: p.By, Reason: p.Note, At: now, Approved: who.by})
}

// proposalsFor is how long a proposal waits for a second person.
const proposalsFor = 24 * time.Hour

// proposeOff proposes to turn a switch off, where that takes two people.
func (o *oversight) proposeOff(cmd *cobra.Command, c journal.SwitchChange) (proposed bool, err error) {
	n, err := o.journal.Approvers(cmd.Context())
	if n == 1 || err != nil {
		return false, err
	}
	p, err := o.journal.Propose(cmd.Context(), journal.Proposal{What: journal.ProposeSwitchOff, Subject: c.Switch, Note: c.Reason, By: c.By, At: c.At, Until: c.At.Add(proposalsFor)})
	if err != nil {
		return false, err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s stays on until another person approves: pitboss proposals approve %s, or the console\n", c.Switch, p.ID)
	return true, nil
}

// turn turns a switch and tells the teams.
func (o *oversight) turn(cmd *cobra.Command, who *person, c journal.SwitchChange) error {
	if err := o.journal.Turn(cmd.Context(), c); err != nil {
		return err
	}
	word := "off"
	if c.On {
		word = "on"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; every decide acts on it within a second\n", c.Switch, word)
	what, name, _ := strings.Cut(c.Switch, "/")
	err := who.tell(cmd, event.TypeSwitchTurned, c.Switch, event.SwitchTurned{What: what, Name: name, On: c.On, By: c.By, Reason: c.Reason})
	if err != nil { // it acts all the same
		fmt.Fprintln(cmd.ErrOrStderr(), "killswitch: it is turned and journaled, but no team was told by event:", err)
	}
	return nil
}
