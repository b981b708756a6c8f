import { locale, num, plain, t } from "./i18n";

// Numbers, times and names as people of the chosen language read them.

export { num, plain };

const fractions = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
export const fixed = (n: number, digits: 0 | 1 | 2 | 3) => fractions[digits]!.format(n);

const significant = [0, 1, 2, 3, 4].map((digits) => new Intl.NumberFormat(locale, { maximumSignificantDigits: digits || 1 }));

export function compact(n: number): string {
  if (n < 10_000) return num(n);
  if (n < 1_000_000) return fixed(n / 1000, n < 100_000 ? 1 : 0) + "k";
  return fixed(n / 1_000_000, n < 10_000_000 ? 2 : 1) + "M";
}

export const rate = (n: number) => (n >= 10 || n <= 0 ? num(n) : fixed(n, 1));

export function ms(n: number | undefined): string {
  if (n === undefined || !isFinite(n)) return "–";
  if (n >= 60_000) return fixed(n / 60_000, 1) + " min";
  if (n >= 1000) return fixed(n / 1000, n < 10_000 ? 2 : 1) + " s";
  return fixed(n, n >= 10 ? 0 : n >= 1 ? 1 : 2) + " ms";
}

export const us = (n: number) => (n >= 1000 ? ms(n / 1000) : fixed(n, n < 10 ? 1 : 0) + " µs");

type Unit = "second" | "minute" | "hour" | "day";
const unit = (name: Unit) => new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "long", maximumFractionDigits: 0 });
const units: [Unit, number, Intl.NumberFormat][] = [["day", 86_400, unit("day")], ["hour", 3600, unit("hour")], ["minute", 60, unit("minute")], ["second", 1, unit("second")]];

// duration formats seconds in their two largest units.
export function duration(s: number): string {
  const said: string[] = [];
  let left = Math.round(s);
  for (const [name, size, format] of units) {
    const n = Math.floor(left / size);
    if (n > 0 || name === "second" && !said.length) said.push(format.format(n));
    left -= n * size;
    if (said.length === 2) break;
  }
  return said.join(" ");
}

const relative = new Intl.RelativeTimeFormat(locale, { numeric: "always" });

// ago formats how long ago a moment was, in the largest unit.
export function ago(iso: string): string {
  const s = (Date.now() - Date.parse(iso)) / 1000;
  if (s < 10) return t("just-now");
  const [name, size] = s < 3600 ? ["minute", 60] as const : s < 172_800 ? ["hour", 3600] as const : ["day", 86_400] as const;
  return relative.format(-Math.max(1, Math.round(s / size)), name);
}

// since formats a moment and how long ago it was.
export const since = (iso: string) => `${moment(iso)} (${ago(iso)})`;

// money formats an amount given in the currency's minor units.
export function money(minor: number, currency?: string): string {
  if (!currency || !/^[A-Z]{3}$/.test(currency)) return fixed(minor / 100, 2);
  const format = new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "code" });
  return format.format(minor / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

const percents = [0, 1].map((digits) => new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }));
export const percent = (share: number, digits: 0 | 1 = 1) => percents[digits]!.format(share);

// signed formats a number with its sign, also if it is positive.
export const signed = (n: number, digits: 1 | 2) => (n >= 0 ? "+" : "−") + fixed(Math.abs(n), digits);

const list = new Intl.ListFormat(locale, { type: "conjunction" });
export const and = (items: string[]) => list.format(items);

// zone is the time zone of the page: the reader's, or UTC as in logs and CSV.
export let zone: "local" | "UTC" = localStorage.getItem("zone") === "UTC" ? "UTC" : "local";
let clock: Intl.DateTimeFormat, day: Intl.DateTimeFormat, shortDay: Intl.DateTimeFormat;
export function setZone(z: typeof zone) {
  zone = z;
  localStorage.setItem("zone", z);
  const timeZone = z === "UTC" ? "UTC" : undefined;
  clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone });
  day = new Intl.DateTimeFormat(locale, { day: "2-digit", month: "short", year: "numeric", timeZone });
  shortDay = new Intl.DateTimeFormat(locale, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", timeZone });
}
setZone(zone);

// onAxis formats a moment of a chart, with its day if the chart spans days.
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

// known reports whether a time is set: Go's zero time is not.
export const known = (iso?: string): iso is string => !!iso && !iso.startsWith("0001");

export const time = (iso: string) => (known(iso) ? clock.format(new Date(iso)) : "–");

export function moment(iso: string): string {
  if (!known(iso)) return "–";
  const at = new Date(iso);
  return day.format(at) === day.format(new Date()) ? clock.format(at) : day.format(at) + " " + clock.format(at);
}

export function value(n: number): string {
  if (!isFinite(n)) return String(n);
  if (Number.isInteger(n)) return num(n);
  const a = Math.abs(n);
  return a >= 1000 ? num(n) : a >= 10 ? fixed(n, 1) : a >= 0.01 ? fixed(n, 2) : significant[2]!.format(n);
}

const scientific = new Intl.NumberFormat(locale, { notation: "scientific", maximumFractionDigits: 1 });

// metric formats a model's metric.
export const metric = (n: number) => (Number.isInteger(n) ? num(n) : Math.abs(n) < 0.001 ? scientific.format(n) : significant[4]!.format(n));

// short keeps both ends of a long id, since ids often begin alike.
export const short = (id: string) => (id.length > 16 ? id.slice(0, 6) + "…" + id.slice(-6) : id);

export const shortType = (type: string) => type.replace(/^pitboss\./, "").replace(/\.v1$/, "");

export const capital = (text: string) => text.charAt(0).toLocaleUpperCase(locale) + text.slice(1);

export const bytes = (n: number) => (n >= 1 << 20 ? fixed(n / (1 << 20), 1) + " MiB" : n >= 1024 ? num(n / 1024) + " KiB" : num(n) + " B");
