// Every page of the console, with content.
import { get, send, until } from "./system.mjs";

// furnish sends events that give every page content, and returns the paths of the pages.
export async function furnish(system) {
  await send(system.ingest, "account.registered", "alice", { jurisdiction: "GB", birth_date: "1990-05-01", brand: "e2e", currency: "GBP" });
  await send(system.ingest, "protection.limit.set", "alice", { limit: "deposit", period: "month", amount: 50000, currency: "GBP" });
  await send(system.ingest, "consent.changed", "alice", { product: "casino", channel: "email", granted: false });
  await send(system.ingest, "protection.indicator.raised", "alice", { group: "behaviour", strength: "strong" });
  await send(system.broker, "round.settled", "alice", { game: "roulette", stake: -5 });
  await fetch(system.page + "/api/switches", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ what: "action", name: "free_spins", on: true, note: "e2e" }) });
  const decision = async (verdict) => "/decisions/" + await until(verdict, async () => (await get(system, `/api/decisions?verdict=${verdict}`)).decisions[0]?.decision, 90_000);
  await until("a case", async () => (await get(system, "/api/reviews")).open.length > 0, 60_000);
  await until("a dead letter", async () => (await get(system, "/api/deadletters")).dead_letters.length > 0, 60_000);
  return ["/", "/players", "/players/alice", "/decisions", await decision("issued"), await decision("suppressed"), "/review", "/models", "/experiments",
    "/deadletters", "/rules?pack=GB", "/approvals", "/changes", "/nowhere"];
}
