// Checks that every text of the console is in src/messages, in every language: that the
// source has no literal text, no language lacks a message, and every message is used.
import { readdirSync, readFileSync } from "node:fs";
import { parseSync } from "vite";

const wrong = [];
const messages = Object.fromEntries(["en", "de", "sv", "es"].map((tag) => [tag, JSON.parse(readFileSync(`src/messages/${tag}.json`, "utf8"))]));
const placeholders = (text) => [...new Set(text.match(/\{\w+\}/g))].sort().join();
const stem = (key) => key.replace(/_(one|other)$/, "");

for (const [tag, texts] of Object.entries(messages)) {
  for (const key of new Set([...Object.keys(messages.en), ...Object.keys(texts)])) {
    const [english, text] = [messages.en[key], texts[key]];
    if (!english || !text?.trim()) { wrong.push(`${tag}.json: ${key} is missing here or in en.json`); continue; }
    if (placeholders(text) !== placeholders(english)) wrong.push(`${tag}.json: ${key} has ${placeholders(text)}, en.json ${placeholders(english)}`);
    if (tag !== "en" && text === english && text.replace(/\{\w+\}/g, "").match(/\p{L}{2,}/gu)?.length > 2) wrong.push(`${tag}.json: ${key} is not translated`);
    if (key !== stem(key) && !(stem(key) + "_one" in texts && stem(key) + "_other" in texts)) wrong.push(`${tag}.json: ${key} lacks its other form`);
  }
}

// Attributes that people read or hear, and properties that become such attributes.
const read = new Set(["title", "aria-label", "placeholder", "alt", "label", "lead", "text", "button", "unit", "hint"]);
const isText = (s) => /\p{L}{2,}/u.test(s);
const isSentence = (s) => /\p{Ll}{2,}[,:;]? \p{L}{2,}/u.test(s) || /^\p{Lu}\p{Ll}{3,}[.!?…]?$/u.test(s.trim());
const names = new Set(["Pitboss", "English", "Deutsch", "Svenska", "Español", "this message", " was not trained on such players"]); // the policy records the last two
const isData = (el) => el.name.name === "Data" || el.attributes.some((a) => a.name?.name === "translate" && a.value?.expression?.value === false);
const mentioned = new Set(), sets = new Set(["policy", "refused", "copy", "signin"]); // recorded.ts, copy.html and signin.html use these

function visit(node, at, file, source) {
  if (Array.isArray(node)) { for (const n of node) visit(n, at, file, source); return; }
  if (!node || typeof node.type !== "string" || node.type.startsWith("TS") || node.type === "ImportDeclaration") return;
  const say = (text) => wrong.push(`${file}:${source.slice(0, node.start).split("\n").length}: ${JSON.stringify(text.trim())} is in no message file`);
  let here = at;
  switch (node.type) {
    case "JSXElement": here = { ...at, data: at.data || isData(node.openingElement), attribute: "" }; break;
    case "JSXAttribute": here = { ...at, attribute: node.name.name }; break;
    case "CallExpression": if (["t", "rich", "word"].includes(node.callee.name)) here = { ...at, called: true }; break;
    case "JSXText": if (!at.data && isText(node.value)) say(node.value); break;
    case "Literal": case "TemplateElement": {
      const text = typeof node.value === "string" ? node.value : node.value?.cooked;
      if (typeof text !== "string") break;
      mentioned.add(text);
      if (!at.called && !at.data && at.attribute !== "class" && (read.has(at.attribute) && isText(text) && !(text in messages.en) || isSentence(text) && !names.has(text))) say(text);
    }
  }
  if (node.type === "CallExpression" && node.callee.name === "word" && node.arguments[0]?.value) sets.add(node.arguments[0].value);
  for (const [name, child] of Object.entries(node)) {
    if (child && typeof child === "object" && !(name === "key" && node.type === "Property")) visit(child, here, file, source);
  }
}

for (const file of readdirSync("src", { recursive: true }).filter((f) => /\.tsx?$/.test(f))) {
  const source = readFileSync("src/" + file, "utf8");
  const { program, errors } = parseSync(file, source);
  if (errors.length) throw new Error(`${file}: ${errors[0].message}`);
  visit(program, { data: false, attribute: "", called: false }, file, source);
}

const starts = [...mentioned].filter((s) => s.endsWith(".")); // t(`any.${filter}`)
for (const key of Object.keys(messages.en)) {
  if (!mentioned.has(stem(key)) && !sets.has(key.split(".")[0]) && !starts.some((s) => key.startsWith(s))) wrong.push(`${key} is shown nowhere`);
}

if (wrong.length) { console.error(wrong.join("\n")); process.exit(1); }
