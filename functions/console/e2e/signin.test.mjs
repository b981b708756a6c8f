import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Provider from "oidc-provider";
import { openBrowser } from "./browser.mjs";
import { freePort, get, startSystem } from "./system.mjs";

// A certified OpenID provider with its own pages for sign-in and consent. The roles of
// those who sign in are below.
const people = { olga: ["pitboss-operator"], carla: ["pitboss-compliance"], nick: [] };
const secret = "only & for this test";

async function startProvider(back) {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "pitboss-console", client_secret: secret, redirect_uris: [back + "/auth/callback"], post_logout_redirect_uris: [back + "/"] }],
    claims: { openid: ["sub"], profile: ["preferred_username", "roles"] },
    conformIdTokenClaims: false, // puts roles into the ID token, which docs/access.md requires
    cookies: { keys: [secret] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, roles: people[id] }) }),
  });
  const server = provider.listen(port, "127.0.0.1");
  return { issuer, stop: () => { server.closeAllConnections(); server.close(); } };
}

let system, provider, browser, page;
const problems = [];

before(async () => {
  system = await startSystem(async (back) => {
    provider = await startProvider(back);
    return { CONSOLE_URL: back, CONSOLE_OIDC_ISSUER: provider.issuer, CONSOLE_OIDC_CLIENT_ID: "pitboss-console", CONSOLE_OIDC_CLIENT_SECRET: secret };
  });
  browser = await openBrowser({ locale: "en-GB" });
  page = browser.context.pages()[0] ?? await browser.context.newPage();
  page.on("pageerror", (e) => problems.push(e.message));
}, { timeout: 240_000 });

after(async () => {
  await browser?.close();
  await system?.stop();
  provider?.stop();
});

async function signIn(name) {
  await page.click('a[href^="/auth/signin"]');
  await page.fill("input[name=login]", name);
  await page.fill("input[name=password]", "any");
  await page.click("button[type=submit]");
  await page.click("button:has-text('Continue')"); // the provider asks each person once
}

test("nobody gets in unsigned; who signs in at the provider returns to the page asked for", async () => {
  assert.equal((await get(system, "/api/me")).person, null);
  await page.goto(system.page + "/deadletters");
  await signIn("olga");
  await page.waitForURL(system.page + "/deadletters");
  await page.waitForSelector("#main h1");
  assert.match(await page.textContent(".who"), /olga/);
});

test("what the role may not do cannot be pressed, and says why", async () => {
  await page.goto(system.page + "/rules");
  const kill = page.locator("#main .rules button.danger").first();
  await kill.waitFor();
  assert.equal(await kill.getAttribute("aria-disabled"), "true");
  await kill.focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=Needs the role compliance; olga has operator");
  assert.equal(await page.locator("dialog[open]").count(), 0);
  const answer = await page.evaluate(async () => (await fetch("/api/switches", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })).status);
  assert.equal(answer, 403);
});

test("signing out leaves the console and the provider", async () => {
  await page.click("button:has-text('Sign out')");
  await page.click("button:has-text('Yes')"); // the provider asks for confirmation
  await page.waitForSelector('a[href^="/auth/signin"]');
  assert.equal(new URL(page.url()).origin, system.page);
  assert.deepEqual((await browser.context.cookies(system.page)).filter((c) => c.name.includes("pitboss")), []);
});

test("without a role: told in words, by name", async () => {
  await signIn("nick");
  await page.waitForSelector("text=You have no role here");
  assert.match(await page.textContent("body"), /nick/);
  assert.deepEqual(problems, []);
});
