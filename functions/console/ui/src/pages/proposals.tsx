import { useRef, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { duration, moment, ms, num, plain } from "../format";
import { rich, t, word } from "../i18n";
import { recorded } from "../recorded";
import type { Person, Proposal, ViewProps } from "../types";
import { Act, Ask, Card, Data, Empty, Head, Tag, Wrong, toast } from "../ui";

interface Answer { proposals: Proposal[]; approvers: number; kept: number }
interface Tried {
  tried: number; changed: number; erased: number; whole: boolean; took_ms: number;
  changes: { what: string; rule: string; action: string; jurisdiction: string; brand: string; count: number; examples: string[] }[];
}
interface Policy { files: Record<string, string>; hash: string; since: null | { by: string; approved?: string; at: string } }

export function ProposalsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Answer>("/api/proposals", 3000);
  const [asking, ask] = useState<{ of: Proposal; verdict: "approve" | "withdraw" }>();
  return (
    <>
      <Head title={t("approvals.title")} lead={!data ? t("loading") : data.approvers === 1 ? t("approvals.one", { setting: "PITBOSS_APPROVERS=2" }) : t("approvals.two", { time: duration(data.kept) })} />
      <Wrong text={error} again={reload} />
      {data && <Card title={t("approvals.waiting")}>
        {data.proposals.length === 0 ? <Empty>{t("approvals.none")}</Empty> : <ul class="plain-list proposals">{data.proposals.map((x) => (
          <li key={x.id}>
            <Tag tone="info">{word("change", x.what)}</Tag> <b class="mono" translate={false}>{x.subject}</b> <span>{rich("approvals.proposed", { who: <Data>{x.by}</Data>, time: moment(x.at), note: <Data>{x.note}</Data> })}</span>
            {x.failed && <Tag tone="bad">{t("proposals.failed", { why: recorded(x.failed) })}</Tag>}
            <span class="hint">{t("until", { time: moment(x.until) })}</span><span class="spacer" />
            <Act who={p.who} role={x.role} tone="primary" disabled={x.mine} onClick={() => ask({ of: x, verdict: "approve" })}>{t(x.mine ? "approvals.yours" : "approvals.approve")}</Act>
            <Act who={p.who} role={x.role} onClick={() => ask({ of: x, verdict: "withdraw" })}>{t("approvals.withdraw")}</Act>
            {!!x.body?.changes?.length && <details><summary>{t("approvals.changes")}</summary><ul>{x.body.changes.map((c) => <li key={c} translate={false}>{c}</li>)}</ul></details>}
          </li>
        ))}</ul>}
      </Card>}
      <Edit who={p.who} done={reload} />
      {asking && <Ask title={t("approvals.ask", { verdict: t(asking.verdict === "approve" ? "approvals.approve" : "approvals.withdraw"), what: word("change", asking.of.what), subject: asking.of.subject })} button={t(asking.verdict === "approve" ? "approvals.approve" : "approvals.withdraw")}
        tone={asking.verdict === "approve" ? "primary" : undefined} onClose={() => ask(undefined)} fields={[]}
        text={<p>{t(asking.verdict === "approve" ? "approvals.approve-text" : "approvals.withdraw-text")}</p>}
        change={async () => { await call(`/api/proposals/${asking.of.id}/${asking.verdict}`, {}); reload(); return t(asking.verdict === "approve" ? "approvals.approved" : "approvals.withdrawn"); }} />}
    </>
  );
}

// Edit proposes a new text of a rule pack, the markers or the actions.
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
      toast(t(out.done ? "edit.done" : "proposed"));
      reload();
      p.done();
    } catch (err) {
      setWrong((err as Error).message);
    }
  };
  return (
    <Card title={t("edit.title")} aside={data?.since && <span class="hint">{t(data.since.approved ? "edit.since-approved" : "edit.since", { who: data.since.by, approver: data.since.approved ?? "", time: moment(data.since.at) })}</span>}>
      <Wrong text={error} />
      {data && <form class="edit" ref={form} onSubmit={submit}>
        <label>{t("edit.file")}<select value={file} onChange={(e) => choose(e.currentTarget.value)}>{Object.keys(data.files).sort().map((f) => <option key={f} translate={false}>{f}</option>)}</select></label>
        <label>{t("edit.text")}<textarea translate={false} key={file + data.hash} name="text" rows={18} spellcheck={false} defaultValue={data.files[file]} /></label>
        <label>{t("col.why")}<input name="note" required autocomplete="off" disabled={!may} /><small>{t("edit.hint")}</small></label>
        <Wrong text={wrong} />
        <div class="said-head"><button class="button" type="button" onClick={test}>{t("edit.try")}</button><span class="spacer" /></div>
        {tried && <Outcome of={tried} />}
        <button class="button primary" type="submit" disabled={!may} title={may ? undefined : t("edit.needs", { role: word("role", "compliance") })}>{t("edit.propose")}</button>
      </form>}
    </Card>
  );
}

// Outcome lists what the change would have sent or stopped, with example decisions.
function Outcome({ of: x }: { of: Tried }) {
  return (
    <>
      <p class="hint">{[t("tried.result", { n: x.tried, time: ms(x.took_ms), changed: x.changed }), x.erased > 0 && t("tried.erased", { n: x.erased }), !x.whole && t("tried.more", { command: "pitboss rules backtest" }), t("tried.each")].filter(Boolean).join(" ")}</p>
      {x.changes.length > 0 && <div class="scroll" tabIndex={0} role="region" aria-label={t("tried.title")}><table>
        <thead><tr><th scope="col" class="r">{t("col.count")}</th><th scope="col">{t("col.action")}</th><th scope="col">{t("col.what")}</th><th scope="col">{t("col.by")}</th><th scope="col">{t("filter.jurisdiction")}</th><th scope="col">{t("filter.brand")}</th><th scope="col">{t("col.example")}</th></tr></thead>
        <tbody>{x.changes.map((c) => <tr key={c.what + c.rule + c.action + c.jurisdiction + c.brand}>
          <td class="r">{num(c.count)}</td><td translate={false}>{plain(c.action)}</td><td>{word("tried", c.what)}</td><td>{c.rule ? <Data class="mono">{c.rule}</Data> : t("tried.value")}</td><td translate={false}>{c.jurisdiction}</td><td translate={false}>{c.brand}</td>
          <td>{c.examples.map((id) => <a key={id} class="mono" translate={false} href={"/decisions/" + id}>{id.slice(0, 12)} </a>)}</td>
        </tr>)}</tbody>
      </table></div>}
    </>
  );
}
