import type { ComponentChildren } from "preact";
import en from "./messages/en.json";

// The texts of the console are in messages/*.json, one file for each language. A
// message's {name} is replaced by a value. The plural rules of the language choose
// between key_one and key_other by n. Recorded data (ids, notes, the texts of rule packs)
// is shown as it is.

type Message = keyof typeof en;
type Messages = Record<Message, string>;
type Stem<K> = K extends `${infer S}_one` | `${infer S}_other` ? S : K;
export type Key = Stem<Message>;

export const languages = { en: "English", de: "Deutsch", sv: "Svenska", es: "Español" };
export type Language = keyof typeof languages;

// The language chosen on the page, else the first of the browser's that has texts.
const wanted = [localStorage.getItem("language") ?? "", ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
export const language = (wanted.find((tag) => Object.hasOwn(languages, tag)) ?? "en") as Language;
export const locale = { en: "en-GB", de: "de-DE", sv: "sv-SE", es: "es-ES" }[language];
document.documentElement.lang = language;

// choose stores the language and reloads the page, so that no text stays in the old one.
export function choose(next: string) {
  localStorage.setItem("language", next);
  document.cookie = `language=${next}; path=/; max-age=31536000; samesite=lax`; // for the pages that the server writes, such as a failed sign-in
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

// t returns a message as text; rich returns one whose values may be elements.
export const t = (key: Key, values: Record<string, string | number> = {}): string => pieces(key, values).join("");
export const rich = (key: Key, values: Record<string, ComponentChildren>): ComponentChildren[] => pieces(key, values as Record<string, ComponentChildren | number>);

// word names one of a fixed set of codes. It shows an unknown code, of a later version, as it is.
export const word = (set: string, code: string): string => messages[`${set}.${code}`] ?? plain(code);

export const plain = (id: string) => id.replaceAll("_", " ").replaceAll("-", " ");
