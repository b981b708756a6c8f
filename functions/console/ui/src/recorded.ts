import { duration } from "./format";
import { language, t, word, type Key } from "./i18n";
import en from "./messages/en.json";

// The server records and answers the sentences of the policy and of refusals in English.
// They are recognised here by their English message and translated. The texts of rule
// packs and actions match no message and stay as they are. A Go test checks that the
// messages match what the server says.

const known = Object.entries(en).filter(([key]) => /^(policy|refused)\./.test(key)).map(([key, text]) => ({
  key: key as Key,
  names: [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]!),
  pattern: new RegExp("^" + text.split(/\{\w+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("(.+?)") + "$", "s"),
}));

const sizes: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1, day: 86_400, hour: 3600, minute: 60, second: 1 };

// spoken formats a recorded duration: 1m59s in old records, 1 minute 59 seconds in new ones.
function spoken(span: string): string {
  const parts = [...span.matchAll(/(\d+(?:\.\d+)?) ?(day|hour|minute|second|[dhms])s?/g)];
  return parts.length ? duration(parts.reduce((sum, [, n, unit]) => sum + Number(n) * sizes[unit!]!, 0)) : span;
}

function put(name: string, value: string): string {
  switch (name) {
    case "ago": case "span": return spoken(value);
    case "verdict": return word("status", value);
    case "of": return value === "this message" ? t("this-message") : word("kind", value);
    case "role": case "what": case "channel": case "product": return word(name, value);
    case "roles": return value.split(", ").map((r) => word("role", r)).join(", ");
    case "models": return language === "en" ? value : value.replaceAll(" was not trained on such players", "");
    case "text": return recorded(value);
    default: return value;
  }
}

const said = new Map<string, string>();

// recorded translates a recorded sentence if it is one of the server's.
export function recorded(text: string): string {
  let out = said.get(text);
  if (out === undefined) {
    out = text;
    for (const { key, names, pattern } of known) {
      const found = pattern.exec(text);
      if (!found) continue;
      out = t(key, Object.fromEntries(names.map((name, i) => [name, put(name, found[i + 1]!)])));
      break;
    }
    if (said.size > 2000) said.clear();
    said.set(text, out);
  }
  return out;
}
