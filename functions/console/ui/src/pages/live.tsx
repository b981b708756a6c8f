import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { Chart } from "../chart";
import { ago, compact, duration, ms, num, percent, plain, rate, shortType, since, time } from "../format";
import { icons } from "../icons";
import { useLive } from "../stream";
import type { Decision, Frame, HopNow, TriggerStatus, Trouble, ViewProps } from "../types";
import { Bars, Card, Empty, Kind, PlayerLink, Tabs, Tag, Wrong } from "../ui";

// Live answers in ten seconds: are players being served, and if not, why.

export function LivePage(p: ViewProps) {
  const live = useLive();
  const f = live.frame;
  if (!f) return <Empty>Connecting …</Empty>;
  const blocked = f.flow.rules.filter((r) => r.name !== "nothing-eligible");
  const idle = f.flow.rules.find((r) => r.name === "nothing-eligible");
  return (
    <>
      <Health f={f} />
      <Card title="The way of an event" class="flow-card" aside={<span class="hint">rates over 5 s, latencies over 1 min</span>}><Flow f={f} /></Card>
      <div class="grid two-one">
        <Over f={f} theme={p.theme} />
        <Card title="Latency from POST" aside={<span class="hint">{num(f.flow.hops.total?.n ?? 0)} decisions</span>}><Latency f={f} /></Card>
      </div>
      <div class="grid two-one">
        <div class="stack"><Places f={f} /><Ticker list={live.issued} skipped={live.skipped} /></div>
        <div class="stack">
          <Card title="Suppressed, by rule" aside={<a href="/decisions?verdict=suppressed">all</a>}>
            {blocked.length ? <Bars label="Suppressions by rule" items={blocked.slice(0, 8).map((r) => ({ ...r, href: "/decisions?verdict=suppressed&rule=" + encodeURIComponent(r.name), tone: "bad" }))} /> : <Empty>No rule stopped anything yet.</Empty>}
            {idle && <p class="bar-text">{num(idle.n)} more had nothing worth sending.</p>}
          </Card>
          <Card title="Issued, by action" aside={<a href="/decisions?verdict=issued">all</a>}>
            {f.flow.actions.length ? <Bars label="Recommendations by action" items={f.flow.actions.slice(0, 6).map((a) => ({ name: plain(a.name), n: a.n, href: "/decisions?verdict=issued&action=" + encodeURIComponent(a.name) }))} /> : <Empty>Nothing was recommended yet.</Empty>}
          </Card>
          <Card title="Events, by type"><Bars label="Events by type" items={f.flow.types.slice(0, 8).map((t) => ({ name: shortType(t.name), n: t.n, tone: "service" }))} /></Card>
        </div>
      </div>
    </>
  );
}

// Health is the one sentence an operator came for: is everything well, and if
// not, what is wrong, since when, by whom, and where to look.
function Health(p: { f: Frame }) {
  const { flow, broker, troubles } = p.f;
  const into = flow.stages.platform?.rate ?? 0, issued = flow.stages.issued?.rate ?? 0;
  const decided = issued + (flow.stages.suppressed?.rate ?? 0);
  const nothing = flow.rules.find((r) => r.name === "nothing-eligible")?.n ?? 0;
  const quiet = into === 0 && decided === 0;
  const tone = troubles.length ? "warn" : quiet ? "idle" : "good";
  const fresh = p.f.dead_letters_lately;
  return (
    <section class={"health " + tone} aria-label="State of the service">
      <div class="health-word">
        <h1>{troubles.length ? "Players are served, with trouble" : quiet ? "Waiting for events" : "Players are being served"}</h1>
        {troubles.length > 0 && <ul class="troubles">{troubles.slice(0, 6).map((t) => (
          <li key={t.code + t.what + t.name}><a href={t.href}>{capital(wrong(t))}</a> <span class="hint">{t.since && !t.since.startsWith("0001") ? "since " + since(t.since) : ""}{t.by ? ", by " + t.by : ""}{t.note ? ": " + t.note : ""}</span></li>
        ))}{troubles.length > 6 && <li>{num(troubles.length - 6)} more</li>}</ul>}
        {troubles.length === 0 && <p>{quiet ? "POST an event, and it shows here within a second. " : `${rate(into)} events/s come in, ${rate(issued)} recommendations/s go out, half of them within ${ms(flow.hops.total?.p50_ms)} of the POST. `}</p>}
        {!fresh && p.f.dead_letters > 0 && <p><a href="/deadletters">{capital(letters(p.f.dead_letters))} from before {p.f.dead_letters === 1 ? "waits" : "wait"} for somebody.</a></p>}
      </div>
      <dl class="kpis">
        <Kpi name="Events in" n={num(flow.stages.platform?.total ?? 0)} />
        <Kpi name="Issued" n={num(flow.stages.issued?.total ?? 0)} href="/decisions?verdict=issued" />
        <Kpi name="Blocked by a rule" n={num(Math.max(0, (flow.stages.suppressed?.total ?? 0) - nothing))} href="/decisions?verdict=suppressed" />
        <Kpi name="Nothing to say" n={num(nothing)} href="/decisions?verdict=suppressed&rule=nothing-eligible" />
        <Kpi name="Retries" n={broker.known ? num(broker.retried) : "–"} />
        <Kpi name="Dead letters" n={num(p.f.dead_letters)} href="/deadletters" tone={fresh ? "bad" : ""} />
      </dl>
    </section>
  );
}

// wrong says a trouble in words.
function wrong(t: Trouble): string {
  const n = t.n ?? 0;
  switch (t.code) {
    case "switch-on": return `${t.what} ${plain(t.name!)} is stopped`;
    case "place-starved": return `nobody in ${t.what} ${t.name} got anything in ${num(n)} decisions`;
    case "model-silent": return `model ${t.name} has no score for ${percent(n, 0)} of the decisions`;
    case "broker-unread": return "the Broker's counters cannot be read";
    case "broker-full": return "the Broker takes no events: its log cannot be written";
    case "broker-lost": return `the Broker's log was damaged and lost ${num(n)} acknowledged ${n === 1 ? "event" : "events"}`;
    case "dead-letters": return `${letters(n)} came in the last five minutes`;
    case "lag": return `${compact(n)} events wait for ${t.name}`;
    case "slow": return `the slowest 1 % wait ${ms(n)}`;
    case "nothing-decided": return "players are scored, but nothing is decided";
    case "switches-unread": return "the kill switches cannot be read";
    default: return t.code;
  }
}

const spans: Record<string, string> = { now: "two minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days" };

interface History { step_s: number; buckets: { at: string; issued: number; blocked: number; nothing: number }[] }

// Over is the chart: of the stream's last two minutes, or of up to 30 days out of
// the journal, of all places or of one.
function Over(p: { f: Frame; theme: string }) {
  const live = useLive();
  const [span, setSpan] = useState("now");
  const [place, setPlace] = useState("");
  const { data, error, reload } = useLoaded<History>(span === "now" ? null : `/api/history?range=${span}${place && "&" + place}`, 15_000);
  const at = (data?.buckets ?? []).map((b) => Date.parse(b.at) / 1000);
  const of = (name: "issued" | "blocked" | "nothing") => (data?.buckets ?? []).map((b) => b[name]);
  return (
    <Card title={"Last " + spans[span]} aside={<>
      {span !== "now" && <select aria-label="Place" value={place} onChange={(e) => setPlace(e.currentTarget.value)}>
        <option value="">all places</option>
        {(["jurisdiction", "brand"] as const).flatMap((by) => (p.f.places[by] ?? []).map((l) => <option key={by + l.name} value={by + "=" + encodeURIComponent(l.name)}>{by} {l.name}</option>))}
      </select>}
      <select aria-label="Time range" value={span} onChange={(e) => setSpan(e.currentTarget.value)}>{Object.entries(spans).map(([id, name]) => <option key={id} value={id}>{name}</option>)}</select>
    </>}>
      {span === "now" ? <Chart at={live.at} height={190} theme={p.theme} unit="per second" label="Events and decisions a second over the last two minutes" lines={[
        { label: "events", color: "--accent", values: live.series.platform, fill: true },
        { label: "scored", color: "--service", values: live.series.score },
        { label: "issued", color: "--protection", values: live.series.issued },
        { label: "suppressed", color: "--bad", values: live.series.suppressed },
      ]} /> : <><Wrong text={error} again={reload} />{data && <Chart at={at} height={190} theme={p.theme} unit={"per " + duration(data.step_s)} label={`Decisions over the last ${spans[span]}`} lines={[
        { label: "issued", color: "--protection", values: of("issued"), fill: true },
        { label: "blocked", color: "--bad", values: of("blocked") },
        { label: "nothing to say", color: "--service", values: of("nothing") },
      ]} />}</>}
    </Card>
  );
}

// Places tells what each jurisdiction's or brand's players get.
function Places(p: { f: Frame }) {
  const [by, setBy] = useState<"jurisdiction" | "brand">("jurisdiction");
  const list = p.f.places[by] ?? [];
  return (
    <Card title="What each place gets" aside={<Tabs label="Places by" chosen={by} choose={(id) => setBy(id as typeof by)} items={[{ id: "jurisdiction", name: "Jurisdictions" }, { id: "brand", name: "Brands" }]} />}>
      {list.length === 0 ? <Empty>No decision yet.</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label="Places"><table class="places">
        <thead><tr><th scope="col">{by === "brand" ? "Brand" : "Jurisdiction"}</th><th scope="col" class="r">Decided</th><th scope="col" class="r">Issued</th><th scope="col" class="r">Blocked</th><th scope="col" class="r">Nothing to say</th><th scope="col" class="r">Last issued</th></tr></thead>
        <tbody>{list.slice(0, 14).map((l) => <tr key={l.name}><th scope="row"><a href={`/decisions?${by}=${encodeURIComponent(l.name)}`}>{l.name}</a>{l.starved && <> <Tag tone="bad">gets nothing</Tag></>}</th>
          <td class="r">{num(l.decided)}</td><td class="r">{num(l.issued)}</td><td class="r">{num(l.blocked)}</td><td class="r">{num(l.nothing)}</td><td class="r nowrap">{l.last && !l.last.startsWith("0001") ? ago(l.last) : "never"}</td></tr>)}</tbody>
      </table></div>}
    </Card>
  );
}

const letters = (n: number) => n === 1 ? "one dead letter" : `${num(n)} dead letters`;
const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

const Kpi = (p: { name: string; n: string; href?: string; tone?: string }) => (
  <div class={"kpi " + (p.tone ?? "")}><dt>{p.name}</dt><dd>{p.href ? <a href={p.href}>{p.n}</a> : p.n}</dd></div>
);

function Flow(p: { f: Frame }) {
  const { stages, hops } = p.f.flow;
  const trigger = (name: string) => p.f.broker.triggers?.find((t) => t.name === "pitboss-" + name);
  const into = (stages.platform?.rate ?? 0) + (stages.timer?.rate ?? 0) + (stages.outcome?.rate ?? 0);
  const decided = (stages.issued?.rate ?? 0) + (stages.suppressed?.rate ?? 0);
  return (
    <ol class="flow">
      <Node name="Platforms" role="POST events" big={num(stages.platform?.total ?? 0)} small="accepted" />
      <Edge rate={into} />
      <Node name="profile" role="folds into the player's state" hop={hops.profile} trigger={trigger("profile")} />
      <Edge rate={stages.profile?.rate ?? 0} />
      <Node name="score" role="rates with ONNX models" hop={hops.score} trigger={trigger("score")} />
      <Edge rate={stages.score?.rate ?? 0} />
      <Node name="decide" role="law, policy, next best action" hop={hops.decide} trigger={trigger("decide")} />
      <Edge rate={decided} />
      <Node name="Consumers" role="take it with a Trigger" big={num(stages.issued?.total ?? 0)} small={`issued, ${num(stages.suppressed?.total ?? 0)} suppressed`} hop={hops.consumers} />
    </ol>
  );
}

function Node(p: { name: string; role: string; hop?: HopNow; trigger?: TriggerStatus; big?: string; small?: string }) {
  const t = p.trigger;
  return (
    <li class="node">
      <b class="node-name">{p.name}</b>
      <span class="node-role">{p.role}</span>
      {p.big && <span class="node-big">{p.big} <small>{p.small}</small></span>}
      {p.hop && p.hop.n > 0 && <span class="node-lat"><span><small>p50</small> {ms(p.hop.p50_ms)}</span><span><small>p99</small> {ms(p.hop.p99_ms)}</span></span>}
      {p.hop && p.hop.n === 0 && !p.big && <span class="node-lat quiet">no decision yet</span>}
      {t && <span class="node-sub">{t.lag ? `${compact(t.lag)} waiting` : "no backlog"}{t.retried ? `, ${compact(t.retried)} retries` : ""}{t.dead_lettered ? <a href="/deadletters">, {compact(t.dead_lettered)} dead</a> : ""}</span>}
    </li>
  );
}

function Edge(p: { rate: number }) {
  const speed = p.rate <= 0 ? "still" : p.rate < 5 ? "slow" : p.rate < 200 ? "steady" : "fast";
  return (
    <li class={"edge " + speed} aria-label={`${rate(p.rate)} events a second`}>
      <span class="edge-rate">{rate(p.rate)}<small>/s</small></span>
      <div class="edge-track" aria-hidden="true"><div class="edge-move" /></div>
    </li>
  );
}

function Latency(p: { f: Frame }) {
  const rows: [string, string, HopNow | undefined][] = [
    ["POST → decision", "accepted by the Broker to decided", p.f.flow.hops.total],
    ["Event time → decision", "when it happened to decided", p.f.flow.hops.event],
    ["Decision → consumer", "the Broker's delivery", p.f.flow.hops.consumers],
  ];
  return (
    <table class="plain">
      <thead><tr><th scope="col">From, to</th><th scope="col" class="r">p50</th><th scope="col" class="r">p99</th></tr></thead>
      <tbody>{rows.map(([name, what, h]) => (
        <tr key={name}><th scope="row">{name}<small>{what}</small></th><td class="r big">{h?.n ? ms(h.p50_ms) : "–"}</td><td class="r big">{h?.n ? ms(h.p99_ms) : "–"}</td></tr>
      ))}</tbody>
    </table>
  );
}

function Ticker(p: { list: Decision[]; skipped: number }) {
  const [held, setHeld] = useState<Decision[]>();
  const list = held ?? p.list;
  return (
    <Card title="Recommendations" class="ticker" aside={<>
      {p.skipped > 0 && <span class="hint">{compact(p.skipped)} more than fit here; all are counted</span>}
      <button type="button" class="button ghost" onClick={() => setHeld(held ? undefined : p.list)} aria-pressed={!!held}>{held ? icons.play : icons.pause}{held ? "Go on" : "Hold"}</button>
    </>}>
      {list.length === 0 && <Empty>None yet. A declined deposit makes one: POST payment.failed twice.</Empty>}
      <ul>{list.slice(0, 14).map((d) => <Said key={d.seq} d={d} />)}</ul>
    </Card>
  );
}

function Said(p: { d: Decision }) {
  const { d } = p;
  return (
    <li class={"said edge-" + d.kind}>
      <div class="said-head">
        <Kind kind={d.kind} /><b>{plain(d.action)}</b><span class="hint">{d.jurisdiction}{d.arm ? " · " + d.arm : ""}</span>
        <span class="spacer" /><span class="hint">{d.total_ms ? ms(d.total_ms) : ""}</span><time class="hint" dateTime={d.decided_at}>{time(d.decided_at)}</time>
      </div>
      <p>{d.words}</p>
      <div class="said-foot"><PlayerLink id={d.player} /><a href={"/decisions/" + encodeURIComponent(d.decision)}>why?</a></div>
    </li>
  );
}
