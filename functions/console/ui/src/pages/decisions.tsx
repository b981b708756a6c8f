import { useLoaded } from "../api";
import { capital, fixed, fromField, moment, ms, num, percent, plain, shortType, signed, toField, value } from "../format";
import { rich, t, word } from "../i18n";
import { recorded } from "../recorded";
import { go, withParam } from "../router";
import { useLive } from "../stream";
import type { Counted, Decision, ModelRun, Scoring, ViewProps } from "../types";
import { Bars, Card, Data, Empty, Head, Json, Kind, Meter, PlayerLink, Status, Tag, Verdict, Wrong } from "../ui";
import { actionOf, blockedBy, channel, reason, said } from "../words";

interface Page { decisions: Decision[]; matched: number; kept: number; next?: string; journal: boolean; whole: boolean; behind: boolean; facets: Record<string, Counted[] | undefined> }

const filters = ["verdict", "outcome", "kind", "jurisdiction", "brand", "action", "rule"] as const;

// option names a value to filter by. Ids stay as they are.
function option(filter: (typeof filters)[number], name: string): string {
  switch (filter) {
    case "verdict": case "kind": return word(filter, name);
    case "outcome": return word("status", name);
    case "action": return name === "none" ? t("nothing-sent") : plain(name);
    default: return name;
  }
}

export function DecisionsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Page>("/api/decisions?" + p.url.searchParams, p.url.searchParams.has("before") ? 0 : 4000);
  const set = (name: string, v: string) => go(withParam(p.url, name, v), true);
  const param = (name: string) => p.url.searchParams.get(name) ?? "";
  const csv = new URLSearchParams(p.url.searchParams);
  csv.delete("before");
  const idle = data?.facets.rule?.find((r) => r.name === "nothing-eligible");
  return (
    <>
      <Head title={t("decisions.title")} lead={data ? rich(data.journal ? "decisions.found" : "decisions.in-memory", { matched: <b>{num(data.matched)}</b>, total: num(data.kept) }) : t("loading")}>
        {data?.journal && <a class="button" href={"/api/decisions.csv?" + csv} download="decisions.csv">{t("csv")}</a>}
      </Head>
      <div class="filters">
        <input type="search" aria-label={t("decisions.search")} placeholder={t("decisions.search-hint")} value={param("q")} onInput={(e) => set("q", e.currentTarget.value.trim())} />
        <TimeField name="from" value={param("from")} set={set} /><TimeField name="to" value={param("to")} set={set} />
        {filters.map((f) => (
          <select key={f} name={f} aria-label={t(`filter.${f}`)} value={param(f)} onChange={(e) => set(f, e.currentTarget.value)}>
            <option value="">{t(`any.${f}`)}</option>
            {keepChosen(data?.facets[f] ?? [], p.url.searchParams.get(f)).map((c) => <option key={c.name} value={c.name} translate={false}>{option(f, c.name)} ({num(c.n)})</option>)}
          </select>
        ))}
        {param("player") && <button type="button" class="button" onClick={() => set("player", "")}>{t("decisions.of-player", { player: param("player") })} ×</button>}
        {p.url.search && <a class="button ghost" href="/decisions">{t("clear")}</a>}
      </div>
      <Wrong text={error} again={reload} />
      {data?.behind && <p class="note">{t("decisions.behind")}</p>}
      {data && !data.whole && <p class="note">{t("decisions.not-whole", { setting: "PITBOSS_SEGMENTS" })}</p>}
      {data && <div class="grid two-one">
        <Card>
          {data.decisions.length === 0 ? <Empty>{t("decisions.none")}</Empty> : (
            <div class="scroll" tabIndex={0} role="region" aria-label={t("decisions.title")}><table class="decisions">
              <thead><tr><th scope="col">{t("col.when")}</th><th scope="col">{t("filter.verdict")}</th><th scope="col">{t("col.action")}</th><th scope="col">{t("col.player")}</th><th scope="col">{t("col.why")}</th></tr></thead>
              <tbody>{data.decisions.map((d) => (
                <tr key={d.decision + d.verdict}>
                  <td class="nowrap"><a href={"/decisions/" + encodeURIComponent(d.decision)}><time dateTime={d.decided_at}>{moment(d.decided_at)}</time></a></td>
                  <td><Verdict verdict={d.verdict} /> <Status status={d.status} /></td>
                  <td><span translate={d.action === "none"}>{actionOf(d)}</span><br /><Kind kind={d.kind} /></td>
                  <td>{d.erased ? <span class="hint">{t("erased")}</span> : <PlayerLink id={d.player} />}<br /><span class="hint" translate={false}>{[d.jurisdiction, d.brand].filter(Boolean).join(" · ")}</span></td>
                  <td class="why" translate={false}>{d.verdict === "suppressed" ? capital(blockedBy(d)) : d.reasons.map(reason).join(" ")}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
          <div class="buttons">
            {param("before") && <a class="button ghost" href={withParam(p.url, "before", "")}>{t("newest")}</a>}
            {!!data.next && <a class="button" href={withParam(p.url, "before", data.next)}>{t("older")}</a>}
          </div>
        </Card>
        <Card title={t("by-rule")}><Bars label={t("by-rule")} items={(data.facets.rule ?? []).filter((r) => r.name !== "nothing-eligible").slice(0, 14).map((r) => ({ ...r, href: withParam(p.url, "rule", r.name), tone: "bad" }))} />{idle && <p class="bar-text"><a href={withParam(p.url, "rule", idle.name)}>{t("live.idle", { n: idle.n })}</a></p>}</Card>
      </div>}
    </>
  );
}

// TimeField is one end of a time range. The address has it in UTC.
function TimeField(p: { name: "from" | "to"; value: string; set: (name: string, v: string) => void }) {
  return <label class="inline">{t(`time.${p.name}`)} <input type="datetime-local" step="1" name={p.name} aria-label={t(`time.${p.name}`)} value={toField(p.value)} onChange={(e) => p.set(p.name, fromField(e.currentTarget.value))} /></label>;
}

// keepChosen lists the chosen value even if no decision in memory has it.
function keepChosen(list: Counted[], chosen: string | null): Counted[] {
  return !chosen || list.some((c) => c.name === chosen) ? list : [{ name: chosen, n: 0 }, ...list];
}

export interface RuleVerdict { rule: string; version: number; result: string; text?: string; source?: string; actions?: string[] }
interface Why {
  decision: Decision; inputs: Scoring | null; review?: { verdict: string; who: string; note: string; at: string };
  journal: null | { rules?: RuleVerdict[]; candidates?: { action: string; kind: string; value: number; propensity?: number; blocked?: { rule: string; text: string }[] }[]; entry?: { seq: number; shard: number; hash: string }; record?: unknown; note?: string };
}

export function DecisionPage(p: ViewProps & { id: string }) {
  const { data, error, reload } = useLoaded<Why>("/api/decisions/" + encodeURIComponent(p.id));
  const { erased } = useLive();
  const gone = !!data && erased.has(data.decision.player);
  const d = gone ? undefined : data?.decision;
  return (
    <>
      <Head title={d ? <span translate={d.action === "none"}>{capital(actionOf(d))}</span> : t("decision.title")} lead={d ? <><Verdict verdict={d.verdict} /> <Status status={d.status} /> <Kind kind={d.kind} /> {rich("decision.lead", { player: <PlayerLink id={d.player} />, place: d.jurisdiction ? <Data>{d.jurisdiction}</Data> : t("unknown-place"), time: moment(d.decided_at) })}</> : <Data>{p.id}</Data>} />
      <Wrong text={gone ? t("player.erased") : error} again={gone ? undefined : reload} />
      {d && data && <>
        <p class="statement">{said(d)}</p>
        <div class="grid two-one">
          <div class="stack">
            <Card title={t("decision.models")}>{data.inputs?.models?.length ? [...data.inputs.models].sort((x, y) => rank(x) - rank(y)).map((m) => <Run key={m.name + m.version} m={m} />) : d.scores ? Object.entries(d.scores).map(([n, v]) => <Meter key={n} label={n} value={v} />) : <Empty>{t("decision.no-model")}</Empty>}</Card>
            <Rules d={d} journal={data.journal} />
            {!!data.journal?.candidates?.length && <Card title={t("decision.candidates")}><div class="scroll" tabIndex={0} role="region" aria-label={t("decision.candidates")}><table><thead><tr><th scope="col">{t("col.action")}</th><th scope="col">{t("filter.kind")}</th><th scope="col" class="r">{t("col.value")}</th><th scope="col" class="r">{t("col.chance")}</th><th scope="col">{t("col.blocked-by")}</th></tr></thead>
              <tbody>{data.journal.candidates.map((c) => <tr key={c.action}><td translate={false}>{plain(c.action)}</td><td><Kind kind={c.kind} /></td><td class="r">{value(c.value)}</td><td class="r">{c.propensity ? percent(c.propensity) : "–"}</td><td translate={false}>{c.blocked?.map((b) => b.rule).join(", ") || "–"}</td></tr>)}</tbody></table></div></Card>}
          </div>
          <div class="stack">
            <Card title={t("decision.asked")}><dl class="facts">
              <dt>{t("trigger")}</dt><dd translate={false}>{shortType(d.trigger.type)}<br /><span class="mono hint">{d.trigger.source} {d.trigger.id}</span></dd>
              <dt>{t("happened")}</dt><dd>{moment(d.trigger.time)}</dd>
              <dt>{t("decided")}</dt><dd>{d.total_ms ? t("decided-after", { time: moment(d.decided_at), ms: ms(d.total_ms) }) : moment(d.decided_at)}</dd>
              {data.inputs && <><dt>{t("due")}</dt><dd translate={false}>{data.inputs.due.map(plain).join(", ")}</dd><dt>{t("state-version")}</dt><dd class="mono" translate={false}>{data.inputs.version}</dd></>}
            </dl></Card>
            <Card title={t("decision.decided")}><dl class="facts">
              <dt>{t("decision.title")}</dt><dd class="mono" translate={false}>{d.decision}</dd>
              <dt>{t("channel.title")}</dt><dd>{d.channel ? channel(d.channel) : "–"}</dd><dt>{t("severity.title")}</dt><dd>{d.severity ? word("severity", d.severity) : "–"}</dd>
              <dt>{t("col.arm")}</dt><dd>{d.arm && d.propensity ? t("decision.chosen", { arm: d.arm, chance: fixed(d.propensity, 3) }) : <Data>{d.arm || "–"}</Data>}</dd>
              <dt>{t("expires")}</dt><dd>{moment(d.expires ?? "")}</dd><dt>{t("dedup-key")}</dt><dd class="mono" translate={false}>{d.dedup_key}</dd>
              {d.trace && <><dt>{t("trace")}</dt><dd class="mono" translate={false}>{d.trace.split("-")[1]}</dd></>}
              {data.journal?.note && <><dt>{t("note")}</dt><dd translate={false}>{recorded(data.journal.note)}</dd></>}
              {data.journal?.entry && <><dt>{t("journal")}</dt><dd>{t("journal.entry", { seq: String(data.journal.entry.seq), shard: String(data.journal.entry.shard), hash: data.journal.entry.hash })}</dd></>}
              {d.review && <><dt>{t("review.title")}</dt><dd>{data.review ? t("review.said", { verdict: word("status", data.review.verdict), who: data.review.who, note: data.review.note }) : <a href="/review">{t("review.waits")}</a>}</dd></>}
            </dl></Card>
            {!!d.happened?.length && <Card title={t("decision.became")}><ul class="plain-list">{d.happened.map((h) => <li key={h.status + h.at}><Status status={h.status} /> <time class="hint" dateTime={h.at}>{moment(h.at)}</time></li>)}</ul></Card>}
            {!!d.revoked?.length && d.verdict === "revoked" && <Card title={t("decision.took-back")}><ul class="plain-list">{d.revoked.map((id) => <li key={id}><a class="mono" translate={false} href={"/decisions/" + encodeURIComponent(id)}>{id}</a></li>)}</ul></Card>}
            {data.inputs && <Card title={t("decision.inputs")}><details><summary>{t("decision.features", { n: Object.keys(data.inputs.features ?? {}).length })}</summary><Json value={{ features: data.inputs.features, facts: data.inputs.facts }} /></details></Card>}
            {!!data.journal?.record && <Card title={t("decision.record")}><details><summary>{t("decision.stored")}</summary><Json value={data.journal.record} /></details></Card>}
          </div>
        </div>
      </>}
    </>
  );
}

function Rules(p: { d: Decision; journal: Why["journal"] }) {
  const rules = p.journal?.rules;
  return (
    <Card title={t("decision.rules")}>
      <ul class="reasons">{p.d.reasons.map((r) => <li key={r.code} translate={false}><Tag>{r.code}</Tag> {reason(r)}</li>)}</ul>
      {!!p.d.blocked?.length && <><h3>{t("blocked")}</h3><ul class="reasons">{p.d.blocked.map((b) => <li key={b.action + b.rule} translate={false}><Tag tone="bad">{b.rule}</Tag> <b>{plain(b.action)}</b>: {recorded(b.text)}</li>)}</ul></>}
      {!!rules?.length && <><h3>{t("decision.every-rule")}</h3><ul class="verdicts">{rules.map((r) => (
        <li key={r.rule}><Tag tone={r.result === "deny" || r.result === "doubt" ? "bad" : r.result === "review" ? "warn" : r.result === "pass" ? "good" : ""}>{word("result", r.result)}</Tag>
          <div translate={false}><a href={"/rules#" + r.rule}>{r.rule}</a> <small>v{r.version}</small>{r.text && <p>{r.text}</p>}{r.source && <small>{r.source}</small>}</div></li>
      ))}</ul></>}
    </Card>
  );
}

// rank sorts models that the decision used first and models without a score last.
const rank = (m: ModelRun) => (m.outside ? 2 : m.shadow ? 1 : 0);

// Run shows a model's score and the features that moved it, those that raised it to the
// right and those that lowered it to the left.
function Run(p: { m: ModelRun }) {
  const list = p.m.contributions ?? [];
  if (p.m.outside) return <p class="run hint">{t(p.m.too_new ? "decision.too-new" : "decision.outside", { output: p.m.output, model: `${p.m.name} ${p.m.version}` })}</p>;
  const most = Math.max(0.0001, ...list.map((c) => Math.abs(c.effect)));
  return (
    <div class="run">
      <Meter label={p.m.output} value={p.m.score} />
      <p class="hint">{p.m.shadow ? t("decision.shadow", { model: `${p.m.name} ${p.m.version}` }) : <Data>{p.m.name} {p.m.version}</Data>} <Data class="mono">{p.m.sha256?.slice(0, 12)}</Data></p>
      {list.length > 0 && <table class="effects"><thead class="sr"><tr><th>{t("col.feature")}</th><th>{t("col.value")}</th><th>{t("col.effect")}</th><th>{t("col.effect")}</th></tr></thead><tbody>{list.map((c) => (
        <tr key={c.feature}><th scope="row" translate={false}>{c.feature}</th><td class="r">{value(c.value)}</td><td>
          <svg viewBox="-50 0 100 8" preserveAspectRatio="none" role="img" aria-label={t(c.effect > 0 ? "decision.raised" : "decision.lowered", { by: fixed(Math.abs(c.effect), 2) })}>
            <line x1="0" y1="0" x2="0" y2="8" class="axis" /><rect class={c.effect > 0 ? "up" : "down"} x={c.effect > 0 ? 0 : (50 * c.effect) / most} width={(50 * Math.abs(c.effect)) / most} y="1" height="6" rx="1" />
          </svg></td><td class="r hint">{signed(c.effect, 2)}</td></tr>
      ))}</tbody></table>}
    </div>
  );
}
