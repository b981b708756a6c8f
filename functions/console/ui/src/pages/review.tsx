import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { moment, plain } from "../format";
import type { ViewProps } from "../main";
import type { Decision } from "../types";
import { Act, Ask, Card, Empty, Head, Kind, PlayerLink, Tag, Verdict, Wrong } from "../ui";

type Case = Decision & { said?: { verdict: string; who: string; note: string; at: string } };

export function ReviewPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<{ open: Case[]; done: Case[] }>("/api/reviews", 2000);
  const [asking, ask] = useState<{ c: Case; verdict: "approve" | "overturn" }>();
  return (
    <>
      <Head title="Review" lead="Decisions that a rule sends to a person. Overturning one that was issued takes it back from its consumers." />
      <Wrong text={error} />
      {data && <Card title={`Waiting (${data.open.length})`}>
        {data.open.length === 0 && <Empty>Nothing waits for a person.</Empty>}
        <ul class="cases">{data.open.map((c) => (
          <li key={c.seq}>
            <div class="said-head"><Verdict verdict={c.verdict} /><Kind kind={c.kind} /><a href={"/decisions/" + encodeURIComponent(c.decision)}><b>{plain(c.action)}</b></a><PlayerLink id={c.player} /><span class="spacer" /><time class="hint">{moment(c.decided_at)}</time></div>
            <p>{c.words}</p>
            <div class="buttons">
              <Act who={p.who} role="compliance" onClick={() => ask({ c, verdict: "approve" })}>Approve</Act>
              <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ c, verdict: "overturn" })}>Overturn</Act>
            </div>
          </li>
        ))}</ul>
      </Card>}
      {data && data.done.length > 0 && <Card title="Decided"><ul class="plain-list">{data.done.map((c) => (
        <li key={c.seq}><Tag tone={c.said!.verdict === "approve" ? "good" : "bad"}>{c.said!.verdict === "approve" ? "approved" : "overturned"}</Tag> <a href={"/decisions/" + encodeURIComponent(c.decision)}>{plain(c.action)}</a> by <b>{c.said!.who}</b>, {moment(c.said!.at)}: {c.said!.note}</li>
      ))}</ul></Card>}
      {asking && <Ask title={asking.verdict === "approve" ? "Approve this decision" : "Overturn this decision"} button={asking.verdict === "approve" ? "Approve" : "Overturn"}
        tone={asking.verdict === "approve" ? "primary" : "danger"} onClose={() => ask(undefined)} text={<p>{asking.c.words}</p>}
        fields={[{ name: "note", label: "Why", hint: "It is journaled with your name." }]}
        change={async (v) => { await call("/api/reviews/" + encodeURIComponent(asking.c.decision), { verdict: asking.verdict, note: v.note }); reload(); return asking.verdict === "approve" ? "Approved." : "Overturned."; }} />}
    </>
  );
}
