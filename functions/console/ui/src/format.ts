// Numbers, times and names as people read them.

const whole = new Intl.NumberFormat("en");
export const num = (n: number) => whole.format(Math.round(n));

export function compact(n: number): string {
  if (n < 10_000) return num(n);
  if (n < 1_000_000) return (n / 1000).toFixed(n < 100_000 ? 1 : 0) + "k";
  return (n / 1_000_000).toFixed(n < 10_000_000 ? 2 : 1) + "M";
}

export const rate = (n: number) => (n >= 100 ? num(n) : n >= 10 ? n.toFixed(0) : n > 0 ? n.toFixed(1) : "0");

export function ms(n: number | undefined): string {
  if (n === undefined || !isFinite(n)) return "–";
  if (n >= 60_000) return (n / 60_000).toFixed(1) + " min";
  if (n >= 1000) return (n / 1000).toFixed(n < 10_000 ? 2 : 1) + " s";
  if (n >= 10) return n.toFixed(0) + " ms";
  return n.toFixed(n >= 1 ? 1 : 2) + " ms";
}

// duration says seconds as people write them.
export function duration(s: number): string {
  const parts: [number, string][] = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const said: string[] = [];
  let left = Math.round(s);
  for (const [size, name] of parts) {
    const n = Math.floor(left / size);
    if (n > 0) said.push(`${num(n)} ${name}${n === 1 ? "" : "s"}`);
    left -= n * size;
    if (said.length === 2) break;
  }
  return said.join(" ") || "no time";
}

// ago says how long ago a moment was.
export function ago(iso: string): string {
  const s = (Date.now() - new Date(iso).getTime()) / 1000;
  return s < 10 ? "just now" : duration(s < 3600 ? Math.max(1, Math.round(s / 60)) * 60 : Math.round(s / 3600) * 3600) + " ago";
}

// since names a moment: today's by the clock, with how long ago that was.
export const since = (iso: string) => `${moment(iso)} (${ago(iso)})`;

export const money = (minor: number, currency?: string) => (minor / 100).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) + (currency ? " " + currency : "");

export const us = (n: number) => (n >= 1000 ? ms(n / 1000) : n.toFixed(n < 10 ? 1 : 0) + " µs");

export const percent = (p: number, digits = 1) => (100 * p).toFixed(digits) + " %";

// zone is where clocks on the page stand: the reader's, or UTC as in logs and CSV.
export let zone: "local" | "UTC" = localStorage.getItem("zone") === "UTC" ? "UTC" : "local";
let clock: Intl.DateTimeFormat, day: Intl.DateTimeFormat, shortDay: Intl.DateTimeFormat;
export function setZone(z: typeof zone) {
  zone = z;
  localStorage.setItem("zone", z);
  const timeZone = z === "UTC" ? "UTC" : undefined;
  clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone });
  day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", year: "numeric", timeZone });
  shortDay = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", timeZone });
}
setZone(zone);

// onAxis names a moment of a chart: with its day where the chart is of days.
export const onAxis = (unix: number, days: boolean) => (days ? shortDay : clock).format(new Date(unix * 1000));

// fromField and toField read and write <input type="datetime-local"> in the zone.
export function fromField(text: string): string {
  const at = new Date(zone === "UTC" && text ? text + "Z" : text);
  return isNaN(at.getTime()) ? "" : at.toISOString().replace(/\.\d+Z$/, "Z");
}
export function toField(iso: string): string {
  const at = new Date(iso);
  if (isNaN(at.getTime())) return "";
  return new Date(at.getTime() - (zone === "UTC" ? 0 : at.getTimezoneOffset() * 60_000)).toISOString().slice(0, 19);
}

export const time = (iso: string) => (iso && !iso.startsWith("0001") ? clock.format(new Date(iso)) : "–");
export const date = (iso: string) => (iso && !iso.startsWith("0001") ? day.format(new Date(iso)) : "–");

export function moment(iso: string): string {
  if (!iso || iso.startsWith("0001")) return "–";
  const t = new Date(iso);
  return day.format(t) === day.format(new Date()) ? clock.format(t) : day.format(t) + " " + clock.format(t);
}

export function value(n: number): string {
  if (!isFinite(n)) return String(n);
  if (Number.isInteger(n)) return num(n);
  const a = Math.abs(n);
  return a >= 1000 ? num(n) : a >= 10 ? n.toFixed(1) : a >= 0.01 ? n.toFixed(2) : n.toPrecision(2);
}

// short keeps both ends of a long id: ids often begin alike.
export const short = (id: string) => (id.length > 16 ? id.slice(0, 6) + "…" + id.slice(-6) : id);

export const plain = (id: string) => id.replaceAll("_", " ").replaceAll("-", " ");
export const shortType = (t: string) => t.replace(/^pitboss\./, "").replace(/\.v1$/, "");

export const bytes = (n: number) => (n >= 1 << 20 ? (n / (1 << 20)).toFixed(1) + " MiB" : n >= 1024 ? (n / 1024).toFixed(0) + " KiB" : n + " B");

// sentence says an event of a platform in words.
export function sentence(type: string, d: Record<string, unknown> = {}): string {
  const sum = (minor: unknown) => (typeof minor === "number" ? money(minor, d.currency as string | undefined) : "");
  switch (shortType(type)) {
    case "account.registered": return `Opened an account in ${d.jurisdiction} with ${d.brand}`;
    case "account.updated": return "Account facts changed";
    case "consent.changed": return `${d.granted ? "Opted in to" : "Opted out of"} ${d.product} by ${d.channel}`;
    case "protection.excluded": return `Excluded by ${d.scheme}`;
    case "protection.reinstated": return `Returned after ${d.scheme}`;
    case "protection.limit.set": return `Set a ${d.limit} limit of ${d.limit === "time" ? duration(d.amount as number) : sum(d.amount)} per ${d.period}`;
    case "protection.limit.reached": return `Reached the ${d.limit} limit per ${d.period}`;
    case "protection.indicator.raised": return `Marker of harm: ${d.group}, ${d.strength}`;
    case "session.started": return `Session started${d.device ? " on " + d.device : ""}`;
    case "session.ended": return "Session ended";
    case "game.launched": return `${d.game} loaded${d.load_ms ? " in " + ms(d.load_ms as number) : ""}`;
    case "game.failed": return `${d.game} failed to load: ${d.error}`;
    case "round.settled": return `${d.game}: staked ${sum(d.stake)}, ${(d.win as number) > 0 ? "won " + sum(d.win) : "lost"}`;
    case "round.rolledback": return `Round rolled back: ${d.game}`;
    case "payment.deposited": return `Deposited ${sum(d.amount)}`;
    case "payment.withdrawn": return `Withdrew ${sum(d.amount)}`;
    case "payment.failed": return `${d.operation} of ${sum(d.amount)} failed: ${d.error}`;
    case "bonus.granted": return `Bonus ${d.bonus}: ${sum(d.amount)}`;
    case "bonus.completed": return `Bonus ${d.bonus} completed`;
    case "support.contacted": return `Contacted support about ${d.topic}`;
    case "reminder.due": return `Reminder due: ${plain(String(d.reminder ?? ""))}`;
    case "recommendation.delivered": return "Recommendation delivered";
    case "recommendation.accepted": return "Recommendation accepted";
    case "recommendation.dismissed": return "Recommendation dismissed";
    case "recommendation.expired": return "Recommendation expired";
    default: return plain(shortType(type).replaceAll(".", " "));
  }
}
