import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { duration, known, moment, plain, shortType } from "../format";
import { t, word } from "../i18n";
import { recorded } from "../recorded";
import type { Decision, ViewProps } from "../types";
import { Act, Ask, Card, Data, Empty, Head, Kind, Meter, PlayerLink, Tag, Verdict, Wrong, attempt } from "../ui";
import { actionOf, reason, said } from "../words";

type Case = Decision & { said?: { verdict: string; who: string; note: string; at: string }; assigned?: { who: string; at: string; by: string } };
type Asking = { cases: Case[]; verdict: "approved" | "overturned" };

const waited = (iso: string) => duration(Math.max(60, Math.round((Date.now() - Date.parse(iso)) / 60_000) * 60));

export function ReviewPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<{ open: Case[]; done: Case[]; waiting: number }>("/api/reviews", 4000);
  const [asking, ask] = useState<Asking>();
  const [giving, give] = useState<Case[]>();
  const [picked, pick] = useState<ReadonlySet<string>>(new Set());
  const [mine, setMine] = useState(false);
  const open = (data?.open ?? []).filter((c) => !mine || c.assigned?.who === p.who.name);
  const chosen = open.filter((c) => picked.has(c.decision));
  const turn = (id: string) => { const next = new Set(picked); if (!next.delete(id)) next.add(id); pick(next); };
  const done = () => { pick(new Set()); reload(); };
  const take = async (cases: Case[], to: string) => { if (await attempt("/api/reviews/assign", { decisions: cases.map((c) => c.decision), to }, to ? t("review.assigned", { who: to }) : t("review.unassigned"))) done(); };
  return (
    <>
      <Head title={t("review.title")} lead={t("review.lead")} />
      <Wrong text={error} again={reload} />
      {data && <Card title={t("review.waiting", { n: data.waiting })} aside={<label class="inline"><input type="checkbox" checked={mine} onChange={() => setMine(!mine)} /> {t("review.mine")}</label>}>
        {open.length === 0 && <Empty>{t(mine ? "review.none-mine" : "review.none")}</Empty>}
        {open.length > 1 && <div class="buttons bulk">
          <label class="inline"><input type="checkbox" checked={chosen.length === open.length} onChange={() => pick(new Set(chosen.length === open.length ? [] : open.map((c) => c.decision)))} /> {t("review.all", { n: open.length })}</label>
          {chosen.length > 0 && <>
            <span class="hint">{t("review.chosen", { n: chosen.length })}</span>
            <Act who={p.who} role="compliance" onClick={() => take(chosen, p.who.name)}>{t("review.take")}</Act>
            <Act who={p.who} role="compliance" onClick={() => give(chosen)}>{t("review.assign-to")}</Act>
            <Act who={p.who} role="compliance" onClick={() => ask({ cases: chosen, verdict: "approved" })}>{t("approve")}</Act>
            <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ cases: chosen, verdict: "overturned" })}>{t("overturn")}</Act>
          </>}
        </div>}
        <ul class="cases">{open.map((c) => (
          <li key={c.decision}>
            <div class="said-head">
              <input type="checkbox" aria-label={t("review.choose", { id: c.decision })} checked={picked.has(c.decision)} onChange={() => turn(c.decision)} />
              <Verdict verdict={c.verdict} /><Kind kind={c.kind} /><a href={"/decisions/" + encodeURIComponent(c.decision)}><b translate={c.action === "none"}>{actionOf(c)}</b></a><PlayerLink id={c.player} />
              <Tag tone={c.assigned ? "info" : ""}>{c.assigned ? <Data>{c.assigned.who}</Data> : t("review.nobody")}</Tag>
              <span class="spacer" />{known(c.decided_at) && <span class="hint">{t("review.waits-for", { time: waited(c.decided_at) })}</span>}{known(c.deadline) && <span class={"hint" + (Date.parse(c.deadline) < Date.now() ? " bad" : "")}>{t(Date.parse(c.deadline) < Date.now() ? "review.was-due" : "review.due", { time: moment(c.deadline) })}</span>}
            </div>
            <p>{said(c)}</p>
            <Evidence d={c} />
            <div class="buttons">
              {c.assigned?.who === p.who.name ? <Act who={p.who} role="compliance" tone="ghost" onClick={() => take([c], "")}>{t("review.give-back")}</Act> : <Act who={p.who} role="compliance" tone="ghost" onClick={() => take([c], p.who.name)}>{t("review.take")}</Act>}
              <Act who={p.who} role="compliance" onClick={() => ask({ cases: [c], verdict: "approved" })}>{t("approve")}</Act>
              <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ cases: [c], verdict: "overturned" })}>{t("overturn")}</Act>
            </div>
          </li>
        ))}</ul>
      </Card>}
      {data && data.done.length > 0 && <Card title={t("decided")}><ul class="cases">{data.done.map((c) => (
        <li key={c.decision}><div class="said-head"><Tag tone={c.said!.verdict === "approved" ? "good" : "bad"}>{word("status", c.said!.verdict)}</Tag> <a href={"/decisions/" + encodeURIComponent(c.decision)} translate={c.action === "none"}>{actionOf(c)}</a> <PlayerLink id={c.player} /> <span class="hint">{t("review.by", { who: c.said!.who, time: moment(c.said!.at) })}</span> <Data>{c.said!.note}</Data></div>
          <p>{said(c)}</p><Evidence d={c} /></li>
      ))}</ul></Card>}
      {asking && <Ask title={t(asking.verdict === "approved" ? "review.approve-n" : "review.overturn-n", { n: asking.cases.length })} button={t(asking.verdict === "approved" ? "approve" : "overturn")}
        tone={asking.verdict === "approved" ? "primary" : "danger"} onClose={() => ask(undefined)} text={asking.cases.length === 1 ? <><p>{said(asking.cases[0]!)}</p><Evidence d={asking.cases[0]!} /></> : <p>{t("review.each")}</p>}
        fields={[{ name: "note", label: t("col.why"), hint: t("why-hint") }]}
        change={async (v) => {
          const r = await call<{ done: number; failed: { decision: string; why: string }[] }>("/api/reviews", { decisions: asking.cases.map((c) => c.decision), verdict: asking.verdict, note: v.note });
          done();
          if (r.failed.length) throw new Error(t("review.partly", { done: r.done, failed: r.failed.length, why: recorded(r.failed[0]!.why) }));
          return t(asking.verdict === "approved" ? "approved" : "review.overturned");
        }} />}
      {giving && <Ask title={t("review.assign-n", { n: giving.length })} button={t("review.assign")} onClose={() => give(undefined)} text={<p>{t("review.assign-text")}</p>}
        fields={[{ name: "to", label: t("review.name") }]} change={async (v) => { await call("/api/reviews/assign", { decisions: giving.map((c) => c.decision), to: v.to }); done(); return t("review.assigned", { who: v.to! }); }} />}
    </>
  );
}

// Evidence shows what the decision was made from: the event, the features, the models'
// scores and the rules' verdicts.
function Evidence(p: { d: Decision }) {
  const { d } = p;
  return (
    <details class="evidence"><summary>{t("review.evidence")}</summary>
      <dl class="facts">
        {d.trigger?.type && <><dt>{t("happened")}</dt><dd><Data>{shortType(d.trigger.type)}</Data>, {moment(d.trigger.time)}</dd></>}
        <dt>{t("reasons")}</dt><dd translate={false}><ul>{d.reasons.map((r) => <li key={r.code}><Tag>{r.code}</Tag> {reason(r)}</li>)}</ul></dd>
        {!!d.blocked?.length && <><dt>{t("blocked")}</dt><dd translate={false}><ul>{d.blocked.map((b) => <li key={b.action + b.rule}><Tag tone="bad">{b.rule}</Tag> {plain(b.action)}: {recorded(b.text)}</li>)}</ul></dd></>}
        {d.scores && Object.keys(d.scores).length > 0 && <><dt>{t("scores")}</dt><dd>{Object.entries(d.scores).map(([n, v]) => <Meter key={n} label={n} value={v} />)}</dd></>}
      </dl>
      <a href={"/decisions/" + encodeURIComponent(d.decision)}>{t("review.everything")}</a>
    </details>
  );
}
