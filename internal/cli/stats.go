package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Stats is the answer of `pitboss run` to GET /stats: the results of the events since
// the last POST /stats/reset.
type Stats struct {
	Applied     int64            `json:"applied"`    // events that changed a player's state
	Duplicates  int64            `json:"duplicates"` // events already applied before
	Late        int64            `json:"late"`       // events older than the lateness window, which do not count
	Scored      int64            `json:"scored"`
	Issued      int64            `json:"issued"`
	Suppressed  map[string]int64 `json:"suppressed"` // by the rule that blocked the best action
	DeadLetters int64            `json:"dead_letters"`
	Pending     int64            `json:"pending"` // events that the Broker has not delivered yet
	P50Ms       float64          `json:"p50_ms"`  // from receipt by the Broker until the recommendation reached its consumer
	P99Ms       float64          `json:"p99_ms"`
}

// call sends a request to the Broker at base. It decodes the answer unless into is nil.
func call(ctx context.Context, method, base, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("stats: %s %s answered %s", method, req.URL, res.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.UnmarshalRead(res.Body, into); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	return nil
}
