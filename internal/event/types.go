package event

import (
	"reflect"
	"sort"
)

// The event types. The names are pitboss.<noun>.<what happened>.v1.
const (
	TypeAccountRegistered = "pitboss.account.registered.v1"
	TypeAccountUpdated    = "pitboss.account.updated.v1"
	TypeAccountLinked     = "pitboss.account.linked.v1"
	TypeAccountUnlinked   = "pitboss.account.unlinked.v1"
	TypeConsentChanged    = "pitboss.consent.changed.v1"
	TypeExcluded          = "pitboss.protection.excluded.v1"
	TypeReinstated        = "pitboss.protection.reinstated.v1"
	TypeLimitSet          = "pitboss.protection.limit.set.v1"
	TypeLimitReached      = "pitboss.protection.limit.reached.v1"
	TypeIndicatorRaised   = "pitboss.protection.indicator.raised.v1"
	TypeSessionStarted    = "pitboss.session.started.v1"
	TypeSessionEnded      = "pitboss.session.ended.v1"
	TypeGameLaunched      = "pitboss.game.launched.v1"
	TypeGameFailed        = "pitboss.game.failed.v1"
	TypeRoundSettled      = "pitboss.round.settled.v1"
	TypeRoundRolledback   = "pitboss.round.rolledback.v1"
	TypePaymentDeposited  = "pitboss.payment.deposited.v1"
	TypePaymentWithdrawn  = "pitboss.payment.withdrawn.v1"
	TypePaymentFailed     = "pitboss.payment.failed.v1"
	TypeBonusGranted      = "pitboss.bonus.granted.v1"
	TypeBonusCompleted    = "pitboss.bonus.completed.v1"
	TypeSupportContacted  = "pitboss.support.contacted.v1"
	TypeDelivered         = "pitboss.recommendation.delivered.v1"
	TypeAccepted          = "pitboss.recommendation.accepted.v1"
	TypeDismissed         = "pitboss.recommendation.dismissed.v1"
	TypeExpired           = "pitboss.recommendation.expired.v1"
	TypePrivacyErase      = "pitboss.privacy.erase.v1"
	TypePrivacyExport     = "pitboss.privacy.export.v1"
	TypeReminderDue       = "pitboss.reminder.due.v1"
	TypePlayerUpdated     = "pitboss.player.updated.v1"
	TypePlayerScored      = "pitboss.player.scored.v1"
	TypeRecommendation    = "pitboss.recommendation.issued.v1"
	TypeSuppressed        = "pitboss.recommendation.suppressed.v1"
	TypeRevoked           = "pitboss.recommendation.revoked.v1"
	TypeReviewRequested   = "pitboss.review.requested.v1"
	TypeReviewDecided     = "pitboss.review.decided.v1"
	TypePrivacyErased     = "pitboss.privacy.erased.v1"
	TypePrivacyExported   = "pitboss.privacy.exported.v1"
	TypeSwitchTurned      = "pitboss.switch.turned.v1"
)

// Direction says who sends a type.
type Direction string

const (
	In       Direction = "in"       // game platforms and consuming teams
	Internal Direction = "internal" // Pitboss's own functions, to each other
	Out      Direction = "out"      // Pitboss, to consuming teams
)

// Info describes an event type.
type Info struct {
	Type      string
	Direction Direction
	Doc       string
	Fields    []Field // of flat data; CEL expressions may use them

	goType reflect.Type
	byName map[string]int
}

var infos = map[string]*Info{}

func register(typ string, dir Direction, data any, doc string) {
	info := &Info{Type: typ, Direction: dir, Doc: doc, goType: reflect.TypeOf(data)}
	info.Fields = fieldsOf(info.goType)
	info.byName = make(map[string]int, len(info.Fields))
	for i, f := range info.Fields {
		info.byName[f.Name] = i
	}
	infos[typ] = info
}

func init() {
	register(TypeAccountRegistered, In, AccountRegistered{}, "A player opened an account.")
	register(TypeAccountUpdated, In, Account{}, "An account's facts changed; absent fields stay as they were.")
	register(TypeAccountLinked, In, AccountLinked{}, "An account belongs to a person; what binds one of the person's accounts binds all of them.")
	register(TypeAccountUnlinked, In, AccountUnlinked{}, "An account does not belong to a person after all.")
	register(TypeConsentChanged, In, ConsentChanged{}, "A player opted in to or out of marketing for a product on a channel.")
	register(TypeExcluded, In, Excluded{}, "A player is excluded from gambling, by themselves, the operator or a register.")
	register(TypeReinstated, In, Reinstated{}, "A player actively returned after an exclusion ended.")
	register(TypeLimitSet, In, LimitSet{}, "A limit was set or changed.")
	register(TypeLimitReached, In, LimitReached{}, "A limit was reached.")
	register(TypeIndicatorRaised, In, IndicatorRaised{}, "A marker of harm was found (or cleared) outside Pitboss.")
	register(TypeSessionStarted, In, SessionStarted{}, "A session started.")
	register(TypeSessionEnded, In, SessionEnded{}, "A session ended.")
	register(TypeGameLaunched, In, GameLaunched{}, "A game loaded.")
	register(TypeGameFailed, In, GameFailed{}, "A game failed to load.")
	register(TypeRoundSettled, In, RoundSettled{}, "A round was played and settled.")
	register(TypeRoundRolledback, In, RoundRolledback{}, "A settled round is void and is undone exactly.")
	register(TypePaymentDeposited, In, Payment{}, "A deposit arrived.")
	register(TypePaymentWithdrawn, In, Payment{}, "A withdrawal was paid.")
	register(TypePaymentFailed, In, PaymentFailed{}, "A payment failed.")
	register(TypeBonusGranted, In, BonusGranted{}, "A bonus was granted.")
	register(TypeBonusCompleted, In, BonusCompleted{}, "The wagering requirement of a bonus was met.")
	register(TypeSupportContacted, In, SupportContacted{}, "The player contacted support.")
	register(TypeDelivered, In, Outcome{}, "A recommendation reached the player.")
	register(TypeAccepted, In, Outcome{}, "The player took up a recommendation.")
	register(TypeDismissed, In, Outcome{}, "The player dismissed a recommendation.")
	register(TypeExpired, In, Outcome{}, "A recommendation expired undelivered.")
	register(TypePrivacyErase, In, PrivacyRequest{}, "The player asked to be erased.")
	register(TypePrivacyExport, In, PrivacyRequest{}, "The player asked for a copy of their data.")
	register(TypeReminderDue, Internal, ReminderDue{}, "A reminder set by profile is due; timer sends it.")
	register(TypePlayerUpdated, Internal, PlayerUpdated{}, "A player's features, sent when a decision is due.")
	register(TypePlayerScored, Internal, PlayerScored{}, "A player's features with the models' scores.")
	register(TypeRecommendation, Out, Recommendation{}, "The next best action for a player.")
	register(TypeSuppressed, Out, Recommendation{}, "No action was sent, and why.")
	register(TypeRevoked, Out, Recommendation{}, "An issued recommendation must no longer be delivered.")
	register(TypeReviewRequested, Out, ReviewRequested{}, "A person must look at a decision before the deadline.")
	register(TypeReviewDecided, In, ReviewDecided{}, "A person looked at a decision: approved or overturned.")
	register(TypePrivacyErased, Out, PrivacyErased{}, "A player was erased; the event says whether an exclusion is kept.")
	register(TypePrivacyExported, Out, PrivacyExported{}, "A copy of a player's data is ready.")
	register(TypeSwitchTurned, Out, SwitchTurned{}, "A kill switch was turned, on or off; the subject is what it stops, not a player. decide acted on the switch itself, not on this event.")
}

// Lookup returns the description of an event type, or false.
func Lookup(typ string) (*Info, bool) {
	i, ok := infos[typ]
	return i, ok
}

// Outlives reports whether an event from before a player's erasure still counts. Exclusions do:
// they must not get lost, and the law requires the operator to keep them (GDPR art. 17(3)(b)).
// So does the news of the erasure itself, which every consumer must get.
func Outlives(typ string) bool {
	return typ == TypeExcluded || typ == TypeReinstated || typ == TypePrivacyErased
}

// Types returns every event type, sorted by name.
func Types() []*Info {
	out := make([]*Info, 0, len(infos))
	for _, i := range infos {
		out = append(out, i)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Type < out[b].Type })
	return out
}
