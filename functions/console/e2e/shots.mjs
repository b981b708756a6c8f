// Takes the screenshots of docs/images from the console at CONSOLE_URL.
import { mkdirSync } from "node:fs";
import { openBrowser } from "./browser.mjs";

const base = process.env.CONSOLE_URL ?? "http://127.0.0.1:8082";
const out = process.env.SHOTS ?? "../../../docs/images";
mkdirSync(out, { recursive: true });
const { context, close } = await openBrowser();
const page = context.pages()[0] ?? await context.newPage();
const problems = [];
page.on("console", (m) => { if (m.type() === "error") problems.push(m.text()); });
page.on("pageerror", (e) => problems.push(e.message));

async function shot(name, path, { theme = "dark", size, language = "en", prepare } = {}) {
  await page.setViewportSize(size ?? { width: 1440, height: 960 });
  await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
  await page.addInitScript((l) => localStorage.setItem("language", l), language);
  await page.goto(base + path);
  await page.waitForSelector("#main h1");
  await page.waitForTimeout(1200);
  if (prepare) await prepare();
  await page.screenshot({ path: `${out}/${name}.png` });
}

const decision = async (query) => (await (await fetch(`${base}/api/decisions?max=1&${query}`)).json()).decisions[0];
const issued = await decision("verdict=issued");
const blocked = await decision("verdict=suppressed");

await shot("live", "/");
await shot("live-light", "/", { theme: "light" });
await shot("live-phone", "/", { size: { width: 400, height: 860 } });
if (issued) {
  await shot("player", "/players/" + encodeURIComponent(issued.player));
  await shot("decision", "/decisions/" + encodeURIComponent(issued.decision));
}
if (blocked) await shot("decision-suppressed", "/decisions/" + encodeURIComponent(blocked.decision), { theme: "light" });
await shot("decisions", "/decisions");
await shot("review", "/review");
await shot("models", "/models");
await shot("experiments", "/experiments");
await shot("deadletters", "/deadletters");
await shot("rules", "/rules?pack=GB", { theme: "light" });
await shot("approvals", "/approvals");
await shot("changes", "/changes");
await shot("rules-german", "/rules?pack=DE", { language: "de" });
await close();
if (problems.length) { console.error([...new Set(problems)].join("\n")); process.exit(1); }
