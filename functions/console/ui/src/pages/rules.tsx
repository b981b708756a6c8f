import { useEffect, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { moment, num, plain } from "../format";
import { go, withParam } from "../router";
import type { Pack, Rule, Switch, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Kind, Tabs, Tag, Wrong } from "../ui";

interface Answer { packs: Pack[]; problems: string[] | null; actions: { id: string; kind: string; doc: string }[]; switches: Switch[]; switch_error?: string; disclaimer: string }

export function RulesPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Answer>("/api/rules", 5000);
  const [asking, ask] = useState<{ what: string; name: string; on: boolean }>();
  const [q, setQ] = useState("");
  const chosen = p.url.searchParams.get("pack") ?? data?.packs.find((k) => !k.shared)?.pack ?? "";
  const pack = data?.packs.find((k) => k.pack === chosen);
  const on = (what: string, name: string) => data?.switches.find((s) => s.what === what && s.name === name);
  useEffect(() => { // a link to one rule: open its pack
    const id = location.hash.slice(1);
    const home = data?.packs.find((k) => k.rules.some((r) => r.id === id));
    if (id && home && home.pack !== chosen) go("/rules?pack=" + encodeURIComponent(home.pack) + "#" + id, true);
    else if (id) document.getElementById(id)?.scrollIntoView();
  }, [data?.packs.length]);
  const kill = (what: string, name: string) => on(what, name)
    ? <Act who={p.who} role="compliance" onClick={() => ask({ what, name, on: false })}>Let it go on</Act>
    : <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ what, name, on: true })}>{stop[what] ?? "Stop"}{what === "jurisdiction" ? " " + name : ""}</Act>;
  return (
    <>
      <Head title="Rules" lead={data?.disclaimer ?? "Loading …"} />
      <Wrong text={error ?? data?.switch_error} again={reload} />
      {data?.problems?.map((x) => <Wrong key={x} text={x} />)}
      {!!data?.switches.length && <Card title="Kill switches that are on" class="switches-on"><ul class="plain-list">{data.switches.map((s) => (
        <li key={s.what + s.name}><Tag tone="bad">{s.what}</Tag> <b>{s.name}</b> stopped by {s.who || "somebody"}{s.at && !s.at.startsWith("0001") ? ", " + moment(s.at) : ""}{s.note ? ": " + s.note : ""} <span class="spacer" />{kill(s.what, s.name)}</li>
      ))}</ul></Card>}
      {data && <>
        <Tabs label="Rule packs" chosen={chosen} choose={(id) => go(withParam(p.url, "pack", id), true)} items={data.packs.map((k) => ({ id: k.pack, name: <>{k.pack}<small>{k.rules.length}</small></> }))} />
        {pack && <Card title={pack.title || pack.pack} aside={!pack.shared && pack.pack !== "default" ? kill("jurisdiction", pack.pack) : undefined}>
          {pack.include?.length > 0 && <p class="hint">These rules hold here too: {pack.include.map((i) => i === "*" ? "those of every pack" : <a key={i} href={"/rules?pack=" + encodeURIComponent(i)}>{i} </a>)}</p>}
          <input class="pack-search" type="search" aria-label="Search these rules" placeholder="Search these rules" value={q} onInput={(e) => setQ(e.currentTarget.value)} />
          <ul class="rules">{pack.rules.filter((r) => (r.id + r.text + r.source.document + r.source.article).toLowerCase().includes(q.toLowerCase())).map((r) => <RuleItem key={r.id} r={r} stopped={!!on("rule", r.id)}>{kill("rule", r.id)}</RuleItem>)}</ul>
        </Card>}
        <Card title="Actions" aside={<span class="hint">a stopped action is sent to nobody, within a second</span>}>
          {data.actions.length === 0 ? <Empty>actions.yaml declares none.</Empty> : <ul class="rules">{data.actions.map((a) => (
            <li key={a.id}><div class="said-head"><Kind kind={a.kind} /><b>{plain(a.id)}</b>{on("action", a.id) && <Tag tone="bad">stopped</Tag>}<span class="spacer" />{kill("action", a.id)}</div><p>{a.doc}</p></li>
          ))}</ul>}
        </Card>
      </>}
      {asking && <Ask title={asking.on ? (asking.what === "rule" ? `Deny everything that rule ${asking.name} governs` : `Stop ${asking.what} ${asking.name}`) : `Let ${asking.what} ${asking.name} go on`} button={asking.on ? "Stop it now" : "Let it go on"} tone={asking.on ? "danger" : "primary"} onClose={() => ask(undefined)}
        text={<p>{asking.on ? explain[asking.what] : "The switch is taken off; the next decision may use it again."} It acts within a second, on every instance.</p>}
        fields={[{ name: "note", label: "Why", hint: "It is journaled with your name." }]}
        change={async (v) => {
          const out = await call<{ proposal?: unknown }>("/api/switches", { ...asking, note: v.note });
          reload();
          return out.proposal ? "Proposed: another person approves it." : asking.on ? `${asking.name} is stopped.` : `${asking.name} goes on.`;
        }} />}
    </>
  );
}

// A rule's switch denies what the rule governs: it never turns the law off.
const stop: Record<string, string> = { jurisdiction: "Stop", action: "Stop", model: "Stop", rule: "Deny all it governs" };

const explain: Record<string, string> = {
  jurisdiction: "Service and marketing stop in this jurisdiction. Protection goes on.",
  action: "The action is sent to nobody.",
  model: "The model's score counts as missing.",
  rule: "Everything this rule governs is denied, as if the rule said no.",
};

function RuleItem(p: { r: Rule; stopped: boolean; children: preact.ComponentChildren }) {
  const { r } = p;
  const now = new Date().toISOString().slice(0, 10);
  const state = r.effective.until && r.effective.until <= now ? "no longer in force" : r.effective.from > now ? "not yet in force" : "";
  return (
    <li id={r.id}>
      <div class="said-head">
        <Tag tone={r.effect === "deny" ? "bad" : r.effect === "require-review" ? "warn" : "info"}>{r.effect}</Tag><b class="mono">{r.id}</b><small>v{r.version}</small>
        <Tag tone={r.reviewed ? "good" : "warn"} title={r.reviewed ? "Read against its source" : "Never read against its source"}>{r.reviewed ? "reviewed" : "unreviewed"}</Tag>
        {state && <Tag>{state}</Tag>}{p.stopped && <Tag tone="bad">stopped</Tag>}
        <span class="spacer" />{r.blocked > 0 && <a class="hint" href={"/decisions?rule=" + encodeURIComponent(r.id)}>blocked {num(r.blocked)}</a>}{p.children}
      </div>
      <p>{r.text}</p>
      <p class="hint">{[r.source.document, r.source.article, r.source.date].filter(Boolean).join(", ")} · from {r.effective.from || "always"}{r.effective.until ? " until " + r.effective.until : ""} · {r.severity} · applies to {(r.applies_to?.length ? r.applies_to : ["marketing"]).join(", ")}</p>
      {r.when && <details><summary>The condition</summary><pre class="json">{r.when}</pre></details>}
    </li>
  );
}
