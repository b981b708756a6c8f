// Checks that axe-core finds no fault on any page, at the widths of a phone, a tablet and
// a desktop.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { furnish } from "./pages.mjs";
import { startSystem } from "./system.mjs";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
let system, browser, page, paths;

before(async () => {
  system = await startSystem();
  browser = await openBrowser({ bypassCSP: true }); // axe is not from the page's origin
  page = browser.context.pages()[0] ?? await browser.context.newPage();
  paths = await furnish(system);
}, { timeout: 300_000 });

after(async () => {
  await browser?.close();
  await system?.stop();
});

for (const width of [390, 820, 1440]) {
  test(`axe has no finding at ${width} pixels`, { timeout: 240_000 }, async () => {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ reducedMotion: "reduce" });
    const found = [];
    for (const path of paths) {
      await page.goto(system.page + path);
      await page.waitForSelector("#main h1");
      await page.waitForTimeout(400);
      await page.addScriptTag({ path: axe });
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const v of violations) found.push(`${path}: ${v.id} (${v.impact}): ${v.nodes.map((n) => n.target.join(" ") + " " + (n.failureSummary ?? "").split("\n")[1]?.trim()).slice(0, 3).join("; ")}`);
    }
    assert.deepEqual(found, []);
  });
}
