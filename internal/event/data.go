package event

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// This file has the data of each event type. Field tags: json is the name on the wire and in
// CEL expressions; schema has the checks (see schema.go); doc is the description in the JSON
// Schema. Money is in integer minor units (pence, öre, cents) with an ISO 4217 currency.

// The enumerations that several types share.
const (
	// Products lists the products as an enumeration of the schema.
	Products      = "casino|live|sports|poker|bingo|lottery"
	productsOrAll = Products + "|all"
	channels      = "in_app|push|email|sms|phone|post"
	channelsOrAll = channels + "|all"
	categories    = "slots|table|crash|instant|poker|bingo|lottery|pre_match|in_play|virtual"
)

// Account is the data of account.registered and account.updated.
type Account struct {
	Jurisdiction string `json:"jurisdiction,omitzero" schema:"pattern=jurisdiction" doc:"ISO 3166-1 country, or country-subdivision, whose law applies to the player, e.g. GB, SE, CA-ON"`
	BirthDate    string `json:"birth_date,omitzero" schema:"format=date" doc:"date of birth, YYYY-MM-DD; without it marketing is never sent"`
	Brand        string `json:"brand,omitzero" schema:"max=64" doc:"the brand the player is registered with"`
	Currency     string `json:"currency,omitzero" schema:"pattern=currency" doc:"ISO 4217 currency of the account"`
	Tier         string `json:"tier,omitzero" schema:"max=32" doc:"loyalty tier, as the platform names it"`
	TimeZone     string `json:"time_zone,omitzero" schema:"max=64" doc:"IANA time zone, e.g. Europe/Stockholm; quiet hours are the player's own"`
	Licensee     string `json:"licensee,omitzero" schema:"max=64" doc:"the company whose licence the player plays under; absent: the operator's default"`
	// Affordability is how the latest check of the player's finances ended.
	Affordability string `json:"affordability,omitzero" schema:"enum=clear|vulnerable|pending" doc:"how the latest financial check ended: clear, vulnerable, or pending"`
}

// AccountRegistered is the data of account.registered.
type AccountRegistered struct {
	Jurisdiction string `json:"jurisdiction" schema:"required,pattern=jurisdiction" doc:"ISO 3166-1 country, or country-subdivision, whose law applies to the player, e.g. GB, SE, CA-ON"`
	BirthDate    string `json:"birth_date,omitzero" schema:"format=date" doc:"date of birth, YYYY-MM-DD; without it marketing is never sent"`
	Brand        string `json:"brand" schema:"required,min=1,max=64" doc:"the brand the player is registered with"`
	Currency     string `json:"currency" schema:"required,pattern=currency" doc:"ISO 4217 currency of the account"`
	Tier         string `json:"tier,omitzero" schema:"max=32" doc:"loyalty tier, as the platform names it"`
	TimeZone     string `json:"time_zone,omitzero" schema:"max=64" doc:"IANA time zone, e.g. Europe/Stockholm; quiet hours are the player's own"`
	Licensee     string `json:"licensee,omitzero" schema:"max=64" doc:"the company whose licence the player plays under; absent: the operator's default"`
	// Affordability is how the latest check of the player's finances ended.
	Affordability string `json:"affordability,omitzero" schema:"enum=clear|vulnerable|pending" doc:"how the latest financial check ended: clear, vulnerable, or pending"`
}

// AccountLinked is the data of account.linked: the account belongs to a person. Events of their
// own link the person's other accounts. An exclusion of one account excludes all of them.
type AccountLinked struct {
	Person     string `json:"person" schema:"required,min=1,max=128,pattern=id" doc:"the operator's own id of the person, the same for all of the person's accounts; not a name"`
	Reason     string `json:"reason" schema:"required,enum=declared|identity|payment|device|address|register|staff" doc:"why the account is believed to be this person's"`
	Confidence int64  `json:"confidence" schema:"required,min=1,max=100" doc:"how sure the operator is, in percent; link_confidence in actions.yaml says from which value on the link binds"`
}

// AccountUnlinked is the data of account.unlinked.
type AccountUnlinked struct {
	Person string `json:"person" schema:"required,min=1,max=128,pattern=id" doc:"the person that the account does not belong to"`
	Reason string `json:"reason,omitzero" schema:"max=256" doc:"why, in plain words; no personal data"`
}

// ConsentChanged is the data of consent.changed: one product × channel.
type ConsentChanged struct {
	Product string `json:"product" schema:"required,enum=products-or-all" doc:"the product the consent is about"`
	Channel string `json:"channel" schema:"required,enum=channels-or-all" doc:"the channel the consent is about"`
	Granted bool   `json:"granted" schema:"required" doc:"true: opted in; false: opted out"`
	Origin  string `json:"origin,omitzero" schema:"enum=site|app|phone|post|shop|partner|import" doc:"where the player said so"`
	// Given is for consents that are reported later than they were given, as by an import.
	Given time.Time `json:"given,omitzero" doc:"when the player said so, if before the event; absent: the event's time"`
}

// Excluded is the data of protection.excluded.
type Excluded struct {
	Scheme string    `json:"scheme" schema:"required,min=1,max=32" doc:"who excluded the player: operator, or a register such as GAMSTOP, Spelpaus, OASIS, CRUKS, BetStop"`
	Until  time.Time `json:"until,omitzero" doc:"when the exclusion ends; absent: no end"`
}

// Reinstated is the data of protection.reinstated: the player actively returned.
type Reinstated struct {
	Scheme string `json:"scheme" schema:"required,min=1,max=32" doc:"the scheme whose exclusion is lifted"`
}

// LimitSet is the data of protection.limit.set.
type LimitSet struct {
	Limit    string `json:"limit" schema:"required,enum=deposit|loss|stake|time" doc:"what is limited"`
	Period   string `json:"period" schema:"required,enum=round|session|day|week|month" doc:"over which period"`
	Amount   int64  `json:"amount" schema:"required,min=0" doc:"minor units of currency; seconds for a time limit"`
	Currency string `json:"currency,omitzero" schema:"pattern=currency" doc:"ISO 4217"`
	Basis    string `json:"basis,omitzero" schema:"enum=gross|net" doc:"gross: withdrawals do not count against the limit; net: they do"`
	Previous int64  `json:"previous,omitzero" schema:"min=0" doc:"the previous limit, minor units or seconds; absent: there was none"`
}

// LimitReached is the data of protection.limit.reached.
type LimitReached struct {
	Limit  string `json:"limit" schema:"required,enum=deposit|loss|stake|time" doc:"what was limited"`
	Period string `json:"period" schema:"required,enum=round|session|day|week|month" doc:"over which period"`
}

// IndicatorRaised is the data of protection.indicator.raised: a marker of harm
// found outside Pitboss (customer contact, a regulator's register, staff).
type IndicatorRaised struct {
	Group    string `json:"group" schema:"required,enum=spend|spend_pattern|time|behaviour|contact|tools|account" doc:"indicator group (UKGC LCCP SR 3.4.3)"`
	Strength string `json:"strength" schema:"required,enum=none|low|strong" doc:"none clears the group"`
	Note     string `json:"note,omitzero" schema:"max=256" doc:"why, in plain words; no personal data"`
}

// SessionStarted is the data of session.started.
type SessionStarted struct {
	Device string `json:"device,omitzero" schema:"max=64" doc:"web, ios, android, …"`
}

// SessionEnded is the data of session.ended.
type SessionEnded struct {
	DurationS int64 `json:"duration_s,omitzero" schema:"min=0" doc:"length of the session in seconds"`
}

// GameLaunched is the data of game.launched.
type GameLaunched struct {
	Game     string `json:"game" schema:"required,min=1,max=128" doc:"game id"`
	Product  string `json:"product,omitzero" schema:"enum=products" doc:"product"`
	LoadMs   int64  `json:"load_ms,omitzero" schema:"min=0,max=600000" doc:"time to load, milliseconds"`
	Category string `json:"category,omitzero" schema:"enum=categories" doc:"kind of game; distinguishes slots from table games"`
}

// GameFailed is the data of game.failed.
type GameFailed struct {
	Game     string `json:"game" schema:"required,min=1,max=128" doc:"game id"`
	Product  string `json:"product,omitzero" schema:"enum=products" doc:"product"`
	LoadMs   int64  `json:"load_ms,omitzero" schema:"min=0,max=600000" doc:"time until it failed, milliseconds"`
	Error    string `json:"error" schema:"required,min=1,max=256" doc:"error code or message"`
	Category string `json:"category,omitzero" schema:"enum=categories" doc:"kind of game; distinguishes slots from table games"`
}

// RoundSettled is the data of round.settled.
type RoundSettled struct {
	Game       string `json:"game" schema:"required,min=1,max=128" doc:"game id"`
	Product    string `json:"product" schema:"required,enum=products" doc:"product"`
	Stake      int64  `json:"stake" schema:"required,min=0" doc:"stake in minor units"`
	Win        int64  `json:"win" schema:"required,min=0" doc:"amount won in minor units; 0: lost"`
	Currency   string `json:"currency" schema:"required,pattern=currency" doc:"ISO 4217"`
	BonusStake int64  `json:"bonus_stake,omitzero" schema:"min=0" doc:"part of the stake paid with bonus money, minor units"`
	DurationMs int64  `json:"duration_ms,omitzero" schema:"min=0,max=86400000" doc:"length of the round, milliseconds"`
	Category   string `json:"category,omitzero" schema:"enum=categories" doc:"kind of game; distinguishes slots from table games"`
}

// RoundRolledback is the data of round.rolledback. It repeats the round's own data.
type RoundRolledback struct {
	Round   string    `json:"round" schema:"required,min=1,max=256,pattern=id" doc:"id of the round.settled event that is undone (same source)"`
	Settled time.Time `json:"settled" schema:"required" doc:"time attribute of that event"`
	Reason  string    `json:"reason,omitzero" schema:"max=256" doc:"why"`
	RoundSettled
}

// Payment is the data of payment.deposited and payment.withdrawn.
type Payment struct {
	Amount   int64  `json:"amount" schema:"required,min=1" doc:"minor units"`
	Currency string `json:"currency" schema:"required,pattern=currency" doc:"ISO 4217"`
	Method   string `json:"method,omitzero" schema:"max=64" doc:"card, bank, wallet, …"`
}

// PaymentFailed is the data of payment.failed.
type PaymentFailed struct {
	Operation string `json:"operation" schema:"required,enum=deposit|withdrawal" doc:"what failed"`
	Amount    int64  `json:"amount" schema:"required,min=1" doc:"minor units"`
	Currency  string `json:"currency" schema:"required,pattern=currency" doc:"ISO 4217"`
	Method    string `json:"method,omitzero" schema:"max=64" doc:"card, bank, wallet, …"`
	Error     string `json:"error" schema:"required,min=1,max=256" doc:"error code or message"`
	Cancelled bool   `json:"cancelled,omitzero" doc:"true: the player took the request back, nothing went wrong"`
}

// BonusGranted is the data of bonus.granted.
type BonusGranted struct {
	Bonus    string `json:"bonus" schema:"required,min=1,max=128" doc:"bonus id"`
	Amount   int64  `json:"amount" schema:"required,min=0" doc:"minor units"`
	Currency string `json:"currency" schema:"required,pattern=currency" doc:"ISO 4217"`
}

// BonusCompleted is the data of bonus.completed.
type BonusCompleted struct {
	Bonus string `json:"bonus" schema:"required,min=1,max=128" doc:"bonus id"`
}

// SupportContacted is the data of support.contacted.
type SupportContacted struct {
	Topic   string `json:"topic" schema:"required,min=1,max=64" doc:"payment, game, account, harm, …"`
	Channel string `json:"channel,omitzero" schema:"max=32" doc:"chat, email, phone, …"`
}

// Outcome is the data of recommendation.delivered, .accepted, .dismissed and .expired, which
// the consuming team sends.
type Outcome struct {
	Recommendation string `json:"recommendation" schema:"required,min=1,max=128" doc:"id of the recommendation.issued event"`
	Channel        string `json:"channel,omitzero" schema:"enum=channels" doc:"where it was shown"`
	Value          int64  `json:"value,omitzero" doc:"what it was worth, minor units, if known"`
}

// PrivacyRequest is the data of privacy.erase and privacy.export.
type PrivacyRequest struct {
	Request string `json:"request" schema:"required,min=1,max=128" doc:"the operator's reference for the request"`
}

// ReminderDue is the data of reminder.due, which timer sends.
type ReminderDue struct {
	Reminder string    `json:"reminder" schema:"required,min=1,max=64" doc:"name declared in features.yaml"`
	Due      time.Time `json:"due" schema:"required" doc:"when it was due"`
}

// Trigger names the event that caused a decision.
type Trigger struct {
	Type   string    `json:"type"`
	Source string    `json:"source"`
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
}

// PlayerUpdated is the data of player.updated: a player's features right after the trigger
// event was folded.
type PlayerUpdated struct {
	// Version of the player's state, opaque: 16 hex digits. It changes with
	// every commit and never repeats for a player.
	Version string    `json:"version"`
	AsOf    time.Time `json:"as_of"`
	Trigger Trigger   `json:"trigger"`
	// Due holds the names of the score_when conditions that asked for a decision.
	Due []string `json:"due"`
	// Features maps each declared feature to its value (a JSON object of numbers, in order
	// of declaration).
	Features jsontext.Value `json:"features"`
	// FeatureSet is the hash of the declarations with which the features were computed.
	FeatureSet string `json:"feature_set"`
	Facts      Facts  `json:"facts"`
}

// PlayerScored is the data of player.scored.
type PlayerScored struct {
	PlayerUpdated
	Scores  map[string]float64 `json:"scores"` // by output name: leave, harm
	Models  []ModelRun         `json:"models"`
	Ranking []Ranked           `json:"ranking,omitempty"` // next games, best first
}

// ModelRun is a model's score of a player, with its explanation.
type ModelRun struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	SHA256  string  `json:"sha256"`
	Output  string  `json:"output"`
	Score   float64 `json:"score"`
	Shadow  bool    `json:"shadow,omitzero"` // scored for comparison only, never decided on
	// Calibrated has the model's own score and the calibration that turned it into Score. If
	// it is nil, Score is the model's own.
	Calibrated *Calibrated `json:"calibrated,omitempty"`
	// Outside says why the model does not score the player: they differ from the players
	// that it was trained on. Score is then 0 without a meaning.
	Outside string `json:"outside,omitzero"`
	// TooNew says that the player is Outside only because the history is too short so far.
	TooNew bool `json:"too_new,omitzero"`
	// Contributions lists the features that moved the score most, largest first.
	Contributions []Contribution `json:"contributions,omitempty"`
}

// Calibrated is a model's own score and its calibration by outcomes: the log-odds of the
// calibrated score are Offset + Slope · the log-odds of Raw.
type Calibrated struct {
	Raw    float64 `json:"raw"`
	Slope  float64 `json:"slope"`
	Offset float64 `json:"offset"`
}

// Given returns the model's own score.
func (m *ModelRun) Given() float64 {
	if m.Calibrated != nil {
		return m.Calibrated.Raw
	}
	return m.Score
}

// Contribution is how far a feature moved a score away from the score of a player with the
// training set's median in every feature, in the model's own margin (log-odds for a
// probability).
type Contribution struct {
	Feature string  `json:"feature"`
	Value   float64 `json:"value"`
	Effect  float64 `json:"effect"`
	// Error is the effect's standard error if it was sampled; 0: it is exact.
	Error float64 `json:"error,omitzero"`
}

// Ranked is an item and its score.
type Ranked struct {
	Item  string  `json:"item"`
	Score float64 `json:"score"`
}

// Facts holds what law and policy need to know about a player. It is sent with the features so
// that decide usually needs no read.
type Facts struct {
	Jurisdiction string `json:"jurisdiction,omitzero"`
	BirthDate    string `json:"birth_date,omitzero"`
	Brand        string `json:"brand,omitzero"`
	Currency     string `json:"currency,omitzero"`
	Tier         string `json:"tier,omitzero"`
	TimeZone     string `json:"time_zone,omitzero"`
	// Consents maps "product/channel" ("casino/email", "all/sms") to opted-in.
	Consents   map[string]bool  `json:"consents,omitempty"`
	Exclusions []Exclusion      `json:"exclusions,omitempty"`
	Limits     map[string]Limit `json:"limits,omitempty"` // by "limit/period", e.g. deposit/month
	// Origins has where each consent was given, by its key in Consents.
	Origins map[string]string `json:"origins,omitempty"`
	// Given has when each consent was given or withdrawn, as far as its event said so.
	Given map[string]time.Time `json:"given,omitempty"`
	// Indicators has the indicators of harm by group (UKGC's seven): low or strong.
	Indicators map[string]string `json:"indicators,omitempty"`
	// Cleared has when a person last cleared each group of indicators.
	Cleared map[string]time.Time `json:"cleared,omitempty"`
	// Returned is when an exclusion was last lifted.
	Returned      time.Time `json:"returned,omitzero"`
	Licensee      string    `json:"licensee,omitzero"`
	Affordability string    `json:"affordability,omitzero"` // clear, vulnerable or pending
	// LastProduct and LastCategory are those of the last round or launch.
	LastProduct  string `json:"last_product,omitzero"`
	LastCategory string `json:"last_category,omitzero"`
	// BonusEver is set once any bonus was granted (SE: one bonus, ever).
	BonusEver bool   `json:"bonus_ever,omitzero"`
	LastGame  string `json:"last_game,omitzero"`
	// FailedGame is the game that last failed to load. The player may never have played it.
	FailedGame string `json:"failed_game,omitzero"`
	// RecentGames lists the distinct games of the latest rounds and launches, the latest
	// first, at most RecentGamesKept. The first is LastGame. The ranking of next games reads
	// them.
	RecentGames []string `json:"recent_games,omitempty"`
}

// RecentGamesKept is how many games Facts.RecentGames holds.
const RecentGamesKept = 8

// Exclusion is one scheme's exclusion. A zero Until has no end. An exclusion whose end has
// passed still blocks marketing until the player is reinstated.
type Exclusion struct {
	Scheme string    `json:"scheme"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
}

// Limit is a limit that the player set, and when it was reached since.
type Limit struct {
	Amount   int64     `json:"amount"`
	Currency string    `json:"currency,omitzero"`
	Reached  time.Time `json:"reached,omitzero"`
	Basis    string    `json:"basis,omitzero"` // gross or net; empty: unknown
}

// Recommendation is the data of recommendation.issued, .suppressed and .revoked.
type Recommendation struct {
	Decision string `json:"decision"` // id in the journal
	Action   string `json:"action"`   // from actions.yaml; for .suppressed the best one that was blocked, or "none"
	Kind     string `json:"kind"`     // service | protection | marketing
	Channel  string `json:"channel,omitzero"`
	Severity string `json:"severity,omitzero"`
	// Message is the sentence to show. The channel fills in Params.
	Message string         `json:"message,omitzero"`
	Params  map[string]any `json:"params,omitempty"`
	// Reasons lists the reasons in plain words, the most important first.
	Reasons []Reason `json:"reasons"`
	// Blocked lists the actions that were not chosen because of a rule.
	Blocked    []Blocked          `json:"blocked,omitempty"`
	Scores     map[string]float64 `json:"scores,omitempty"`
	Arm        string             `json:"arm,omitzero"`
	Propensity float64            `json:"propensity,omitzero"`
	DedupKey   string             `json:"dedup_key"`
	DecidedAt  time.Time          `json:"decided_at"`
	Expires    time.Time          `json:"expires,omitzero"`
	Trigger    Trigger            `json:"trigger"`
	// Revoked lists, in .revoked, the decisions whose recommendations must no longer be
	// delivered.
	Revoked []string `json:"revoked,omitempty"`
	// Review says that a person must review the decision.
	Review bool `json:"review,omitzero"`
}

// Reason is a stable code and its sentence.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Blocked is an action a rule stopped.
type Blocked struct {
	Action string `json:"action"`
	Rule   string `json:"rule"`
	Text   string `json:"text"`
}

// ReviewRequested is the data of review.requested.
type ReviewRequested struct {
	Decision string    `json:"decision" schema:"required,max=128" doc:"the decision to look at"`
	Action   string    `json:"action,omitzero" schema:"max=128" doc:"what was recommended"`
	Deadline time.Time `json:"deadline" schema:"required" doc:"until when"`
}

// ReviewDecided is the data of review.decided: a person's verdict on an automated decision
// (GDPR art. 22; LCCP SR 3.4.3 requirement 11).
type ReviewDecided struct {
	Decision string `json:"decision" schema:"required,min=1,max=128" doc:"the decision that was looked at"`
	Verdict  string `json:"verdict" schema:"required,enum=approved|overturned" doc:"whether it stands"`
	By       string `json:"by" schema:"required,min=1,max=128" doc:"who looked"`
	Note     string `json:"note,omitzero" schema:"max=256" doc:"why, in plain words; no personal data"`
}

// PrivacyErased is the data of privacy.erased.
type PrivacyErased struct {
	Request string    `json:"request" schema:"required,max=128" doc:"the operator's reference for the request"`
	Erased  time.Time `json:"erased" schema:"required" doc:"when it was done"`
	Held    bool      `json:"held" schema:"required" doc:"an exclusion is kept, so that the player stays excluded"`
}

// PrivacyExported is the data of privacy.exported. The copy itself is personal
// and never goes through the Broker: `pitboss privacy fetch REQUEST` prints it.
type PrivacyExported struct {
	Request string    `json:"request" schema:"required,max=128" doc:"the operator's reference for the request"`
	Until   time.Time `json:"until" schema:"required" doc:"until when the copy can be fetched"`
	Bytes   int64     `json:"bytes" schema:"required,min=0" doc:"its size"`
}

// SwitchTurned is the data of switch.turned: a person turned a kill switch.
type SwitchTurned struct {
	What   string `json:"what" schema:"required,enum=jurisdiction|action|model|rule" doc:"what kind of thing it stops"`
	Name   string `json:"name" schema:"required,min=1,max=128" doc:"which one"`
	On     bool   `json:"on" schema:"required" doc:"true: stopped"`
	By     string `json:"by" schema:"required,min=1,max=128" doc:"who turned it"`
	Reason string `json:"reason" schema:"required,min=1,max=256" doc:"why, in plain words; no personal data"`
}
