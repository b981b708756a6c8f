import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { and, fixed, metric, num, percent, plain, us, value } from "../format";
import { t, word } from "../i18n";
import { recorded } from "../recorded";
import type { Bucket, ModelView, ViewProps } from "../types";
import { Calibrated } from "./calibrated";
import { Act, Ask, Card, Data, Empty, Head, Tag, Wrong } from "../ui";

interface Bin { n: number; said: number; happened: number }
interface Answer { models: ModelView[]; note: string; writable: boolean; calibration: Bin[] }

export function ModelsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Answer>("/api/models", 3000);
  const [asking, ask] = useState<{ m: ModelView; back: boolean }>();
  const [stopping, stop] = useState<string>();
  const names = [...new Set(data?.models.map((m) => m.name) ?? [])];
  return (
    <>
      <Head title={t("models.title")} lead={t("models.lead")} />
      <Wrong text={error} again={reload} />
      {data?.note && <p class="note" translate={false}>{recorded(data.note)}</p>}
      {data && !data.writable && <p class="note">{t("models.read-only", { file: "serving.yaml" })}</p>}
      {names.map((n) => (
        <section key={n} class="model-group">
          <h2 class="group-title" translate={false}>{n}</h2>
          <div class="grid two">{data!.models.filter((m) => m.name === n).map((m) => (
            <Version key={m.version} m={m} calibration={m.role === "live" && m.output === "leave" ? data!.calibration : undefined}>
              {m.role === "live" && data!.models.some((o) => o.name === n && o.previous && o.version !== m.version) && <Act who={p.who} role="operator" onClick={() => ask({ m, back: true })}>{t("models.roll-back")}</Act>}
              {m.role === "live" && <Act who={p.who} role="compliance" tone="danger" onClick={() => stop(m.name)}>{t("stop")}</Act>}
              {m.role !== "live" && !m.problem && <Act who={p.who} role="operator" disabled={!data!.writable} onClick={() => ask({ m, back: false })}>{t("models.promote")}</Act>}
            </Version>
          ))}</div>
        </section>
      ))}
      {stopping && <Ask title={t("models.stop", { name: stopping })} button={t("stop-now")} tone="danger" onClose={() => stop(undefined)}
        text={<p>{t("models.stop-text")}</p>}
        fields={[{ name: "note", label: t("col.why"), hint: t("why-hint") }]}
        change={async (v) => { await call("/api/switches", { what: "model", name: stopping, on: true, note: v.note }); return t("is-stopped", { name: stopping }); }} />}
      {asking && <Ask title={asking.back ? t("models.roll-back-one", { name: asking.m.name }) : t("models.promote-one", { name: `${asking.m.name} ${asking.m.version}` })} button={t(asking.back ? "models.roll-back" : "models.promote")} tone="primary" onClose={() => ask(undefined)}
        text={<p>{t(asking.back ? "models.roll-back-text" : "models.promote-text")}</p>}
        fields={[{ name: "note", label: t("col.why"), placeholder: t("models.why-example") }]}
        change={async (v) => {
          const out = await call<{ proposal?: unknown }>(`/api/models/${asking.m.name}/${asking.back ? "rollback" : "promote"}`, asking.back ? { note: v.note } : { version: asking.m.version, note: v.note });
          reload();
          return t(out.proposal ? "proposed" : asking.back ? "models.rolled-back" : "models.promoted");
        }} />}
    </>
  );
}

function Version(p: { m: ModelView; calibration?: Bin[]; children: preact.ComponentChildren }) {
  const { m } = p;
  const s = m.serving;
  return (
    <Card title={<><Data>{m.version}</Data> {m.role && <Tag tone={m.role === "live" ? "good" : "info"}>{word("model", m.role)}</Tag>}{m.previous && <Tag>{t("models.before")}</Tag>}</>} aside={p.children} class={"model " + m.role}>
      <Wrong text={m.problem} />
      <div class="model-body">
      <dl class="facts">
        <dt>{t("models.gives")}</dt><dd>{t("models.output", { output: m.output, kind: word("gives", m.kind), n: m.features?.length ?? 0 })}</dd>
        <dt>{t("models.domain")}</dt><dd>{domain(m)}</dd>
        <dt>{t("models.trained")}</dt><dd>{m.trained?.Rows ? t("models.rows", { n: m.trained.Rows, of: m.trained.On?.join(", ") ?? "", by: m.trained.With ?? "" }) : "–"}</dd>
        <dt translate={false}>sha256</dt><dd class="mono" translate={false}>{m.sha256?.slice(0, 16)}</dd>
        {Object.entries(m.metrics ?? {}).filter(([, v]) => typeof v === "number").slice(0, 8).map(([k, v]) => <><dt translate={false}>{k.replaceAll("_", " ")}</dt><dd>{metric(v as number)}</dd></>)}
        {s && <><dt>{t("models.calls")}</dt><dd>{s.errors ? t("models.failed", { n: s.calls, failed: s.errors }) : num(s.calls)}</dd><dt>{t("models.latency")}</dt><dd translate={false}>p50 {us(s.p50_us)}, p99 {us(s.p99_us)}</dd></>}
        <Calibrated of={m.calibrated} />
        {s?.compare && s.compare.n > 0 && <><dt>{t("models.against")}</dt><dd>{t("models.differs", { mean: fixed(s.compare.mean, 3), share: percent(s.compare.other / Math.max(1, s.compare.agree + s.compare.other)) })}</dd></>}
      </dl>
      {(!!s?.scores.length || !!s?.drift.length || p.calibration) && <div>
      {s && s.scores.length > 0 && <><h3>{t("models.scores")}</h3><Histogram buckets={s.scores} /></>}
      {p.calibration && <Calibration bins={p.calibration} />}
      {s && s.drift.length > 0 && <><h3>{t("models.drift")} <small>{t("models.drift-hint", { limit: fixed(0.25, 2) })}</small></h3>
        <ul class="drift">{s.drift.slice(0, 8).map((d) => <li key={d.feature}><Data>{d.feature}</Data><b class={d.psi > 0.25 ? "bad" : d.psi > 0.1 ? "warn" : "good"}>{fixed(d.psi, 2)}</b></li>)}</ul></>}
      </div>}</div>
    </Card>
  );
}

// domain describes the players that the model covers.
const domain = (m: ModelView) => {
  if (!m.domain) return t("models.everybody");
  const ranges = Object.entries(m.domain.ranges ?? {}).map(([k, r]) => {
    const name = plain(k);
    if (r.min === undefined) return t("models.up-to", { name, max: value(r.max!) });
    return r.max === undefined ? t("models.from", { name, min: value(r.min) }) : t("models.range", { name, min: value(r.min), max: value(r.max) });
  });
  const products = m.domain.products ? [t("models.players-of", { products: and(m.domain.products.map((p) => word("product", p))) })] : [];
  return t("models.only", { whom: [...products, ...ranges].join("; ") });
};

function Histogram(p: { buckets: Bucket[] }) {
  const most = Math.max(1, ...p.buckets.map((b) => b.n));
  const w = 100 / p.buckets.length;
  return (
    <svg class="histogram" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={t("models.histogram", { list: p.buckets.map((b) => `≤ ${fixed(b.le, 2)}: ${num(b.n)}`).join("; ") })}>
      {p.buckets.map((b, i) => <rect key={b.le} x={i * w + 0.4} width={w - 0.8} y={30 - (30 * b.n) / most} height={(30 * b.n) / most} />)}
    </svg>
  );
}

// Calibration compares scores with outcomes since the console started.
function Calibration(p: { bins: Bin[] }) {
  const total = p.bins.reduce((n, b) => n + b.n, 0);
  if (total < 20) return <Empty>{t("models.no-calibration")}</Empty>;
  return (
    <>
      <h3>{t("models.calibration")} <small>{t("models.calibration-hint", { n: total })}</small></h3>
      <svg class="calibration" viewBox="0 0 100 100" role="img" aria-label={p.bins.filter((b) => b.n).map((b) => t("models.bin", { said: fixed(b.said, 2), happened: fixed(b.happened, 2) })).join("; ")}>
        <rect class="frame" width="100" height="100" /><line class="ideal" x1="0" y1="100" x2="100" y2="0" />
        {p.bins.filter((b) => b.n).map((b) => <circle key={b.said} cx={100 * b.said} cy={100 - 100 * b.happened} r={1.5 + 4 * Math.sqrt(b.n / total)} />)}
      </svg>
    </>
  );
}
