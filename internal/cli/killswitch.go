package cli

import (
	"crypto/rand"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/model"
	"pitboss/internal/policy"
	"pitboss/internal/sink"
)

// killSwitchCmd turns kill switches.
func killSwitchCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "killswitch", Short: "stop a jurisdiction, action, model or rule within a second, without a deploy"}
	o.flags(cmd)
	cmd.AddCommand(turnCmd(o, "on", true), turnCmd(o, "off", false), &cobra.Command{
		Use: "list", Short: "list the switches that are on", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			on, err := o.journal.Switches(cmd.Context())
			for _, c := range on {
				fmt.Fprintf(cmd.OutOrStdout(), "%-32s since %s by %s: %s\n", c.Switch, c.At.Format(time.RFC3339), c.By, c.Reason)
			}
			if err == nil && len(on) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "none is on")
			}
			return err
		}),
	})
	return cmd
}

func turnCmd(o *oversight, word string, on bool) *cobra.Command {
	var who person
	var unknown bool
	cmd := &cobra.Command{
		Use: word + " WHAT NAME", Short: "turn a switch " + word + "; WHAT is jurisdiction, action, model or rule", Args: cobra.ExactArgs(2),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			what, name := args[0], args[1]
			if err := who.check("killswitch"); err != nil {
				return err
			}
			if err := o.switchable(cmd, what, name, on, unknown); err != nil {
				return err
			}
			c := journal.SwitchChange{Switch: policy.Switch(what, name), On: on, By: who.by, Reason: who.reason, At: time.Now().UTC()}
			return o.turn(cmd, &who, c)
		}),
	}
	who.flags(cmd, "who turns it")
	who.because(cmd)
	cmd.Flags().BoolVar(&unknown, "unknown", false, "turn it on although the files of --models do not have the name")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// switchable refuses a switch that would stop nothing, since one with a typo looks like
// one that works. Any switch that is on can be turned off.
func (o *oversight) switchable(cmd *cobra.Command, what, name string, on, unknown bool) error {
	if all := []string{"jurisdiction", "action", "model", "rule"}; !slices.Contains(all, what) {
		return fmt.Errorf("killswitch: %q can't be switched: WHAT is one of %s", what, strings.Join(all, ", "))
	}
	if !on {
		return o.isOn(cmd, policy.Switch(what, name))
	}
	if unknown {
		return nil
	}
	names, err := o.names(what)
	if err != nil {
		return fmt.Errorf("%w (--models says which files; --unknown turns the switch on without them)", err)
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("killswitch: there is no %s %q in %s, so it would stop nothing: want one of %s (or --unknown, if decide has other files)",
			what, name, o.models, strings.Join(names, ", "))
	}
	return nil
}

// isOn fails if the switch is not on.
func (o *oversight) isOn(cmd *cobra.Command, name string) error {
	on, err := o.journal.Switches(cmd.Context())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(on, func(c journal.SwitchChange) bool { return c.Switch == name }) {
		return fmt.Errorf("killswitch: %s is not on: `pitboss killswitch list` lists those that are", name)
	}
	return nil
}

// names returns the names that a switch of this kind can have, sorted.
func (o *oversight) names(what string) (out []string, err error) {
	if what == "model" {
		serving, err := model.ReadServing(filepath.Join(o.models, "serving.yaml"))
		for name := range serving {
			out = append(out, name)
		}
		// Without LearnedModel the values of actions.yaml decide; without CalibrationModel the raw scores do.
		out = append(out, policy.LearnedModel, policy.CalibrationModel)
		slices.Sort(out)
		return out, err
	}
	p, _, err := o.policy()
	if err != nil {
		return nil, err
	}
	switch what {
	case "action":
		for _, a := range p.Actions() {
			out = append(out, a.ID)
		}
	case "rule":
		for _, name := range p.Packs() {
			pack, _ := p.Pack(name)
			for _, r := range pack.Rules {
				out = append(out, r.ID)
			}
		}
	case "jurisdiction":
		for _, name := range p.Packs() {
			if pack, _ := p.Pack(name); !pack.Shared {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// person is who runs a command that changes something, why, and the Broker to tell.
type person struct{ broker, by, reason string }

func (p *person) flags(cmd *cobra.Command, by string) {
	cmd.Flags().StringVar(&p.broker, "broker", brokerURL(), "the Broker to POST to")
	p.named(cmd, by)
}

// named adds the flag for who runs the command.
func (p *person) named(cmd *cobra.Command, by string) {
	cmd.Flags().StringVar(&p.by, "by", whoami(), by)
}

// because adds the flag for the reason.
func (p *person) because(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.reason, "reason", "", "why; the journal keeps it")
}

// check fails if the person does not say who they are and why.
func (p *person) check(command string) error {
	if p.reason == "" || p.by == "" {
		return fmt.Errorf("%s: --reason and --by must say why and who: the journal keeps them", command)
	}
	return nil
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// source is the source of the commands' events, for [event.SourceOf].
const source = "cli"

// tell POSTs an event to the Broker, after checking it against the contract.
func (p *person) tell(cmd *cobra.Command, typ, subject string, data any) error {
	e, err := event.New(source, typ, subject, rand.Text(), time.Now().UTC(), data)
	if err != nil {
		return err
	}
	return p.post(cmd, e)
}

func (p *person) post(cmd *cobra.Command, e *ce.Event) error {
	if _, err := event.Parse(e, time.Now().UTC()); err != nil {
		return err
	}
	to := sink.New(p.broker, 10*time.Second, 1)
	defer to.Close()
	if err := to.Post(cmd.Context(), e); err != nil {
		return fmt.Errorf("%w (--broker or PITBOSS_BROKER says where the Broker is)", err)
	}
	return nil
}
