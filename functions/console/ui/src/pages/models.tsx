import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { num, percent, plain, us } from "../format";
import type { Bucket, ModelView, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Tag, Wrong } from "../ui";

interface Bin { n: number; said: number; happened: number }
interface Answer { models: ModelView[]; note: string; writable: boolean; calibration: Bin[] }

export function ModelsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Answer>("/api/models", 3000);
  const [asking, ask] = useState<{ m: ModelView; back: boolean }>();
  const [stopping, stop] = useState<string>();
  const names = [...new Set(data?.models.map((m) => m.name) ?? [])];
  return (
    <>
      <Head title="Models" lead="The live version's score is decided on; shadows score the same events and are compared before one is promoted." />
      <Wrong text={error} again={reload} />
      {data?.note && <p class="note">{data.note}</p>}
      {data && !data.writable && <p class="note">serving.yaml cannot be written from here, so promotion is done where it lies (on a cluster: the ConfigMap).</p>}
      {names.map((n) => (
        <section key={n} class="model-group">
          <h2 class="group-title">{n}</h2>
          <div class="grid two">{data!.models.filter((m) => m.name === n).map((m) => (
            <Version key={m.version} m={m} calibration={m.role === "live" && m.output === "leave" ? data!.calibration : undefined}>
              {m.role === "live" && data!.models.some((o) => o.name === n && o.previous && o.version !== m.version) && <Act who={p.who} role="operator" onClick={() => ask({ m, back: true })}>Roll back</Act>}
              {m.role === "live" && <Act who={p.who} role="compliance" tone="danger" onClick={() => stop(m.name)}>Stop</Act>}
              {m.role !== "live" && !m.problem && <Act who={p.who} role="operator" disabled={!data!.writable} onClick={() => ask({ m, back: false })}>Promote</Act>}
            </Version>
          ))}</div>
        </section>
      ))}
      {stopping && <Ask title={`Stop model ${stopping}`} button="Stop it now" tone="danger" onClose={() => stop(undefined)}
        text={<p>Its score counts as not known from the next second on, on every instance: protection goes on, marketing that needs it stops. The Rules page lists the switch and lets it go on.</p>}
        fields={[{ name: "note", label: "Why", hint: "It is journaled with your name." }]}
        change={async (v) => { await call("/api/switches", { what: "model", name: stopping, on: true, note: v.note }); return `${stopping} is stopped.`; }} />}
      {asking && <Ask title={asking.back ? `Roll ${asking.m.name} back` : `Promote ${asking.m.name} ${asking.m.version}`} button={asking.back ? "Roll back" : "Promote"} tone="primary" onClose={() => ask(undefined)}
        text={<p>{asking.back ? "The version that was live before takes over again within seconds." : "It takes over within seconds, without a deploy; what is live now goes on as a shadow and is what a rollback goes back to."}</p>}
        fields={[{ name: "note", label: "Why", placeholder: "AUC on last week 0.02 better, drift low" }]}
        change={async (v) => {
          const out = await call<{ proposal?: unknown }>(`/api/models/${asking.m.name}/${asking.back ? "rollback" : "promote"}`, asking.back ? { note: v.note } : { version: asking.m.version, note: v.note });
          reload();
          return out.proposal ? "Proposed: another person approves it." : asking.back ? "Rolled back." : "Promoted.";
        }} />}
    </>
  );
}

function Version(p: { m: ModelView; calibration?: Bin[]; children: preact.ComponentChildren }) {
  const { m } = p;
  const s = m.serving;
  return (
    <Card title={<>{m.version} {m.role && <Tag tone={m.role === "live" ? "good" : "info"}>{m.role}</Tag>}{m.previous && <Tag>before</Tag>}</>} aside={p.children} class={"model " + m.role}>
      <Wrong text={m.problem} />
      <div class="model-body">
      <dl class="facts">
        <dt>Gives</dt><dd>{m.output}, {m.kind}, from {m.features?.length ?? 0} features</dd>
        <dt>Speaks of</dt><dd>{domain(m)}</dd>
        <dt>Trained</dt><dd>{m.trained?.Rows ? `${num(m.trained.Rows)} rows of ${m.trained.On?.join(", ")}, ${m.trained.With}` : "–"}</dd>
        <dt>sha256</dt><dd class="mono">{m.sha256?.slice(0, 16)}</dd>
        {Object.entries(m.metrics ?? {}).filter(([, v]) => typeof v === "number").slice(0, 8).map(([k, v]) => <><dt>{plain(k)}</dt><dd>{metric(v as number)}</dd></>)}
        {s && <><dt>Calls</dt><dd>{num(s.calls)}{s.errors ? `, ${num(s.errors)} failed` : ""}</dd><dt>Latency</dt><dd>p50 {us(s.p50_us)}, p99 {us(s.p99_us)}</dd></>}
        {s?.compare && s.compare.n > 0 && <><dt>Against live</dt><dd>differs by {s.compare.mean.toFixed(3)} on average; {percent(s.compare.other / Math.max(1, s.compare.agree + s.compare.other))} would be decided otherwise</dd></>}
      </dl>
      <div>
      {s && s.scores.length > 0 && <><h3>Scores given</h3><Histogram buckets={s.scores} /></>}
      {p.calibration && <Calibration bins={p.calibration} />}
      {s && s.drift.length > 0 && <><h3>Drift of inputs <small>population stability index; above 0.25 is another population</small></h3>
        <ul class="drift">{s.drift.slice(0, 8).map((d) => <li key={d.feature}><span>{d.feature}</span><b class={d.psi > 0.25 ? "bad" : d.psi > 0.1 ? "warn" : "good"}>{d.psi.toFixed(2)}</b></li>)}</ul></>}
      </div></div>
    </Card>
  );
}

// domain says in words whom the model was trained on.
const domain = (m: ModelView) => {
  if (!m.domain) return "everybody";
  const ranges = Object.entries(m.domain.ranges ?? {}).map(([k, r]) => `${plain(k)} ${r.min === undefined ? "up to " + num(r.max!) : r.max === undefined ? "from " + num(r.min) : num(r.min) + " to " + num(r.max)}`);
  return [m.domain.products ? "players of " + m.domain.products.join(" and ") : "", ...ranges].filter(Boolean).join("; ") + ". Of others the score is not known.";
};

const metric = (v: number) => (Number.isInteger(v) ? num(v) : Math.abs(v) < 0.001 ? v.toExponential(1) : v.toPrecision(4));

function Histogram(p: { buckets: Bucket[] }) {
  const most = Math.max(1, ...p.buckets.map((b) => b.n));
  const w = 100 / p.buckets.length;
  return (
    <svg class="histogram" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={"Histogram of scores: " + p.buckets.map((b) => `up to ${b.le.toFixed(2)}: ${b.n}`).join(", ")}>
      {p.buckets.map((b, i) => <rect key={b.le} x={i * w + 0.4} width={w - 0.8} y={30 - (30 * b.n) / most} height={(30 * b.n) / most} />)}
    </svg>
  );
}

// Calibration holds what was said against what came, since the console started.
function Calibration(p: { bins: Bin[] }) {
  const total = p.bins.reduce((n, b) => n + b.n, 0);
  if (total < 20) return <Empty>Calibration shows once the outcomes of 20 decisions are known (ten minutes after each).</Empty>;
  return (
    <>
      <h3>Calibration, live <small>{num(total)} outcomes; on the line is right</small></h3>
      <svg class="calibration" viewBox="0 0 100 100" role="img" aria-label={p.bins.filter((b) => b.n).map((b) => `said ${b.said.toFixed(2)}, happened ${b.happened.toFixed(2)}`).join("; ")}>
        <rect class="frame" width="100" height="100" /><line class="ideal" x1="0" y1="100" x2="100" y2="0" />
        {p.bins.filter((b) => b.n).map((b) => <circle key={b.said} cx={100 * b.said} cy={100 - 100 * b.happened} r={1.5 + 4 * Math.sqrt(b.n / total)} />)}
      </svg>
    </>
  );
}
