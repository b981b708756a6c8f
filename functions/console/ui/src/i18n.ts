import type { ComponentChildren } from "preact";
import en from "./messages/en.json";

// What the console says stands in messages/*.json, one file for each language. A
// message's {name} is replaced by a value; of key_one and key_other, n picks the
// one that the language's plural rules ask for. What was recorded (ids, notes, the
// policy's own texts) is shown as it was recorded.

type Message = keyof typeof en;
type Messages = Record<Message, string>;
type Stem<K> = K extends `${infer S}_one` | `${infer S}_other` ? S : K;
export type Key = Stem<Message>;

export const languages = { en: "English", de: "Deutsch", sv: "Svenska", es: "Español" };
export type Language = keyof typeof languages;

// The language that was chosen here, else the first of the browser's that there is.
const wanted = [localStorage.getItem("language") ?? "", ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
export const language = (wanted.find((tag) => Object.hasOwn(languages, tag)) ?? "en") as Language;
export const locale = { en: "en-GB", de: "de-DE", sv: "sv-SE", es: "es-ES" }[language];
document.documentElement.lang = language;

// choose keeps the language and loads the page anew, so that nothing of the other is left.
export function choose(next: string) {
  localStorage.setItem("language", next);
  document.cookie = `language=${next}; path=/; max-age=31536000; samesite=lax`; // for the pages that the server writes: why a sign-in failed
  location.reload();
}

const files: Record<Language, () => Promise<{ default: Messages }>> = {
  en: async () => ({ default: en }),
  de: () => import("./messages/de.json"),
  sv: () => import("./messages/sv.json"),
  es: () => import("./messages/es.json"),
};
const messages: Record<string, string> = (await files[language]().catch(() => files.en())).default;

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
export const num = (n: number) => whole.format(n);

const plural = new Intl.PluralRules(locale);

function pieces<T>(key: Key, values: Record<string, T | number>): (T | string)[] {
  const { n } = values;
  const text = messages[key] ?? (typeof n === "number" && messages[`${key}_${plural.select(n)}`] || messages[`${key}_other`]!);
  return text.split(/\{(\w+)\}/).map((part, i) => {
    if (i % 2 === 0) return part;
    const v = values[part]!;
    return typeof v === "number" ? num(v) : v;
  });
}

// t is a message as text; rich is one with elements among its values.
export const t = (key: Key, values: Record<string, string | number> = {}): string => pieces(key, values).join("");
export const rich = (key: Key, values: Record<string, ComponentChildren>): ComponentChildren[] => pieces(key, values as Record<string, ComponentChildren | number>);

// word says one of a fixed set of codes; a code that a later version brought is shown as it is.
export const word = (set: string, code: string): string => messages[`${set}.${code}`] ?? plain(code);

export const plain = (id: string) => id.replaceAll("_", " ").replaceAll("-", " ");
