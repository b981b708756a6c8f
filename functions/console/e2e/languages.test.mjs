// Tests the console in its four languages and in an artificial one. The artificial one
// marks every text of the message files, so that texts from elsewhere stand out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { furnish } from "./pages.mjs";
import { startSystem } from "./system.mjs";

const messages = Object.fromEntries(["en", "de", "sv", "es"].map((tag) => [tag, JSON.parse(readFileSync(new URL(`../ui/src/messages/${tag}.json`, import.meta.url)))]));
let system, paths;
before(async () => {
  system = await startSystem();
  paths = await furnish(system);
}, { timeout: 300_000 });
after(() => system?.stop());

async function inBrowser(locale, use) {
  const browser = await openBrowser({ locale, reducedMotion: "reduce" });
  try {
    await use(browser.context.pages()[0] ?? await browser.context.newPage());
  } finally {
    await browser.close();
  }
}

async function open(page, path) {
  await page.goto(system.page + path);
  await page.waitForSelector("#main h1");
  await page.waitForTimeout(500); // the answers have arrived
}

test("the browser's language comes first, then the one that was chosen", { timeout: 60_000 }, () => inBrowser("sv-SE", async (page) => {
  const says = async (tag) => {
    await page.waitForSelector(`html[lang=${tag}] .nav >> text="${messages[tag]["rules.title"]}"`);
    assert.equal(await page.textContent("h1"), messages[tag]["rules.title"]);
  };
  await open(page, "/rules");
  await says("sv");
  await page.selectOption("select.languages", "de");
  await says("de");
  await open(page, "/rules");
  await says("de");
}));

test("a language that there is none of gets English", { timeout: 60_000 }, () => inBrowser("fi-FI", async (page) => {
  await open(page, "/rules");
  assert.equal(await page.getAttribute("html", "lang"), "en");
}));

for (const [locale, tag, amount] of [["en-GB", "en", /GBP\s500\.00/], ["de-DE", "de", /500,00\sGBP/], ["sv-SE", "sv", /500,00\sGBP/], ["es-ES", "es", /500,00\sGBP/]]) {
  test(`${tag}: no page is wider than a small phone, amounts are the language's`, { timeout: 180_000 }, () => inBrowser(locale, async (page) => {
    await page.setViewportSize({ width: 360, height: 800 });
    const found = [];
    for (const path of paths) {
      await open(page, path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth &&
        [...document.querySelectorAll("#app *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .nav")).map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`).slice(-3));
      if (wide) found.push(`${path} scrolls sideways: ${wide}`);
    }
    assert.deepEqual(found, []);
    await open(page, "/players/alice");
    assert.match(await page.textContent(".facts >> nth=1"), amount);
    assert.equal(await page.getAttribute("html", "lang"), tag);
  }));
}

// marked returns a message with a marked beginning and end.
const marked = (text) => `⟦${text}⟧`;

// Runs in the page. It returns texts that are neither marked, nor recorded data, nor a
// number or a time.
function unmarked() {
  const found = [];
  const isText = (s) => /\p{L}{2,}/u.test(s.replace(/\d[\d.,:\u00a0 ]*(ms|µs|s|min|MiB|KiB|B|k|M)(?!\p{L})/gu, "").replace(/\d{1,2}\. \p{L}+\.? \d{4}/gu, ""));
  const isData = (el) => el.closest("[translate=no], time, script, style, title, noscript");
  let depth = 0;
  for (const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); walk.nextNode();) {
    const node = walk.currentNode;
    let outside = "";
    for (const c of node.data) {
      if (c === "⟦") depth++; else if (c === "⟧") depth--; else if (depth === 0) outside += c;
    }
    if (isText(outside) && !isData(node.parentElement)) found.push(`<${node.parentElement.tagName}> ${outside.trim()}`);
  }
  if (depth !== 0) found.push(`${depth} marks stay open`);
  for (const el of document.body.querySelectorAll("[title], [aria-label], [placeholder], [alt]")) {
    for (const name of ["title", "aria-label", "placeholder", "alt"]) {
      const text = el.getAttribute(name) ?? "";
      if (isText(text.replace(/⟦.*⟧/gu, "")) && !isData(el)) found.push(`${name} of <${el.tagName}> ${text}`);
    }
  }
  return [...new Set(found)];
}

// The dialogs of a page, by the buttons that open them.
const dialogs = {
  "/players/alice": [".page-tools button >> nth=0", ".page-tools button >> nth=1", ".page-tools button >> nth=2"],
  "/review": [".cases li .danger >> nth=0"], "/models": [".model .danger >> nth=0"], "/deadletters": [".page-tools button"],
  "/rules?pack=GB": [".switches-on button", ".rules .danger >> nth=0", ".card-aside .danger"],
};

test("no text is left out of the message files", { timeout: 240_000 }, () => inBrowser("de-DE", async (page) => {
  const texts = Object.fromEntries(Object.entries(messages.en).map(([key, text]) => [key, marked(text)]));
  await page.route("**/assets/de-*.js", (route) => route.fulfill({ contentType: "text/javascript", body: "export default " + JSON.stringify(texts) }));
  const found = [];
  const look = async (where) => { for (const text of await page.evaluate(unmarked)) found.push(`${where}: ${text}`); };
  for (const path of paths) {
    await open(page, path);
    assert.match(await page.textContent(".nav"), /⟦/, "the marked messages are not the page's");
    await look(path);
    for (const button of dialogs[path] ?? []) {
      await page.click("#main " + button);
      await page.waitForSelector("dialog[open]");
      await look(`${path}, ${button}`);
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog", { state: "detached" });
    }
  }
  assert.deepEqual(found, []);
}));
