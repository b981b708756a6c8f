import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { Chart } from "../chart";
import { ago, capital, compact, duration, known, ms, num, percent, plain, rate, shortType, since, time } from "../format";
import { t, word, type Key } from "../i18n";
import { icons } from "../icons";
import { useLive } from "../stream";
import type { Decision, Frame, HopNow, TriggerStatus, Trouble, ViewProps } from "../types";
import { Bars, Card, Data, Empty, Kind, PlayerLink, Tabs, Tag, Wrong } from "../ui";
import { actionOf, said } from "../words";

// Live shows at a glance whether players are being served, and if not, why.

export function LivePage(p: ViewProps) {
  const live = useLive();
  const f = live.frame;
  if (!f) return <Empty>{t("live.connecting")}</Empty>;
  const blocked = f.flow.rules.filter((r) => r.name !== "nothing-eligible");
  const idle = f.flow.rules.find((r) => r.name === "nothing-eligible");
  return (
    <>
      <Health f={f} />
      <Card title={t("live.flow")} class="flow-card" aside={<span class="hint">{t("live.flow-hint")}</span>}><Flow f={f} /></Card>
      <div class="grid two-one">
        <Over f={f} theme={p.theme} />
        <Card title={t("live.latency")} aside={<span class="hint">{t("n-decisions", { n: f.flow.hops.total?.n ?? 0 })}</span>}><Latency f={f} /></Card>
      </div>
      <div class="grid two-one">
        <div class="stack"><Places f={f} /><Ticker list={live.issued} skipped={live.skipped} /></div>
        <div class="stack">
          <Card title={t("by-rule")} aside={<a href="/decisions?verdict=suppressed">{t("all")}</a>}>
            {blocked.length ? <Bars label={t("by-rule")} items={blocked.slice(0, 8).map((r) => ({ ...r, href: "/decisions?verdict=suppressed&rule=" + encodeURIComponent(r.name), tone: "bad" }))} /> : <Empty>{t("live.no-rule")}</Empty>}
            {idle && <p class="bar-text">{t("live.idle", { n: idle.n })}</p>}
          </Card>
          <Card title={t("live.by-action")} aside={<a href="/decisions?verdict=issued">{t("all")}</a>}>
            {f.flow.actions.length ? <Bars label={t("live.by-action")} items={f.flow.actions.slice(0, 6).map((a) => ({ name: plain(a.name), n: a.n, href: "/decisions?verdict=issued&action=" + encodeURIComponent(a.name) }))} /> : <Empty>{t("experiments.nothing")}</Empty>}
          </Card>
          <Card title={t("live.by-type")}><Bars label={t("live.by-type")} items={f.flow.types.slice(0, 8).map((t) => ({ name: shortType(t.name), n: t.n, tone: "service" }))} /></Card>
        </div>
      </div>
    </>
  );
}

// Health says in one sentence whether all is well. If not, it says what is wrong, since
// when, who caused it, and where to look.
function Health(p: { f: Frame }) {
  const { flow, broker, troubles } = p.f;
  const into = flow.stages.platform?.rate ?? 0, issued = flow.stages.issued?.rate ?? 0;
  const decided = issued + (flow.stages.suppressed?.rate ?? 0);
  const nothing = flow.rules.find((r) => r.name === "nothing-eligible")?.n ?? 0;
  const quiet = into === 0 && decided === 0;
  const tone = troubles.length ? "warn" : quiet ? "idle" : "good";
  const fresh = p.f.dead_letters_lately;
  return (
    <section class={"health " + tone} aria-label={t("live.state")}>
      <div class="health-word">
        <h1>{t(troubles.length ? "live.trouble" : quiet ? "live.waiting" : "live.well")}</h1>
        {troubles.length > 0 && <ul class="troubles">{troubles.slice(0, 6).map((x) => (
          <li key={x.code + x.what + x.name}><a href={x.href}>{capital(wrong(x))}</a> <span class="hint">{known(x.since) && (x.by ? t("live.since-by", { time: since(x.since), who: x.by }) : t("live.since", { time: since(x.since) }))}{x.note && <Data>: {x.note}</Data>}</span></li>
        ))}{troubles.length > 6 && <li>{t("n-more", { n: troubles.length - 6 })}</li>}</ul>}
        {troubles.length === 0 && <p>{quiet ? t("live.quiet") : t("live.sentence", { into: rate(into), issued: rate(issued), ms: ms(flow.hops.total?.p50_ms) })}</p>}
        {p.f.models.filter((m) => m.n >= 50 && m.too_new >= 0.1).map((m) => <p key={m.name} class="hint">{t("live.too-new", { share: percent(m.too_new, 0), name: m.name })}</p>)}
        {p.f.limited && <p class="hint">{t("live.limited")}</p>}
        {!fresh && p.f.dead_letters > 0 && <p><a href="/deadletters">{t("live.old-letters", { n: p.f.dead_letters })}</a></p>}
      </div>
      <dl class="kpis">
        <Kpi name={t("live.in")} n={num(flow.stages.platform?.total ?? 0)} />
        <Kpi name={t("col.issued")} n={num(flow.stages.issued?.total ?? 0)} href="/decisions?verdict=issued" />
        <Kpi name={t("live.blocked")} n={num(Math.max(0, (flow.stages.suppressed?.total ?? 0) - nothing))} href="/decisions?verdict=suppressed" />
        <Kpi name={t("live.nothing")} n={num(nothing)} href="/decisions?verdict=suppressed&rule=nothing-eligible" />
        <Kpi name={t("live.retries")} n={broker.known ? num(broker.retried) : "–"} />
        <Kpi name={t("letters.title")} n={num(p.f.dead_letters)} href="/deadletters" tone={fresh ? "bad" : ""} />
      </dl>
    </section>
  );
}

// wrong describes a trouble.
function wrong(x: Trouble): string {
  const n = x.n ?? 0, name = x.name ?? "";
  switch (x.code) {
    case "switch-on": return x.what === "rule" ? t("trouble.rule-denies", { name }) : t("trouble.switch-on", { what: word("what", x.what ?? ""), name: plain(name) });
    case "place-starved": return t(x.what === "brand" ? "trouble.brand-starved" : "trouble.place-starved", { name, n });
    case "model-silent": return t("trouble.model-silent", { name, share: percent(n, 0) });
    case "broker-unread": return t("trouble.broker-unread");
    case "broker-full": return t("trouble.broker-full");
    case "broker-lost": return t("trouble.broker-lost", { n });
    case "dead-letters": return t("trouble.dead-letters", { n });
    case "lag": return t("trouble.lag", { n, name });
    case "slow": return t("trouble.slow", { ms: ms(n) });
    case "nothing-decided": return t("trouble.nothing-decided");
    case "switches-unread": return t("trouble.switches-unread");
    default: return x.code;
  }
}

const spans = ["now", "1h", "6h", "24h", "7d", "30d"] as const;
type Span = (typeof spans)[number];

interface History { step_s: number; buckets: { at: string; issued: number; blocked: number; nothing: number }[] }

// Over is the chart of the last two minutes from the stream, or of up to 30 days from the
// journal, for all places or for one.
function Over(p: { f: Frame; theme: string }) {
  const live = useLive();
  const [span, setSpan] = useState<Span>("now");
  const [place, setPlace] = useState("");
  const { data, error, reload } = useLoaded<History>(span === "now" ? null : `/api/history?range=${span}${place && "&" + place}`, 15_000);
  const at = (data?.buckets ?? []).map((b) => Date.parse(b.at) / 1000);
  const of = (name: "issued" | "blocked" | "nothing") => (data?.buckets ?? []).map((b) => b[name]);
  return (
    <Card title={t(`last.${span}`)} aside={<>
      {span !== "now" && <select name="place" aria-label={t("place")} value={place} onChange={(e) => setPlace(e.currentTarget.value)}>
        <option value="">{t("all-places")}</option>
        {(["jurisdiction", "brand"] as const).flatMap((by) => (p.f.places[by] ?? []).map((l) => <option key={by + l.name} value={by + "=" + encodeURIComponent(l.name)}translate={false}>{word("what", by)} {l.name}</option>))}
      </select>}
      <select name="span" aria-label={t("time-range")} value={span} onChange={(e) => setSpan(e.currentTarget.value as Span)}>{spans.map((id) => <option key={id} value={id}>{t(`span.${id}`)}</option>)}</select>
    </>}>
      {span === "now" ? <Chart at={live.at} height={190} theme={p.theme} unit={t("per-second")} label={t("live.chart")} lines={[
        { label: t("live.events"), color: "--accent", values: live.series.platform, fill: true },
        { label: t("live.scored"), color: "--service", values: live.series.score },
        { label: word("verdict", "issued"), color: "--protection", values: live.series.issued },
        { label: word("verdict", "suppressed"), color: "--bad", values: live.series.suppressed },
      ]} /> : <><Wrong text={error} again={reload} />{data && <Chart at={at} height={190} theme={p.theme} unit={t("per", { time: duration(data.step_s) })} label={t("live.chart-of", { span: t(`last.${span}`) })} lines={[
        { label: word("verdict", "issued"), color: "--protection", values: of("issued"), fill: true },
        { label: t("live.blocked"), color: "--bad", values: of("blocked") },
        { label: t("live.nothing"), color: "--service", values: of("nothing") },
      ]} />}</>}
    </Card>
  );
}

// Places shows what the players of each jurisdiction or brand get.
function Places(p: { f: Frame }) {
  const [by, setBy] = useState<"jurisdiction" | "brand">("jurisdiction");
  const list = p.f.places[by] ?? [];
  return (
    <Card title={t("live.places")} aside={<Tabs label={t("live.places-by")} chosen={by} choose={(id) => setBy(id as typeof by)} items={[{ id: "jurisdiction", name: t("jurisdictions") }, { id: "brand", name: t("brands") }]} />}>
      {list.length === 0 ? <Empty>{t("live.no-decision")}</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label={t("live.places")}><table class="places">
        <thead><tr><th scope="col">{t(`filter.${by}`)}</th><th scope="col" class="r">{t("decided")}</th><th scope="col" class="r">{t("col.issued")}</th><th scope="col" class="r">{t("blocked")}</th><th scope="col" class="r">{t("live.nothing")}</th><th scope="col" class="r">{t("live.last-issued")}</th></tr></thead>
        <tbody>{list.slice(0, 14).map((l) => <tr key={l.name}><th scope="row"><a translate={false} href={`/decisions?${by}=${encodeURIComponent(l.name)}`}>{l.name}</a>{l.starved && <> <Tag tone="bad">{t("live.starved")}</Tag></>}</th>
          <td class="r">{num(l.decided)}</td><td class="r">{num(l.issued)}</td><td class="r">{num(l.blocked)}</td><td class="r">{num(l.nothing)}</td><td class="r nowrap">{known(l.last) ? <time dateTime={l.last}>{ago(l.last)}</time> : t("never")}</td></tr>)}</tbody>
      </table></div>}
    </Card>
  );
}

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
      <Node name={t("flow.platforms")} role={t("flow.platforms-do")} big={num(stages.platform?.total ?? 0)} small={t("flow.accepted")} />
      <Edge rate={into} />
      <Node name={<Data>profile</Data>} role={t("flow.profile")} hop={hops.profile} trigger={trigger("profile")} />
      <Edge rate={stages.profile?.rate ?? 0} />
      <Node name={<Data>score</Data>} role={t("flow.score")} hop={hops.score} trigger={trigger("score")} />
      <Edge rate={stages.score?.rate ?? 0} />
      <Node name={<Data>decide</Data>} role={t("flow.decide")} hop={hops.decide} trigger={trigger("decide")} />
      <Edge rate={decided} />
      <Node name={t("flow.consumers")} role={t("flow.consumers-do")} big={num(stages.issued?.total ?? 0)} small={t("flow.issued", { n: stages.suppressed?.total ?? 0 })} hop={hops.consumers} />
    </ol>
  );
}

function Node(p: { name: preact.ComponentChildren; role: string; hop?: HopNow; trigger?: TriggerStatus; big?: string; small?: string }) {
  const b = p.trigger;
  return (
    <li class="node">
      <b class="node-name">{p.name}</b>
      <span class="node-role">{p.role}</span>
      {p.big && <span class="node-big">{p.big} <small>{p.small}</small></span>}
      {p.hop && p.hop.n > 0 && <span class="node-lat"><span><small>p50</small> {ms(p.hop.p50_ms)}</span><span><small>p99</small> {ms(p.hop.p99_ms)}</span></span>}
      {p.hop && p.hop.n === 0 && !p.big && <span class="node-lat quiet">{t("flow.quiet")}</span>}
      {b && <span class="node-sub">{b.lag ? t("flow.lag", { n: b.lag }) : t("flow.no-lag")}{b.retried > 0 && ", " + t("flow.retried", { n: b.retried })}{b.dead_lettered > 0 && <>, <a href="/deadletters">{t("flow.dead", { n: b.dead_lettered })}</a></>}</span>}
    </li>
  );
}

function Edge(p: { rate: number }) {
  const speed = p.rate <= 0 ? "still" : p.rate < 5 ? "slow" : p.rate < 200 ? "steady" : "fast";
  return (
    <li class={"edge " + speed} aria-label={t("flow.rate", { rate: rate(p.rate) })}>
      <span class="edge-rate">{rate(p.rate)}<small>/s</small></span>
      <div class="edge-track" aria-hidden="true"><div class="edge-move" /></div>
    </li>
  );
}

function Latency(p: { f: Frame }) {
  const rows: [Key, Key, HopNow | undefined][] = [
    ["latency.total", "latency.total-hint", p.f.flow.hops.total],
    ["latency.event", "latency.event-hint", p.f.flow.hops.event],
    ["latency.consumers", "latency.consumers-hint", p.f.flow.hops.consumers],
  ];
  return (
    <table class="plain">
      <thead><tr><th scope="col">{t("latency.from-to")}</th><th scope="col" class="r">p50</th><th scope="col" class="r">p99</th></tr></thead>
      <tbody>{rows.map(([name, what, h]) => (
        <tr key={name}><th scope="row">{t(name)}<small>{t(what)}</small></th><td class="r big">{h?.n ? ms(h.p50_ms) : "–"}</td><td class="r big">{h?.n ? ms(h.p99_ms) : "–"}</td></tr>
      ))}</tbody>
    </table>
  );
}

function Ticker(p: { list: Decision[]; skipped: number }) {
  const [held, setHeld] = useState<Decision[]>();
  const list = held ?? p.list;
  return (
    <Card title={t("live.ticker")} class="ticker" aside={<>
      {p.skipped > 0 && <span class="hint">{t("live.skipped", { count: compact(p.skipped) })}</span>}
      <button type="button" class="button ghost" onClick={() => setHeld(held ? undefined : p.list)} aria-pressed={!!held}>{held ? icons.play : icons.pause}{t(held ? "live.go-on" : "live.hold")}</button>
    </>}>
      {list.length === 0 && <Empty>{t("live.none", { type: "payment.failed" })}</Empty>}
      <ul>{list.slice(0, 14).map((d) => <Said key={d.seq} d={d} />)}</ul>
    </Card>
  );
}

function Said(p: { d: Decision }) {
  const { d } = p;
  return (
    <li class={"said edge-" + d.kind}>
      <div class="said-head">
        <Kind kind={d.kind} /><b translate={false}>{actionOf(d)}</b><span class="hint" translate={false}>{d.jurisdiction}{d.arm ? " · " + d.arm : ""}</span>
        <span class="spacer" /><span class="hint">{d.total_ms ? ms(d.total_ms) : ""}</span><time class="hint" dateTime={d.decided_at}>{time(d.decided_at)}</time>
      </div>
      <p>{said(d)}</p>
      <div class="said-foot"><PlayerLink id={d.player} /><a href={"/decisions/" + encodeURIComponent(d.decision)}>{t("live.why")}</a></div>
    </li>
  );
}
