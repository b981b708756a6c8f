import { duration, fixed, money, ms, plain, short, shortType } from "./format";
import { t, word } from "./i18n";
import { recorded } from "./recorded";
import type { Decision, Reason } from "./types";

// Decisions and events as sentences. Reasons, rules and messages to players keep the text
// of the policy that made the decision.

const inSentence = (text: string) => text.replace(/[. ]+$/, "").replace(/^[A-Z](?![A-Z])/, (c) => c.toLowerCase());

export const reason = (r: Reason) => (r.code === "marker:hidden" ? t("marker-hidden") : recorded(r.text));

// blockedBy is the text of the rule that held back the best action.
export function blockedBy(d: Decision): string {
  const block = d.blocked?.find((b) => b.action === d.action) ?? d.blocked?.[0];
  if (block) return recorded(block.text);
  return d.reasons[0] ? reason(d.reasons[0]) : "";
}

export const channel = (name?: string) => (name ? word("channel", name) : t("channel.any"));

export const actionOf = (d: Decision) => (!d.action || d.action === "none" ? t("nothing-sent") : plain(d.action));

function done(d: Decision): string {
  const action = plain(d.action);
  switch (d.verdict) {
    case "issued": {
      if (!d.message) return t("said.issued-plain", { action, channel: channel(d.channel) });
      const message = Object.entries(d.params ?? {}).reduce((text, [name, v]) => text.replaceAll(`{${name}}`, String(v)), d.message);
      return t("said.issued", { action, channel: channel(d.channel), message: message.replace(/[. ]+$/, "") });
    }
    case "revoked": {
      const taken = (d.takes ?? []).map((x) => {
        const name = x.action ? plain(x.action) : t("said.decision", { id: short(x.decision) });
        return x.delivered ? t("said.delivered", { name }) : name;
      });
      return taken.length ? t("said.taken", { list: taken.join(", ") }) : t("said.none-taken");
    }
    case "suppressed":
      return d.action === "none" || !d.action ? t("said.nothing") : t("said.blocked", { action, why: inSentence(blockedBy(d)) });
  }
}

// said describes a decision in one sentence.
export function said(d: Decision): string {
  if (d.erased) return t("said.erased");
  if (!d.player) return t("said.gone");
  // A blocked decision says why itself, and a missing score is no reason.
  const reasons = d.verdict === "suppressed" && d.action !== "none" ? [] : d.reasons.filter((r) => !/^(not-rated|too-new):/.test(r.code)).slice(0, 2);
  const scores = Object.entries(d.scores ?? {}).sort(([a], [b]) => Number(b === "leave") - Number(a === "leave") || a.localeCompare(b));
  const parts = [...reasons.map((r) => inSentence(reason(r))), done(d), ...scores.map(([model, s]) => t("said.risk", { model, score: fixed(s, 2) }))];
  const who = d.jurisdiction ? t("said.player-in", { player: short(d.player), place: d.jurisdiction }) : t("said.player", { player: short(d.player) });
  return t("said.sentence", { who, parts: parts.join("; ") });
}

// sentence describes a platform's event.
export function sentence(type: string, d: Record<string, unknown> = {}): string {
  const of = (name: string) => String(d[name] ?? "");
  const sum = (name: string) => (typeof d[name] === "number" ? money(d[name], d.currency as string | undefined) : "");
  const limit = () => ({ limit: word("limit", of("limit")), period: word("period", of("period")) });
  switch (shortType(type)) {
    case "account.registered": return t("event.registered", { jurisdiction: of("jurisdiction"), brand: of("brand") });
    case "account.updated": return t("event.updated");
    case "account.linked": return t("event.linked");
    case "account.unlinked": return t("event.unlinked");
    case "review.requested": return t("event.review");
    case "review.decided": return t("event.reviewed");
    case "privacy.export": return t("event.export");
    case "privacy.exported": return t("event.exported");
    case "privacy.erase": return t("event.erase");
    case "consent.changed": return t(d.granted ? "event.opted-in" : "event.opted-out", { product: word("product", of("product")), channel: word("channel", of("channel")) });
    case "protection.excluded": return t("event.excluded", { scheme: of("scheme") });
    case "protection.reinstated": return t("event.reinstated", { scheme: of("scheme") });
    case "protection.limit.set": return t("event.limit-set", { ...limit(), amount: d.limit === "time" ? duration(Number(d.amount)) : sum("amount") });
    case "protection.limit.reached": return t("event.limit-reached", limit());
    case "protection.indicator.raised": return t("event.marker", { group: word("marker", of("group")), strength: word("strength", of("strength")) });
    case "session.started": return d.device ? t("event.session-on", { device: of("device") }) : t("event.session");
    case "session.ended": return t("event.session-ended");
    case "game.launched": return d.load_ms ? t("event.loaded-in", { game: of("game"), time: ms(Number(d.load_ms)) }) : t("event.loaded", { game: of("game") });
    case "game.failed": return t("event.load-failed", { game: of("game"), error: of("error") });
    case "round.settled": return Number(d.win) > 0 ? t("event.won", { game: of("game"), stake: sum("stake"), win: sum("win") }) : t("event.lost", { game: of("game"), stake: sum("stake") });
    case "round.rolledback": return t("event.rolled-back", { game: of("game") });
    case "payment.deposited": return t("event.deposited", { amount: sum("amount") });
    case "payment.withdrawn": return t("event.withdrew", { amount: sum("amount") });
    case "payment.failed": return t(d.operation === "withdrawal" ? "event.withdrawal-failed" : "event.deposit-failed", { amount: sum("amount"), error: of("error") });
    case "bonus.granted": return t("event.bonus", { bonus: of("bonus"), amount: sum("amount") });
    case "bonus.completed": return t("event.bonus-completed", { bonus: of("bonus") });
    case "support.contacted": return t("event.support", { topic: of("topic") });
    case "reminder.due": return t("event.reminder", { reminder: plain(of("reminder")) });
    case "recommendation.delivered": return t("event.delivered");
    case "recommendation.accepted": return t("event.accepted");
    case "recommendation.dismissed": return t("event.dismissed");
    case "recommendation.expired": return t("event.expired");
    default: return plain(shortType(type).replaceAll(".", " "));
  }
}
