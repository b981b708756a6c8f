// Starts the whole system for a test, as `make run` does, on free ports and with a copy of
// the models.
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("../../../", import.meta.url).pathname;

export const freePort = () => new Promise((done) => {
  const s = createServer().listen(0, "127.0.0.1", () => { const { port } = s.address(); s.close(() => done(port)); });
});

// A second version of leave, which differs only in its name, to be promoted.
function addVersion(models) {
  cpSync(join(models, "leave/v1"), join(models, "leave/v9"), { recursive: true });
  const file = join(models, "leave/v9/model.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace(/^version: v1$/m, "version: v9"));
}

// startSystem starts the system. settings are environment variables that may depend on the console's address.
export async function startSystem(settings = () => ({})) {
  const dir = mkdtempSync(join(tmpdir(), "console-e2e-"));
  const models = join(dir, "models");
  cpSync(join(root, "models"), models, { recursive: true });
  addVersion(models);
  const [broker, ingest, page] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(join(root, "bin/pitboss"), ["run"], {
    cwd: root, stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env, PITBOSS_ADDR: `127.0.0.1:${broker}`, INGEST_ADDR: `127.0.0.1:${ingest}`, CONSOLE_ADDR: `127.0.0.1:${page}`,
      MODELS_DIR: models, PITBOSS_STATE_DIR: join(dir, "broker"), JOURNAL_DIR: join(dir, "journal"), SIMULATOR_SEED: "7",
      SIMULATOR_PLAYERS: "120", SIMULATOR_PACE: "30", ...await settings(`http://127.0.0.1:${page}`),
    },
  });
  let log = "";
  child.stdout.on("data", (b) => { log += b; });
  child.stderr.on("data", (b) => { log += b; });
  const system = {
    models, broker: `http://127.0.0.1:${broker}`, ingest: `http://127.0.0.1:${ingest}`, page: `http://127.0.0.1:${page}`, pagePort: page,
    log: () => log,
    stop: async () => {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await until("the system to be ready", async () => {
    if (child.exitCode !== null) throw new Error("pitboss run ended:\n" + log);
    return (await fetch(system.broker + "/healthz").catch(() => ({}))).status === 200;
  }, 90_000);
  return system;
}

// until waits until a condition holds.
export async function until(what, check, ms = 30_000) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error("waited in vain for " + what);
    await new Promise((r) => setTimeout(r, 100));
  }
}

let made = 0;
export async function send(url, type, subject, data) {
  const res = await fetch(url, {
    method: "POST", body: JSON.stringify(data),
    headers: {
      "Content-Type": "application/json", "ce-specversion": "1.0", "ce-type": `pitboss.${type}.v1`, "ce-source": "/e2e",
      "ce-id": `e2e-${++made}`, "ce-subject": subject, "ce-time": new Date().toISOString(),
    },
  });
  return res.status;
}

export const get = async (system, path) => (await fetch(system.page + path)).json();
