import { useEffect, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { and, known, moment, plain } from "../format";
import { language, t, word, type Key } from "../i18n";
import { go, withParam } from "../router";
import type { Pack, Rule, Switch, ViewProps } from "../types";
import { Act, Ask, Card, Data, Empty, Head, Kind, Tabs, Tag, Wrong } from "../ui";

interface Answer { packs: Pack[]; problems: string[] | null; actions: { id: string; kind: string; doc: string }[]; switches: Switch[]; switch_error?: string; since: null | { by: string; approved?: string; at: string } }

const translated = language !== "en"; // the packs are in English only

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
    ? <Act who={p.who} role="compliance" onClick={() => ask({ what, name, on: false })}>{t("rules.go-on")}</Act>
    : <Act who={p.who} role="compliance" tone="danger" onClick={() => ask({ what, name, on: true })}>{what === "rule" ? t("rules.deny") : what === "jurisdiction" ? t("rules.stop-place", { name }) : t("stop")}</Act>;
  return (
    <>
      <Head title={t("rules.title")} lead={<>{t("rules.lead")} {translated && t("rules.texts")}</>} />
      <Wrong text={error ?? data?.switch_error} again={reload} />
      {data?.problems?.map((x) => <Wrong key={x} text={x} />)}
      {data?.since && <p class="hint">{t("rules.in-force", { who: [data.since.by, data.since.approved].filter(Boolean).join(", "), time: moment(data.since.at) })}</p>}
      {!!data?.switches.length && <Card title={t("rules.on")} class="switches-on"><ul class="plain-list">{data.switches.map((s) => (
        <li key={s.what + s.name}><Tag tone="bad">{word("what", s.what)}</Tag> <b translate={false}>{s.name}</b> {known(s.at) ? t("rules.stopped-by", { who: s.who || t("somebody"), time: moment(s.at) }) : t("rules.stopped")} {s.note && <Data class="hint">{s.note}</Data>} <span class="spacer" />{kill(s.what, s.name)}</li>
      ))}</ul></Card>}
      {data && <>
        <Tabs label={t("rules.packs")} chosen={chosen} choose={(id) => go(withParam(p.url, "pack", id), true)} items={data.packs.map((k) => ({ id: k.pack, name: <><Data>{k.pack}</Data><small>{k.rules.length}</small></> }))} />
        {pack && <Card title={<Data>{pack.title || pack.pack}</Data>} aside={!pack.shared && pack.pack !== "default" ? kill("jurisdiction", pack.pack) : undefined}>
          {pack.include?.length > 0 && <p class="hint">{t("rules.include")} {pack.include.map((i) => i === "*" ? t("rules.every-pack") : <a key={i} translate={false} href={"/rules?pack=" + encodeURIComponent(i)}>{i} </a>)}</p>}
          <input class="pack-search" type="search" aria-label={t("rules.search")} placeholder={t("rules.search")} value={q} onInput={(e) => setQ(e.currentTarget.value)} />
          <ul class="rules">{pack.rules.filter((r) => (r.id + r.text + r.source.document + r.source.article).toLowerCase().includes(q.toLowerCase())).map((r) => <RuleItem key={r.id} r={r} stopped={!!on("rule", r.id)}>{kill("rule", r.id)}</RuleItem>)}</ul>
        </Card>}
        <Card title={t("actions")} aside={<span class="hint">{t("rules.actions-hint")}</span>}>
          {data.actions.length === 0 ? <Empty>{t("rules.no-action", { file: "actions.yaml" })}</Empty> : <ul class="rules">{data.actions.map((a) => (
            <li key={a.id}><div class="said-head"><Kind kind={a.kind} /><b translate={false}>{plain(a.id)}</b>{on("action", a.id) && <Tag tone="bad">{t("rules.is-stopped")}</Tag>}<span class="spacer" />{kill("action", a.id)}</div><p translate={false}>{a.doc}</p></li>
          ))}</ul>}
        </Card>
      </>}
      {asking && <Ask title={t(!asking.on ? "rules.ask-go-on" : asking.what === "rule" ? "rules.ask-deny" : "rules.ask-stop", { what: word("what", asking.what), name: asking.name })} button={t(asking.on ? "stop-now" : "rules.go-on")} tone={asking.on ? "danger" : "primary"} onClose={() => ask(undefined)}
        text={<p>{asking.on ? explain[asking.what] && t(explain[asking.what]!) : t("rules.go-on-text")} {t("rules.acts")}</p>}
        fields={[{ name: "note", label: t("col.why"), hint: t("why-hint") }]}
        change={async (v) => {
          const out = await call<{ proposal?: unknown }>("/api/switches", { ...asking, note: v.note });
          reload();
          return out.proposal ? t("proposed") : t(asking.on ? "is-stopped" : "rules.goes-on", { name: asking.name });
        }} />}
    </>
  );
}

// A rule's switch denies everything that the rule governs. It never turns the rule off.
const explain: Record<string, Key> = { jurisdiction: "rules.stop-place-text", action: "rules.stop-action-text", model: "rules.stop-model-text", rule: "rules.deny-text" };

function inForce(r: Rule): string {
  const { from, until } = r.effective;
  if (until) return t(from ? "rules.from-until" : "rules.until", { from, until });
  return from ? t("rules.from", { from }) : t("rules.always");
}

function RuleItem(p: { r: Rule; stopped: boolean; children: preact.ComponentChildren }) {
  const { r } = p;
  const now = new Date().toISOString().slice(0, 10);
  const state = r.effective.until && r.effective.until <= now ? t("rules.over") : r.effective.from > now ? t("rules.to-come") : "";
  return (
    <li id={r.id}>
      <div class="said-head">
        <Tag tone={r.effect === "deny" ? "bad" : r.effect === "require-review" ? "warn" : "info"}>{word("effect", r.effect)}</Tag><b class="mono" translate={false}>{r.id}</b><small translate={false}>v{r.version}</small>
        <Tag tone={r.reviewed ? "good" : "warn"} title={t(r.reviewed ? "rules.reviewed-hint" : "rules.unreviewed-hint")}>{t(r.reviewed ? "rules.reviewed" : "rules.unreviewed")}</Tag>
        {state && <Tag>{state}</Tag>}{p.stopped && <Tag tone="bad">{t("rules.is-stopped")}</Tag>}
        <span class="spacer" />{r.blocked > 0 && <a class="hint" href={"/decisions?rule=" + encodeURIComponent(r.id)}>{t("rules.blocked", { n: r.blocked })}</a>}{p.children}
      </div>
      <p translate={false}>{r.text}</p>
      <p class="hint"><Data>{[r.source.document, r.source.article, r.source.date].filter(Boolean).join(", ")}</Data> · {inForce(r)} · {word("strictness", r.severity)} · {t("rules.applies", { kinds: and((r.applies_to?.length ? r.applies_to : ["marketing"]).map((k) => word("kind", k))) })}</p>
      {r.when && <details><summary>{t("rules.condition")}</summary><pre class="json" translate={false}>{r.when}</pre></details>}
    </li>
  );
}
