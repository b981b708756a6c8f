import { useRef, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { moment, num, plain } from "../format";
import type { Person, Proposal, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Tag, Wrong, toast } from "../ui";

interface Answer { proposals: Proposal[]; approvers: number; kept: number }
interface Tried {
  tried: number; changed: number; erased: number; whole: boolean; took_ms: number;
  changes: { what: string; rule: string; action: string; jurisdiction: string; brand: string; count: number; examples: string[] }[];
}
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
  const form = useRef<HTMLFormElement>(null);
  const [tried, setTried] = useState<Tried>();
  const textOf = () => String(new FormData(form.current!).get("text")).replaceAll("\r\n", "\n");
  const test = () => {
    setWrong(undefined);
    call<Tried>("/api/policy/backtest", { file, text: textOf(), hours: 24 }).then(setTried, (e: Error) => setWrong(e.message));
  };
  const submit = async (e: Event) => {
    e.preventDefault();
    setWrong(undefined);
    const note = String(new FormData(form.current!).get("note")).trim();
    try {
      const out = await call<{ done?: boolean }>("/api/policy", { file, text: textOf(), note });
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
      {data && <form class="edit" ref={form} onSubmit={submit}>
        <label>File<select value={file} onChange={(e) => choose(e.currentTarget.value)}>{Object.keys(data.files).sort().map((f) => <option key={f}>{f}</option>)}</select></label>
        <label>Text<textarea key={file + data.hash} name="text" rows={18} spellcheck={false} defaultValue={data.files[file]} /></label>
        <label>Why<input name="note" required autocomplete="off" disabled={!may} /><small>It is compiled and its examples are run before it can be proposed. It holds until a deploy brings other files: change them there, too.</small></label>
        <Wrong text={wrong} />
        <div class="said-head"><button class="button" type="button" onClick={test}>Try it on the last 24 hours</button><span class="spacer" /></div>
        {tried && <Outcome t={tried} />}
        <button class="button primary" type="submit" disabled={!may} title={may ? undefined : "This needs the role compliance"}>Propose</button>
      </form>}
    </Card>
  );
}

// Outcome is what the change would have sent or stopped, with decisions to look at.
function Outcome({ t }: { t: Tried }) {
  return (
    <>
      <p class="hint">{num(t.tried)} decisions tried in {num(t.took_ms)} ms, {num(t.changed)} would differ.{t.erased ? ` ${num(t.erased)} of erased players can't be tried.` : ""}{t.whole ? "" : " There are more: pitboss rules backtest tries all."} Each is tried by itself, on the contact history it had.</p>
      {t.changes.length > 0 && <div class="scroll"><table>
        <thead><tr><th scope="col" class="r">Count</th><th scope="col">Action</th><th scope="col">What</th><th scope="col">By</th><th scope="col">Jurisdiction</th><th scope="col">Brand</th><th scope="col">For example</th></tr></thead>
        <tbody>{t.changes.map((c) => <tr key={c.what + c.rule + c.action + c.jurisdiction + c.brand}>
          <td class="r">{num(c.count)}</td><td>{plain(c.action)}</td><td>{c.what}</td><td class="mono">{c.rule || "eligibility or value"}</td><td>{c.jurisdiction}</td><td>{c.brand}</td>
          <td>{c.examples.map((id) => <a key={id} class="mono" href={"/decisions/" + id}>{id.slice(0, 12)} </a>)}</td>
        </tr>)}</tbody>
      </table></div>}
    </>
  );
}
