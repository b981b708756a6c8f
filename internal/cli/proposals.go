package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// proposalsCmd lists and settles changes that wait for a second person.
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
			a, err := o.journal.Settle(cmd.Context(), p, verdict, who.by, "", time.Now().UTC())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", p.What, p.Subject, verdict)
			if a == nil {
				return nil
			}
			return o.finish(cmd, &who, a)
		}),
	}
	if verdict == journal.Approved {
		cmd.Long = `Approves a change that somebody else proposed. This command turns kill switches and promotes learned policies itself. The console, which
has the files, changes models, rule packs, markers and actions within a second of the approval.`
	}
	who.flags(cmd, "who settles it")
	return cmd
}

// finish carries out an approved change, or leaves it to the console.
func (o *oversight) finish(cmd *cobra.Command, who *person, a *journal.Approval) (err error) {
	ctx := cmd.Context()
	switch a.What {
	case journal.ProposeLearned:
		err = o.journal.PromoteLearned(ctx, a.Subject, []string{a.By, a.SettledBy}, a.Note, a.Settled)
	case journal.ProposeSwitchOff:
		c := journal.SwitchChange{Switch: a.Subject, By: a.By, Reason: a.Note, At: a.Settled, Approved: a.SettledBy}
		if err = o.journal.TurnOff(ctx, c, a.At); err == nil {
			o.turned(cmd, who, c)
		}
	default:
		return o.leaveToConsole(cmd, a)
	}
	if err != nil {
		return errors.Join(err, o.journal.PutBack(ctx, a, err.Error(), time.Now().UTC()))
	}
	return o.journal.Finished(ctx, a)
}

// consoleTakes is how long to wait for the console.
const consoleTakes = 10 * time.Second

// leaveToConsole waits until the console has made the change.
func (o *oversight) leaveToConsole(cmd *cobra.Command, a *journal.Approval) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), consoleTakes)
	defer cancel()
	if err := o.journal.HandOver(ctx, a); err != nil {
		return err
	}
	tick := time.NewTicker(consoleTakes / 50)
	defer tick.Stop()
	for {
		waits, err := o.journal.Approved(ctx, a.ID)
		if err == nil && !waits {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("proposals: %s is approved, but no console has made the change within %s: one will as soon as it runs", a.ID, consoleTakes)
		case <-tick.C:
		}
	}
	p, err := o.journal.FindProposal(ctx, a.ID, time.Now())
	if err == nil {
		return fmt.Errorf("proposals: the console could not make the change, so the proposal waits again: %s", p.Failed)
	}
	if !errors.Is(err, journal.ErrNotFound) {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "the console has made the change")
	return nil
}

// proposalsFor is how long a proposal waits for a second person.
const proposalsFor = 24 * time.Hour

// turn turns a switch and tells consuming teams, or proposes to turn it off if that takes
// two people.
func (o *oversight) turn(cmd *cobra.Command, who *person, c journal.SwitchChange) error {
	if !c.On {
		id, settled, err := o.propose(cmd, journal.Proposal{What: journal.ProposeSwitchOff, Subject: c.Switch, Note: c.Reason, By: c.By, At: c.At})
		if err != nil {
			return err
		}
		if !settled {
			fmt.Fprintf(cmd.OutOrStdout(), "%s stays on until another person approves: pitboss proposals approve %s, or the console\n", c.Switch, id)
			return nil
		}
	}
	if err := o.journal.Turn(cmd.Context(), c); err != nil {
		return err
	}
	o.turned(cmd, who, c)
	return nil
}

// turned tells the person and consuming teams that a switch was turned.
func (o *oversight) turned(cmd *cobra.Command, who *person, c journal.SwitchChange) {
	word := "off"
	if c.On {
		word = "on"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; every decide acts on it within a second\n", c.Switch, word)
	what, name, _ := strings.Cut(c.Switch, "/")
	err := who.tell(cmd, event.TypeSwitchTurned, c.Switch, event.SwitchTurned{What: what, Name: name, On: c.On, By: c.By, Reason: c.Reason})
	if err != nil { // the switch acts without the event
		fmt.Fprintln(cmd.ErrOrStderr(), "killswitch: it is turned and journaled, but the event that tells teams was not sent:", err)
	}
}
