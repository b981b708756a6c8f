package policy

import "time"

// Outcome is what a consuming team reported about a recommendation, as it is in the
// journal. It names no person.
type Outcome struct {
	Decision string    `json:"decision"`
	Status   string    `json:"status"` // delivered, accepted, dismissed, expired
	Channel  string    `json:"channel,omitzero"`
	Value    int64     `json:"value,omitzero"`
	At       time.Time `json:"at"`
}

// statuses maps the outcomes to their codes in a contact history.
var statuses = map[string]byte{"delivered": StatusDelivered, "accepted": StatusAccepted, "dismissed": StatusDismissed, "expired": StatusExpired}

// StatusOf returns the code of an outcome in a contact history, or 0 if there is no
// such outcome.
func StatusOf(outcome string) byte { return statuses[outcome] }

// Review is a person's verdict on a decision, as it is in the journal.
type Review struct {
	Decision string    `json:"decision"`
	Verdict  string    `json:"verdict"` // approved or overturned
	By       string    `json:"by"`
	Note     string    `json:"note,omitzero"`
	At       time.Time `json:"at"`
}

// StatusWord returns the word for a status code.
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

// KindWord returns the kind of action for a kind code.
func KindWord(kind byte) string {
	for _, word := range [...]string{Service, Protection, Marketing} {
		if word[0] == kind {
			return word
		}
	}
	return ""
}
