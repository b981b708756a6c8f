import { useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { moment } from "../format";
import type { Person, Proposal, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Tag, Wrong, toast } from "../ui";

interface Answer { proposals: Proposal[]; approvers: number; kept: number }
interface Policy { files: Record<string, string>; hash: string; since: null | { by: string; approved?: string; at: string } }

const words: Record<string, string> = {
  "switch.off": "Let it go on", "model.promote": "Promote", "model.rollback": "Roll back to", "policy.change": "Change",
};

export function ProposalsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Answer>("/api/proposals", 3000);
  const [asking, ask] = useState<{ of: Proposal; verdict: "approve" | "withdraw" }>();
  return (
    <>
      <Head title="Approvals" lead={data?.approvers === 1
        ? "This system is set to one person: changes are made at once and journaled. PITBOSS_APPROVERS=2 asks for a second one."
        : `What lets something go on, promotes a model or changes a rule takes two people. A proposal waits ${Math.round((data?.kept ?? 86400) / 3600)} hours.`} />
      <Wrong text={error} again={reload} />
      {data && <Card title="Waiting for a second person">
        {data.proposals.length === 0 ? <Empty>Nothing waits.</Empty> : <ul class="plain-list proposals">{data.proposals.map((x) => (
          <li key={x.id}>
            <Tag tone="info">{words[x.what] ?? x.what}</Tag> <b class="mono">{x.subject}</b> proposed by {x.by}, {moment(x.at)}: {x.note}
            <span class="hint"> until {moment(x.until)}</span><span class="spacer" />
            <Act who={p.who} role={x.role} tone="primary" disabled={x.mine} onClick={() => ask({ of: x, verdict: "approve" })}>{x.mine ? "Yours: another approves" : "Approve"}</Act>
            <Act who={p.who} role={x.role} onClick={() => ask({ of: x, verdict: "withdraw" })}>Withdraw</Act>
            {!!x.body?.changes?.length && <details><summary>What it changes</summary><ul>{x.body.changes.map((c) => <li key={c}>{c}</li>)}</ul></details>}
          </li>
        ))}</ul>}
      </Card>}
      <Edit who={p.who} done={reload} />
      {asking && <Ask title={`${asking.verdict === "approve" ? "Approve" : "Withdraw"}: ${words[asking.of.what] ?? asking.of.what} ${asking.of.subject}`} button={asking.verdict === "approve" ? "Approve" : "Withdraw"}
        tone={asking.verdict === "approve" ? "primary" : undefined} onClose={() => ask(undefined)} fields={[]}
        text={<p>{asking.verdict === "approve" ? "It is made at once, and journaled with both names." : "It is not made; the journal keeps that it was proposed."}</p>}
        change={async () => { await call(`/api/proposals/${asking.of.id}/${asking.verdict}`, {}); reload(); return asking.verdict === "approve" ? "Approved." : "Withdrawn."; }} />}
    </>
  );
}

// Edit proposes another text of a rule pack, the markers or the actions.
function Edit(p: { who: Person; done: () => void }) {
  const { data, error, reload } = useLoaded<Policy>("/api/policy");
  const [file, choose] = useState("actions.yaml");
  const [wrong, setWrong] = useState<string>();
  const may = p.who.roles.includes("compliance");
  const submit = async (e: Event) => {
    e.preventDefault();
    setWrong(undefined);
    const form = new FormData(e.target as HTMLFormElement);
    try {
      const out = await call<{ done?: boolean }>("/api/policy", { file, text: String(form.get("text")).replaceAll("\r\n", "\n"), note: String(form.get("note")).trim() });
      toast(out.done ? "In force within a second." : "Proposed: another person approves it.");
      reload();
      p.done();
    } catch (err) {
      setWrong((err as Error).message);
    }
  };
  return (
    <Card title="Change a rule pack or an action" aside={data?.since && <span class="hint">changed on the running system by {data.since.by}{data.since.approved ? ", approved by " + data.since.approved : ""}, {moment(data.since.at)}</span>}>
      <Wrong text={error} />
      {data && <form class="edit" onSubmit={submit}>
        <label>File<select value={file} onChange={(e) => choose(e.currentTarget.value)}>{Object.keys(data.files).sort().map((f) => <option key={f}>{f}</option>)}</select></label>
        <label>Text<textarea key={file + data.hash} name="text" rows={18} spellcheck={false} defaultValue={data.files[file]} disabled={!may} /></label>
        <label>Why<input name="note" required autocomplete="off" disabled={!may} /><small>It is compiled and its examples are run before it can be proposed. It holds until a deploy brings other files: change them there, too.</small></label>
        <Wrong text={wrong} />
        <button class="button primary" type="submit" disabled={!may} title={may ? undefined : "This needs the role compliance"}>Propose</button>
      </form>}
    </Card>
  );
}
