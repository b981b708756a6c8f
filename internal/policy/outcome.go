package policy

import "time"

// Outcome is what a consuming team told of a recommendation, as the journal
// has it. It names no person.
type Outcome struct {
	Decision string    `json:"decision"`
	Status   string    `json:"status"` // delivered, accepted, dismissed, expired
	Channel  string    `json:"channel,omitzero"`
	Value    int64     `json:"value,omitzero"`
	At       time.Time `json:"at"`
}

// statuses are the outcomes and their codes in a contact history.
var statuses = map[string]byte{"delivered": StatusDelivered, "accepted": StatusAccepted, "dismissed": StatusDismissed, "expired": StatusExpired}

// StatusOf is the code of an outcome in a contact history; 0: no such outcome.
func StatusOf(outcome string) byte { return statuses[outcome] }

// Review is a person's word on a decision, as the journal has it.
type Review struct {
	Decision string    `json:"decision"`
	Verdict  string    `json:"verdict"` // approved or overturned
	By       string    `json:"by"`
	Note     string    `json:"note,omitzero"`
	At       time.Time `json:"at"`
}

// StatusWord tells what became of a recommendation, in a word.
func StatusWord(status byte) string {
	switch status {
	case StatusOpen:
		return "open"
	case StatusRevoked:
		return "revoked"
	}
	for word, s := range statuses {
		if s == status {
			return word
		}
	}
	return ""
}

// KindWord is the kind of a sent recommendation, in a word.
func KindWord(kind byte) string {
	for _, word := range [...]string{Service, Protection, Marketing} {
		if word[0] == kind {
			return word
		}
	}
	return ""
}
