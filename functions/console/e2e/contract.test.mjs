// Compares the verdict of a producer's validator (Ajv) under the published JSON Schemas
// with ingest's answer, for each event.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { startSystem } from "./system.mjs";

let system;
before(async () => { system = await startSystem(() => ({ SIMULATOR_PLAYERS: "0" })); });
after(() => system?.stop());

// random is a small generator with a seed (mulberry32), so that a failure can be reproduced.
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const rng = random(17);
const pick = (list) => list[Math.floor(rng() * list.length)];

// JSON texts that replace a value.
const odd = ["null", "true", "-1", "0", "1.5", "-0", "9007199254740991", "9007199254740992", "18446744073709551616", '""', '"x"', '"\\u0000"',
  `"${"é".repeat(130)}"`, `"${"😀".repeat(70)}"`, "[]", "{}", '"2026-02-30"', '"2024-02-29"', '"2026-01-01T00:00:00Z"', '"2026-01-01t00:00:00z"',
  '"2026-01-01T24:00:00Z"', '"2026-01-01T00:00:60Z"', '"2026-01-01T00:00:00+24:00"', '"2026-01-01T00:00:00+14:00"', '"2026-01-01 00:00:00Z"',
  '"2026-01-01T00:00:00.123456789Z"', '"2026-01-01T00:00:00,5Z"', '"gbp"', '"GBP"', '"GB"', '"GB-"', '"US-NJ"', '"Mars/Olympus"', '"Europe/Stockholm"', '"0000-01-01"'];

function right(schema) {
  if (schema.enum) return JSON.stringify(pick(schema.enum));
  if (schema.type === "integer") return String(Math.max(schema.minimum ?? 1, 1));
  if (schema.type === "boolean") return "true";
  if (schema.type === "array") return "[]";
  if (schema.type === "object") return "{}";
  if (schema.format === "date-time") return '"2026-01-01T00:00:00Z"';
  if (schema.format === "date") return '"1990-02-28"';
  for (const v of ["x", "GB", "GBP", "abcdef01", "pitboss.round.settled.v1"]) {
    if (!schema.pattern || new RegExp(schema.pattern, "u").test(v)) return JSON.stringify(v);
  }
  return '"x"';
}

// draw makes the text of an event's data, which is wrong in about half of all cases.
function draw(schema) {
  const members = [];
  for (const [name, of] of Object.entries(schema.properties ?? {})) {
    if (!(schema.required ?? []).includes(name) ? rng() < 0.5 : rng() < 0.03) continue;
    members.push(`${JSON.stringify(name)}:${rng() < 0.1 ? pick(odd) : right(of)}`);
  }
  if (rng() < 0.2) members.push('"unknown":{"a":[1,"é"]}');
  return `{${members.join(",")}}`;
}

test("ajv and ingest give one verdict", { timeout: 300_000 }, async () => {
  const { channels } = await (await fetch(system.ingest + "/asyncapi")).json();
  assert.ok(channels, "ingest serves the catalogue");
  const types = (await (await fetch(system.ingest + "/schemas")).json()).filter((t) => t.direction === "in");
  assert.ok(types.length > 20, `${types.length} types`);
  const counts = { taken: 0, refused: 0 };
  const apart = [];
  for (const { type } of types) {
    const schema = await (await fetch(`${system.ingest}/schemas/${type}.json`)).json();
    const ajv = new Ajv2020({ strict: true, allErrors: false });
    addFormats(ajv);
    const valid = ajv.compile(schema);
    for (let n = 0; n < 100; n++) {
      const data = draw(schema);
      const bySchema = valid(JSON.parse(data));
      const res = await fetch(system.ingest, {
        method: "POST", body: data,
        headers: {
          "Content-Type": "application/json", "ce-specversion": "1.0", "ce-type": type, "ce-source": "/contract", "ce-id": `${type}-${n}`,
          "ce-subject": `contract-${n}`, "ce-time": new Date().toISOString(),
        },
      });
      const answer = await res.text();
      assert.ok(res.status === 202 || res.status === 400, `${res.status}: ${answer}`);
      counts[res.status === 202 ? "taken" : "refused"]++;
      if (bySchema !== (res.status === 202)) {
        apart.push(`${type} ${data}\n  ajv: ${bySchema || ajv.errorsText(valid.errors)}\n  ingest: ${res.status} ${answer}`);
      }
    }
  }
  assert.ok(counts.taken > 300 && counts.refused > 300, JSON.stringify(counts));
  assert.equal(apart.length, 0, `${apart.length} of ${counts.taken + counts.refused} apart, e.g.\n${apart.slice(0, 8).join("\n")}`);
});
