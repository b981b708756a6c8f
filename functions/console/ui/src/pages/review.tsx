import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { ago, moment, num, plain, shortType } from "../format";
import type { Decision, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Kind, Meter, PlayerLink, Tag, Verdict, Wrong, attempt, toast } from "../ui";

type Case = Decision & { said?: { verdict: string; who: string; note: string; at: string }; assigned?: { who: string; at: string; by: string } };
type Asking = { cases: Case[]; verdict: "approved" | "overturned" };

const known = (iso?: string) => !!iso && !iso.startsWith("0001");

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
  const take = async (cases: Case[], to: string) => { if (await attempt("/api/reviews/assign", { decisions: cases.map((c) => c.decision), to }, to ? `Assigned to ${to}.` : "Assigned to nobody.")) done(); };
  return (
    <>
      <Head title="Review" lead="Decisions that a rule sends to a person. Overturning one that was issued takes it back from its consumers." />
      <Wrong text={error} again={reload} />
      {data && <Card title={`Waiting (${num(data.waiting)})`} aside={<label class="inline"><input type="checkbox" checked={mine} onChange={() => setMine(!mine)} /> only mine</label>}>
        {open.length === 0 && <Empty>{mine ? "None of what waits is assigned to you." : "Nothing waits for a person."}</Empty>}
        {open.length > 1 && <div class="buttons bulk">
          <label class="inline"><input type="checkbox" checked={chosen.length === open.length} onChange={() => pick(new Set(chosen.length === open.length ? [] : open.map((c) => c.decision)))} /> all {num(open.length)}</label>
          {chosen.length > 0 && <>
            <span class="hint">{num(chosen.length)} chosen</span>
            <Act who={p.who} role="compliance" onClick={() => take(chosen, p.who.name)}>Take</Act>
            <Act who={p.who} role="compliance" onClick={() => give(chosen)}>Assign …</Act>
            <Act who={p.who} role="compliance" onClick={() => ask({ cases: chosen, verdict: "approved" })}>Approve</Act>
            <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ cases: chosen, verdict: "overturned" })}>Overturn</Act>
          </>}
        </div>}
        <ul class="cases">{open.map((c) => (
          <li key={c.decision}>
            <div class="said-head">
              <input type="checkbox" aria-label={"Choose " + c.decision} checked={picked.has(c.decision)} onChange={() => turn(c.decision)} />
              <Verdict verdict={c.verdict} /><Kind kind={c.kind} /><a href={"/decisions/" + encodeURIComponent(c.decision)}><b>{plain(c.action)}</b></a><PlayerLink id={c.player} />
              <Tag tone={c.assigned ? "info" : ""}>{c.assigned ? c.assigned.who : "nobody's"}</Tag>
              <span class="spacer" />{known(c.decided_at) && <span class="hint">waits since {ago(c.decided_at)}</span>}{known(c.deadline) && <span class={"hint" + (Date.parse(c.deadline!) < Date.now() ? " bad" : "")}>{Date.parse(c.deadline!) < Date.now() ? "was due " : "until "}{moment(c.deadline!)}</span>}
            </div>
            <p>{c.words}</p>
            <Evidence d={c} />
            <div class="buttons">
              {c.assigned?.who === p.who.name ? <Act who={p.who} role="compliance" tone="ghost" onClick={() => take([c], "")}>Give back</Act> : <Act who={p.who} role="compliance" tone="ghost" onClick={() => take([c], p.who.name)}>Take</Act>}
              <Act who={p.who} role="compliance" onClick={() => ask({ cases: [c], verdict: "approved" })}>Approve</Act>
              <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ cases: [c], verdict: "overturned" })}>Overturn</Act>
            </div>
          </li>
        ))}</ul>
      </Card>}
      {data && data.done.length > 0 && <Card title="Decided"><ul class="cases">{data.done.map((c) => (
        <li key={c.decision}><div class="said-head"><Tag tone={c.said!.verdict === "approved" ? "good" : "bad"}>{c.said!.verdict}</Tag> <a href={"/decisions/" + encodeURIComponent(c.decision)}>{plain(c.action)}</a> <PlayerLink id={c.player} /> by <b>{c.said!.who}</b>, {moment(c.said!.at)}: {c.said!.note}</div>
          <p>{c.words}</p><Evidence d={c} /></li>
      ))}</ul></Card>}
      {asking && <Ask title={(asking.verdict === "approved" ? "Approve " : "Overturn ") + (asking.cases.length === 1 ? "this decision" : `${num(asking.cases.length)} decisions`)} button={asking.verdict === "approved" ? "Approve" : "Overturn"}
        tone={asking.verdict === "approved" ? "primary" : "danger"} onClose={() => ask(undefined)} text={asking.cases.length === 1 ? <><p>{asking.cases[0]!.words}</p><Evidence d={asking.cases[0]!} /></> : <p>Each is journaled by itself, with the same note.</p>}
        fields={[{ name: "note", label: "Why", hint: "It is journaled with your name." }]}
        change={async (v) => {
          const r = await call<{ done: number; failed: { decision: string; why: string }[] }>("/api/reviews", { decisions: asking.cases.map((c) => c.decision), verdict: asking.verdict, note: v.note });
          done();
          if (r.failed.length) throw new Error(`${num(r.done)} done, ${num(r.failed.length)} not: ${r.failed[0]!.why}`);
          return asking.verdict === "approved" ? "Approved." : "Overturned.";
        }} />}
      {giving && <Ask title={`Assign ${num(giving.length)} to somebody`} button="Assign" onClose={() => give(undefined)} text={<p>By the name they sign in with. It is a help to share the work: anybody may still review them.</p>}
        fields={[{ name: "to", label: "Name" }]} change={async (v) => { await call("/api/reviews/assign", { decisions: giving.map((c) => c.decision), to: v.to }); done(); toast(""); return `Assigned to ${v.to}.`; }} />}
    </>
  );
}

// Evidence is what the decision rests on: what happened, what was seen, what the
// models and the rules said.
function Evidence(p: { d: Decision }) {
  const { d } = p;
  return (
    <details class="evidence"><summary>The evidence</summary>
      <dl class="facts">
        {d.trigger?.type && <><dt>Happened</dt><dd>{shortType(d.trigger.type)}, {moment(d.trigger.time)}</dd></>}
        <dt>Reasons</dt><dd><ul>{d.reasons.map((r) => <li key={r.code}><Tag>{r.code}</Tag> {r.text}</li>)}</ul></dd>
        {!!d.blocked?.length && <><dt>Blocked</dt><dd><ul>{d.blocked.map((b) => <li key={b.action + b.rule}><Tag tone="bad">{b.rule}</Tag> {plain(b.action)}: {b.text}</li>)}</ul></dd></>}
        {d.scores && Object.keys(d.scores).length > 0 && <><dt>Scores</dt><dd>{Object.entries(d.scores).map(([n, v]) => <Meter key={n} label={n} value={v} />)}</dd></>}
      </dl>
      <a href={"/decisions/" + encodeURIComponent(d.decision)}>Everything about it</a>
    </details>
  );
}
