package cli

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"pitboss/internal/decide"
	"pitboss/internal/event"
)

// reviewCmd is the queue of decisions that a person must look at.
func reviewCmd() *cobra.Command {
	o := &office{}
	cmd := &cobra.Command{Use: "review", Short: "list, approve and overturn decisions that a person must look at"}
	o.flags(cmd)
	list := &cobra.Command{
		Use: "list", Short: "list what waits, the most urgent first", Args: cobra.NoArgs,
		RunE: o.inside(func(cmd *cobra.Command, _ []string) error {
			waiting, err := o.journal.Reviews(cmd.Context())
			if err != nil {
				return err
			}
			for _, w := range waiting {
				late := ""
				if time.Now().After(w.Deadline) {
					late = "  OVERDUE"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  until %s%s\n", w.Decision, w.Deadline.Format(time.RFC3339), late)
			}
			if len(waiting) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing waits")
			}
			return nil
		}),
	}
	cmd.AddCommand(list, verdictCmd(o, "approve", "approved"), verdictCmd(o, "overturn", "overturned"))
	return cmd
}

func verdictCmd(o *office, word, verdict string) *cobra.Command {
	var broker, by, note string
	cmd := &cobra.Command{
		Use: word + " DECISION", Short: word + " a decision: sends review.decided to the Broker", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			r, _, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if r.Input.Player == "" {
				return fmt.Errorf("review: the player of %s was erased", args[0])
			}
			if err := postReview(cmd, broker, r, event.ReviewDecided{Decision: args[0], Verdict: verdict, By: by, Note: note}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], verdict)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&broker, "broker", env("PITBOSS_BROKER", "http://127.0.0.1:8080"), "the Broker (or ingest) to POST to")
	f.StringVar(&by, "by", whoami(), "who looked")
	f.StringVar(&note, "note", "", "why, in plain words; no personal data")
	return cmd
}

// postReview sends review.decided in binary mode.
func postReview(cmd *cobra.Command, broker string, r *decide.Record, data event.ReviewDecided) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, broker, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": rand.Text(), "ce-source": "/pitboss-cli/review",
		"ce-type": event.TypeReviewDecided, "ce-subject": r.Input.Player, "ce-time": time.Now().UTC().Format(time.RFC3339Nano),
		"content-type": "application/json"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("review: the Broker answered %s: %s", resp.Status, answer)
	}
	return nil
}
