import { useEffect, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { bytes, duration, fromField, moment, money, num, plain, sentence, shortType, value } from "../format";
import { go } from "../router";
import { useLive } from "../stream";
import type { Decision, Facts, Player, Scoring, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Json, Kind, Meter, Modal, PlayerLink, Spark, Status, Tag, Verdict, Wrong } from "../ui";

interface Found { players: { player: string; events: number; last: string }[]; kept: number; bytes: number }

export function PlayersPage(p: ViewProps) {
  const q = p.url.searchParams.get("q") ?? "";
  const { data, error } = useLoaded<Found>("/api/players?q=" + encodeURIComponent(q), 2000);
  const open = (e: Event) => { e.preventDefault(); if (q) go("/players/" + encodeURIComponent(q)); };
  return (
    <>
      <Head title="Players" lead="Anyone whose events came in lately; Enter opens exactly the id typed, from Redis if need be." />
      <form class="search" role="search" onSubmit={open}>
        <input type="search" aria-label="Player id" placeholder="Player id, or a part of it" value={q} autofocus
          onInput={(e) => go("/players" + (e.currentTarget.value ? "?q=" + encodeURIComponent(e.currentTarget.value) : ""), true)} />
      </form>
      <Wrong text={error} />
      {data && <Card title={q ? "Found" : "Seen last"} aside={<span class="hint">{num(data.kept)} players in {bytes(data.bytes)} of memory</span>}>
        {data.players.length === 0 ? <Empty>{q ? <>Nobody by that name came in lately. <a href={"/players/" + encodeURIComponent(q)}>Look in Redis</a></> : "No event came in yet."}</Empty> :
          <div class="scroll" tabIndex={0} role="region" aria-label="Players"><table><thead><tr><th scope="col">Player</th><th scope="col" class="r">Events seen</th><th scope="col" class="r">Last</th></tr></thead>
            <tbody>{data.players.map((f) => <tr key={f.player}><td><PlayerLink id={f.player} /></td><td class="r">{num(f.events)}</td><td class="r">{moment(f.last)}</td></tr>)}</tbody></table></div>}
      </Card>}
    </>
  );
}

const shown = ["rounds_10m", "net_1h", "net_24h", "stake_mean_1h", "loss_streak", "session_minutes", "load_fails_10m", "payment_fails_1h", "deposits_24h", "deposit_sum_24h", "chase", "gap_mean_s"];

export function PlayerPage(p: ViewProps & { id: string }) {
  const loaded = useLoaded<Player>("/api/players/" + encodeURIComponent(p.id), 2000);
  const { error, reload } = loaded;
  const gone = useLive().erased.has(p.id);
  const [asking, ask] = useState<"erase" | "export" | "exclude">();
  const data = gone ? undefined : loaded.data;
  const scores = data?.scorings.filter((s) => s.scores) ?? [];
  const last = scores[scores.length - 1];
  return (
    <>
      <Head title={p.id} lead={data ? <FactsLine facts={data.facts} /> : "Looking …"}>
        <Act who={p.who} role="compliance" onClick={() => ask("exclude")}>Exclude</Act>
        <Act who={p.who} role="compliance" onClick={() => ask("export")}>Export</Act>
        <Act who={p.who} role="compliance" tone="danger" onClick={() => ask("erase")}>Erase</Act>
      </Head>
      <Wrong text={gone ? "This player was erased." : error} />
      {data && <>
        <div class="grid two-one">
          <Card title="Timeline" aside={<span class="hint">{num(data.seen)} events seen, the newest shown</span>}>
            {data.events.length === 0 && <Empty>No event of this player came in since the console started.</Empty>}
            <ol class="timeline">{data.events.map((m) => (
              <li key={m.source + m.id} class={m.decision ? "decided " + m.decision.verdict : shortType(m.type).includes("fail") || shortType(m.type).startsWith("protection") ? "alert" : ""}>
                <time dateTime={m.time}>{moment(m.time)}</time>
                {m.decision ? (
                  <div><div class="said-head"><Verdict verdict={m.decision.verdict} /><Status status={m.decision.status} /><Kind kind={m.decision.kind} /><a href={"/decisions/" + encodeURIComponent(m.decision.decision)}>{plain(m.decision.action)}</a></div><p>{m.decision.words}</p></div>
                ) : (
                  <details><summary>{sentence(m.type, m.data)}<small>{shortType(m.type)}</small></summary><Json value={m} /></details>
                )}
              </li>
            ))}</ol>
          </Card>
          <div class="stack">
            {last?.scores && <Card title="Risk now" aside={<time class="hint">{moment(last.as_of)}</time>}>
              {Object.entries(last.scores).map(([n, v]) => <div key={n} class="risk"><Meter label={n} value={v} /><Spark label={n} values={scores.map((s) => s.scores?.[n] ?? NaN)} /></div>)}
            </Card>}
            <Card title="State" aside={data.state ? <span class="mono hint">{data.state.version}</span> : undefined}>
              {data.state ? <dl class="facts"><dt>As of</dt><dd>{moment(data.state.as_of)}</dd><dt>Events applied</dt><dd>{num(data.state.applied)}</dd><dt>Too late</dt><dd>{num(data.state.late)}</dd></dl> : <Empty>{data.state_note || "No state in Redis."}</Empty>}
              <FactsList facts={data.facts} masked={data.masked} />
            </Card>
          </div>
        </div>
        <Features data={data} />
        <History id={p.id} seen={data.decisions} />
      </>}
      {asking === "erase" && <Ask title="Erase this player" button="Erase for good" tone="danger" onClose={() => ask(undefined)}
        text={<p>privacy.erase goes to the Broker: state, reminders, caps and the personal part of the journal are removed. What the law holds is kept. This cannot be undone.</p>}
        fields={[{ name: "confirm", label: `Type the player's id to confirm`, placeholder: p.id }, { name: "request", label: "Reference of the request", placeholder: "DSR-2026-0142" }]}
        change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/erase`, v); setTimeout(reload, 800); return "Erasure was sent. It acts as soon as privacy took it."; }} />}
      {asking === "exclude" && <Ask title="Enter a self-exclusion" button="Exclude" tone="danger" onClose={() => ask(undefined)}
        text={<p>protection.excluded goes to the Broker, as the platform would send it. Marketing stops at once, what was issued and not delivered is taken back. Tell the platform, too: it is who keeps the player from playing.</p>}
        fields={[{ name: "confirm", label: "Type the player's id to confirm", placeholder: p.id }, { name: "until", label: "Until, empty for no end", placeholder: "2027-06-30", optional: true }, { name: "note", label: "How the player asked", placeholder: "by phone, call 4711" }]}
        change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/exclude`, v); setTimeout(reload, 800); return "The exclusion was entered."; }} />}
      {asking === "export" && <Export id={p.id} close={() => ask(undefined)} />}
    </>
  );
}

// Export asks privacy for a copy, waits for it, and offers it to read or to keep.
function Export(p: { id: string; close: () => void }) {
  const [request, setRequest] = useState<string>();
  const at = "/api/exports/" + encodeURIComponent(request ?? "");
  const ready = async () => {
    for (let n = 0; n < 60; n++) {
      const res = await fetch(at, { method: "HEAD" });
      if (res.ok) return true;
      await new Promise((r) => setTimeout(r, 500));
    }
    return false;
  };
  const [there, setThere] = useState<boolean>();
  useEffect(() => { if (request) ready().then(setThere); }, [request]);
  if (!request) return (
    <Ask title="Export this player's data" button="Ask for the export" onClose={p.close} stays
      text={<p>privacy.export goes to the Broker; privacy answers with everything that is kept of the player, to read (HTML) and complete (JSON).</p>}
      fields={[{ name: "request", label: "Reference of the request", placeholder: "DSR-2026-0142" }]}
      change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/export`, v); setRequest(v.request); return "The export was asked for."; }} />
  );
  return (
    <Modal title={"Export " + request} onClose={p.close}>
      {there === undefined && <p>privacy is making the copy …</p>}
      {there === false && <Wrong text="The copy was not made within half a minute. It can be fetched here later, under the same reference." />}
      {there && <p class="buttons"><a class="button primary" href={at + "?as=html"} target="_blank" rel="external">Read it</a> <a class="button" href={at} download={request + ".json"}>JSON</a></p>}
    </Modal>
  );
}

interface Journaled { decisions: Decision[]; whole: boolean; behind: boolean; next?: string }

// History is the player's decisions as the journal has them; without one, those
// that this page saw.
function History(p: { id: string; seen: Decision[] }) {
  const [until, setUntil] = useState("");
  const [before, setBefore] = useState("");
  const up = [until && "until=" + until, before && "before=" + before].filter(Boolean).join("&");
  const { data, error } = useLoaded<Journaled>(`/api/players/${encodeURIComponent(p.id)}/decisions?${up}`, up ? 0 : 5000);
  const list = data?.decisions ?? p.seen;
  return (
    <Card title="Decisions" aside={<label class="inline">until <input type="datetime-local" step="1" aria-label="Decisions until" onChange={(e) => {
      const at = (e.target as HTMLInputElement).value;
      setUntil(fromField(at));
      setBefore("");
    }} /></label>}>
      {list.length === 0 ? <Empty>{up ? "None up to then." : "None yet."}</Empty> : <ul class="plain-list">{list.map((d) => (
        <li key={d.decision + d.verdict}><time class="hint">{moment(d.decided_at)}</time> <Verdict verdict={d.verdict} /><Status status={d.status} /> <a href={"/decisions/" + encodeURIComponent(d.decision)}>{d.action === "none" ? "nothing sent" : plain(d.action)}</a> <span class="hint">{d.words}</span></li>
      ))}</ul>}
      {before && <button type="button" class="button ghost" onClick={() => setBefore("")}>Newest</button>}
      {data?.next && <button type="button" class="button ghost" onClick={() => setBefore(data.next!)}>Older</button>}
      {data?.behind && <p class="hint">The journal is still being indexed.</p>}
      {data && !data.whole && <p class="hint">Some were written out to segments that this console does not read: set PITBOSS_SEGMENTS, or ask <span class="mono">pitboss explain --player … --segments …</span></p>}
      {error && !data && <p class="hint">Only what this page saw: {error}</p>}
    </Card>
  );
}

function FactsLine(p: { facts: Facts }) {
  const f = p.facts;
  return <>{[f.jurisdiction, f.brand, f.tier, f.currency].filter(Boolean).join(" · ") || "No facts known"}{f.exclusions?.length ? <> <Tag tone="bad">excluded</Tag></> : null}</>;
}

function FactsList(p: { facts: Facts; masked?: boolean }) {
  const f = p.facts;
  const said = (granted: boolean) => Object.entries(f.consents ?? {}).filter(([, v]) => v === granted).map(([k]) => k).join(", ");
  const limit = ([k, l]: [string, { amount: number; currency?: string; reached?: string }]) => k + " " + (k.startsWith("time") ? duration(l.amount) : money(l.amount, l.currency ?? f.currency)) + (l.reached && !l.reached.startsWith("0001") ? " (reached)" : "");
  return (
    <dl class="facts">
      <dt>Jurisdiction</dt><dd>{f.jurisdiction ?? "unknown: the strictest rules hold"}</dd>
      <dt>Born</dt><dd>{p.masked ? "hidden: compliance sees it" : f.birth_date ?? "unknown: no marketing"}</dd>
      <dt>Opted in to</dt><dd>{said(true) || "nothing"}</dd><dt>Opted out of</dt><dd>{said(false) || "nothing"}</dd>
      <dt>Exclusions</dt><dd>{f.exclusions?.length ? f.exclusions.map((e) => e.scheme + (e.until && !e.until.startsWith("0001") ? " until " + moment(e.until) : "")).join(", ") : "none"}</dd>
      <dt>Limits</dt><dd>{Object.entries(f.limits ?? {}).map(limit).join(", ") || "none"}</dd>
      <dt>Markers of harm</dt><dd>{p.masked ? "hidden: compliance sees them" : Object.entries(f.indicators ?? {}).map(([k, s]) => k + " " + s).join(", ") || "none"}</dd>
    </dl>
  );
}

function Features(p: { data: Player }) {
  const [all, setAll] = useState(false);
  const now = p.data.state?.features ?? p.data.scorings[p.data.scorings.length - 1]?.features ?? {};
  const names = Object.keys(now).sort();
  const pick = all ? names : shown.filter((n) => n in now);
  if (!names.length) return null;
  const series = (n: string) => p.data.scorings.map((s: Scoring) => s.features?.[n] ?? NaN);
  return (
    <Card title="Features over time" aside={<><span class="hint">at each decision point; the number is now</span><button type="button" class="button ghost" onClick={() => setAll(!all)}>{all ? "fewer" : `all ${names.length}`}</button></>}>
      <ul class="features">{pick.map((n) => <li key={n}><span class="feature-name">{n}</span><Spark label={n} values={series(n)} /><b>{value(now[n]!)}</b></li>)}</ul>
    </Card>
  );
}
