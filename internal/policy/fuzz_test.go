package policy

import (
	"bytes"
	"testing"
	"time"
)

// What is read of a contact history stays what it is when it is written and
// read again, in bytes and as the journal's text.
func FuzzContacts(f *testing.F) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	full := &Contacts{Bonuses: 1, Hold: at, Sent: []Sent{{Decision: "d", Kind: 1, Status: 2, Bonus: true, Action: 3, At: at, Expires: at.Add(time.Hour)}},
		Made: []Made{{Key: 1, Seq: 2, At: at}}, Raised: []Raised{{Code: 7, At: at}}}
	f.Add(full.Append(nil))
	f.Add((&Contacts{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseContacts(b)
		if err != nil {
			return
		}
		first := c.Append(nil)
		again, err := ParseContacts(first)
		if err != nil || !bytes.Equal(again.Append(nil), first) {
			t.Fatalf("%x became %x (%v)", first, again.Append(nil), err)
		}
		text, err := c.MarshalText()
		if err == nil {
			err = again.UnmarshalText(text)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
