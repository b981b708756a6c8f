import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { moment, plain } from "../format";
import type { Decision, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Kind, PlayerLink, Tag, Verdict, Wrong } from "../ui";

type Case = Decision & { said?: { verdict: string; who: string; note: string; at: string } };

export function ReviewPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<{ open: Case[]; done: Case[] }>("/api/reviews", 4000);
  const [asking, ask] = useState<{ c: Case; verdict: "approved" | "overturned" }>();
  return (
    <>
      <Head title="Review" lead="Decisions that a rule sends to a person. Overturning one that was issued takes it back from its consumers." />
      <Wrong text={error} />
      {data && <Card title={`Waiting (${data.open.length})`}>
        {data.open.length === 0 && <Empty>Nothing waits for a person.</Empty>}
        <ul class="cases">{data.open.map((c) => (
          <li key={c.seq}>
            <div class="said-head"><Verdict verdict={c.verdict} /><Kind kind={c.kind} /><a href={"/decisions/" + encodeURIComponent(c.decision)}><b>{plain(c.action)}</b></a><PlayerLink id={c.player} /><span class="spacer" />{c.deadline && <span class="hint">until {moment(c.deadline)}</span>}<time class="hint">{moment(c.decided_at)}</time></div>
            <p>{c.words}</p>
            <div class="buttons">
              <Act who={p.who} role="compliance" onClick={() => ask({ c, verdict: "approved" })}>Approve</Act>
              <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ c, verdict: "overturned" })}>Overturn</Act>
            </div>
          </li>
        ))}</ul>
      </Card>}
      {data && data.done.length > 0 && <Card title="Decided"><ul class="plain-list">{data.done.map((c) => (
        <li key={c.seq}><Tag tone={c.said!.verdict === "approved" ? "good" : "bad"}>{c.said!.verdict}</Tag> <a href={"/decisions/" + encodeURIComponent(c.decision)}>{plain(c.action)}</a> by <b>{c.said!.who}</b>, {moment(c.said!.at)}: {c.said!.note}</li>
      ))}</ul></Card>}
      {asking && <Ask title={asking.verdict === "approved" ? "Approve this decision" : "Overturn this decision"} button={asking.verdict === "approved" ? "Approve" : "Overturn"}
        tone={asking.verdict === "approved" ? "primary" : "danger"} onClose={() => ask(undefined)} text={<p>{asking.c.words}</p>}
        fields={[{ name: "note", label: "Why", hint: "It is journaled with your name." }]}
        change={async (v) => { await call("/api/reviews/" + encodeURIComponent(asking.c.decision), { verdict: asking.verdict, note: v.note }); reload(); return asking.verdict === "approved" ? "Approved." : "Overturned."; }} />}
    </>
  );
}
