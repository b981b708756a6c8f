package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// words describes a decision in one sentence: "Player 7f3c… in GB: the game failed to
// load twice; table offer by in-app: “…”; leave risk 0.81."
func words(d *decision) string {
	var b strings.Builder
	b.WriteString("Player " + short(d.Player))
	if d.Jurisdiction != "" {
		b.WriteString(" in " + d.Jurisdiction)
	}
	b.WriteString(": ")
	var parts []string
	for i, r := range d.Reasons {
		if i == 2 || d.Verdict == "suppressed" && d.Action != "none" {
			break // what says why it was suppressed
		}
		parts = append(parts, lower(strings.TrimRight(r.Text, ". ")))
	}
	parts = append(parts, what(d))
	parts = append(parts, risks(d.Scores)...)
	b.WriteString(strings.Join(parts, "; "))
	b.WriteByte('.')
	return b.String()
}

// what names the action and whether it was sent.
func what(d *decision) string {
	action := strings.ReplaceAll(d.Action, "_", " ")
	switch d.Verdict {
	case "issued":
		if d.Message != "" {
			return fmt.Sprintf("%s by %s: “%s”", action, channel(d.Channel), strings.TrimRight(fill(d.Message, d.Params), ". "))
		}
		return action + " by " + channel(d.Channel)
	case "revoked":
		if len(d.Takes) == 0 {
			return "nothing taken back"
		}
		names := make([]string, len(d.Takes))
		for i, t := range d.Takes {
			names[i] = t.words()
		}
		return "taken back: " + strings.Join(names, ", ")
	}
	if d.Action == "" || d.Action == "none" {
		return "nothing sent"
	}
	rule, text := d.blockedBy()
	if text != "" {
		return fmt.Sprintf("%s not sent: %s", action, lower(strings.TrimRight(text, ". ")))
	}
	return fmt.Sprintf("%s not sent (%s)", action, rule)
}

func (t taken) words() string {
	switch name := strings.ReplaceAll(t.Action, "_", " "); {
	case name == "":
		return "decision " + short(t.Decision)
	case t.Delivered:
		return name + " (delivered already)"
	default:
		return name
	}
}

// fill replaces the message's {placeholders} by the parameters.
func fill(message string, params map[string]any) string {
	for name, v := range params {
		message = strings.ReplaceAll(message, "{"+name+"}", fmt.Sprint(v))
	}
	return message
}

func channel(c string) string {
	if c == "" {
		return "any channel"
	}
	return strings.ReplaceAll(c, "_", "-")
}

// risks lists the scores, leave first.
func risks(scores map[string]float64) []string {
	var out []string
	names := slices.Sorted(maps.Keys(scores))
	slices.Reverse(names)
	if leave := slices.Index(names, "leave"); leave > 0 {
		names = slices.Insert(slices.Delete(names, leave, leave+1), 0, "leave")
	}
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s risk %.2f", n, scores[n]))
	}
	return out
}

// short keeps both ends of a long id, since ids often begin alike.
func short(id string) string {
	if r := []rune(id); len(r) > 16 {
		return string(r[:6]) + "…" + string(r[len(r)-6:])
	}
	return id
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// lower makes the first letter small, unless the text begins with an acronym.
func lower(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
