import { useLoaded } from "../api";
import { fromField, moment, ms, num, percent, plain, shortType, toField, value } from "../format";
import { go, withParam } from "../router";
import { useLive } from "../stream";
import type { Counted, Decision, ModelRun, Scoring, ViewProps } from "../types";
import { Bars, Card, Empty, Head, Json, Kind, Meter, PlayerLink, Status, Tag, Verdict, Wrong } from "../ui";

interface Page { decisions: Decision[]; matched: number; kept: number; next?: string; journal: boolean; whole: boolean; behind: boolean; facets: Record<string, Counted[] | undefined> }

const filters = ["verdict", "outcome", "kind", "jurisdiction", "brand", "action", "rule"];

export function DecisionsPage(p: ViewProps) {
  const { data, error, reload } = useLoaded<Page>("/api/decisions?" + p.url.searchParams, p.url.searchParams.has("before") ? 0 : 4000);
  const set = (name: string, v: string) => go(withParam(p.url, name, v), true);
  const param = (name: string) => p.url.searchParams.get(name) ?? "";
  const csv = new URLSearchParams(p.url.searchParams);
  csv.delete("before");
  return (
    <>
      <Head title="Decisions" lead={data ? <><b>{num(data.matched)}</b> of {num(data.kept)} {data.journal ? "in the journal" : "in memory; there is no journal"}</> : "Loading …"}>
        {data?.journal && <a class="button" href={"/api/decisions.csv?" + csv} download="decisions.csv">CSV</a>}
      </Head>
      <div class="filters">
        <input type="search" aria-label="Player or decision" placeholder="Player or decision, the whole id" value={param("q")} onInput={(e) => set("q", e.currentTarget.value.trim())} />
        <TimeField name="from" value={param("from")} set={set} /><TimeField name="to" value={param("to")} set={set} />
        {filters.map((f) => (
          <select key={f} aria-label={f} value={param(f)} onChange={(e) => set(f, e.currentTarget.value)}>
            <option value="">any {f}</option>
            {keepChosen(data?.facets[f] ?? [], p.url.searchParams.get(f)).map((c) => <option key={c.name} value={c.name}>{c.name} ({num(c.n)})</option>)}
          </select>
        ))}
        {param("player") && <button type="button" class="button" onClick={() => set("player", "")}>player {param("player")} ×</button>}
        {p.url.search && <a class="button ghost" href="/decisions">clear</a>}
      </div>
      <Wrong text={error} again={reload} />
      {data?.behind && <p class="note">The journal is still being indexed: counts grow until it is done.</p>}
      {data && !data.whole && <p class="note">Older decisions were written out to segments that this console does not read: set PITBOSS_SEGMENTS.</p>}
      {data && <div class="grid two-one">
        <Card>
          {data.decisions.length === 0 ? <Empty>No decision matches.</Empty> : (
            <div class="scroll" tabIndex={0} role="region" aria-label="Decisions"><table class="decisions">
              <thead><tr><th scope="col">When</th><th scope="col">Verdict</th><th scope="col">Action</th><th scope="col">Player</th><th scope="col">Why</th></tr></thead>
              <tbody>{data.decisions.map((d) => (
                <tr key={d.decision + d.verdict}>
                  <td class="nowrap"><a href={"/decisions/" + encodeURIComponent(d.decision)}><time dateTime={d.decided_at}>{moment(d.decided_at)}</time></a></td>
                  <td><Verdict verdict={d.verdict} /> <Status status={d.status} /></td>
                  <td>{d.action === "none" ? "nothing sent" : plain(d.action)}<br /><Kind kind={d.kind} /></td>
                  <td>{d.erased ? <span class="hint">erased</span> : <PlayerLink id={d.player} />}<br /><span class="hint">{[d.jurisdiction, d.brand].filter(Boolean).join(" · ")}</span></td>
                  <td class="why">{d.verdict === "suppressed" && d.blocked?.length ? d.blocked[0]!.text : d.reasons.map((r) => r.text).join(" ")}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
          <div class="buttons">
            {param("before") && <a class="button ghost" href={withParam(p.url, "before", "")}>Newest</a>}
            {!!data.next && <a class="button" href={withParam(p.url, "before", data.next)}>Older</a>}
          </div>
        </Card>
        <Card title="Suppressed, by rule"><Bars label="Suppressions by rule" items={(data.facets.rule ?? []).slice(0, 14).map((r) => ({ ...r, href: withParam(p.url, "rule", r.name), tone: "bad" }))} /></Card>
      </div>}
    </>
  );
}

// TimeField is one end of a time range; the address has it in UTC.
function TimeField(p: { name: string; value: string; set: (name: string, v: string) => void }) {
  return <label class="inline">{p.name} <input type="datetime-local" step="1" aria-label={p.name} value={toField(p.value)} onChange={(e) => p.set(p.name, fromField(e.currentTarget.value))} /></label>;
}

// keepChosen lists the chosen value even when nothing of it is in memory.
function keepChosen(list: Counted[], chosen: string | null): Counted[] {
  return !chosen || list.some((c) => c.name === chosen) ? list : [{ name: chosen, n: 0 }, ...list];
}

export interface RuleVerdict { rule: string; version: number; result: string; text?: string; source?: string; actions?: string[] }
interface Why {
  decision: Decision; inputs: Scoring | null; review?: { verdict: string; who: string; note: string; at: string };
  journal: null | { rules?: RuleVerdict[]; candidates?: { action: string; kind: string; value: number; propensity?: number; blocked?: { rule: string; text: string }[] }[]; verified?: string; record?: unknown; note?: string };
}

export function DecisionPage(p: ViewProps & { id: string }) {
  const { data, error, reload } = useLoaded<Why>("/api/decisions/" + encodeURIComponent(p.id));
  const { erased } = useLive();
  const gone = !!data && erased.has(data.decision.player);
  const d = gone ? undefined : data?.decision;
  return (
    <>
      <Head title={d ? (d.action === "none" ? "Nothing sent" : plain(d.action)) : "Decision"} lead={d ? <><Verdict verdict={d.verdict} /> <Status status={d.status} /> <Kind kind={d.kind} /> for <PlayerLink id={d.player} /> in {d.jurisdiction || "an unknown jurisdiction"}, {moment(d.decided_at)}</> : p.id} />
      <Wrong text={gone ? "The player was erased." : error} again={gone ? undefined : reload} />
      {d && data && <>
        <p class="statement">{d.words}</p>
        <div class="grid two-one">
          <div class="stack">
            <Card title="What the models said">{data.inputs?.models?.length ? data.inputs.models.map((m) => <Run key={m.name + m.version} m={m} />) : d.scores ? Object.entries(d.scores).map(([n, v]) => <Meter key={n} label={n} value={v} />) : <Empty>No model was asked, or its event left memory.</Empty>}</Card>
            <Rules d={d} journal={data.journal} />
            {!!data.journal?.candidates?.length && <Card title="What else could have been"><div class="scroll" tabIndex={0} role="region" aria-label="Candidates"><table><thead><tr><th scope="col">Action</th><th scope="col">Kind</th><th scope="col" class="r">Value</th><th scope="col" class="r">Chance</th><th scope="col">Blocked by</th></tr></thead>
              <tbody>{data.journal.candidates.map((c) => <tr key={c.action}><td>{plain(c.action)}</td><td><Kind kind={c.kind} /></td><td class="r">{value(c.value)}</td><td class="r">{c.propensity ? percent(c.propensity) : "–"}</td><td>{c.blocked?.map((b) => b.rule).join(", ") || "–"}</td></tr>)}</tbody></table></div></Card>}
          </div>
          <div class="stack">
            <Card title="Why it was asked"><dl class="facts">
              <dt>Trigger</dt><dd>{shortType(d.trigger.type)}<br /><span class="mono hint">{d.trigger.source} {d.trigger.id}</span></dd>
              <dt>Happened</dt><dd>{moment(d.trigger.time)}</dd>
              <dt>Decided</dt><dd>{moment(d.decided_at)}{d.total_ms ? `, ${ms(d.total_ms)} after the POST` : ""}</dd>
              {data.inputs && <><dt>Due</dt><dd>{data.inputs.due.map(plain).join(", ")}</dd><dt>State version</dt><dd class="mono">{data.inputs.version}</dd></>}
            </dl></Card>
            <Card title="What was decided"><dl class="facts">
              <dt>Decision</dt><dd class="mono">{d.decision}</dd>
              <dt>Channel</dt><dd>{d.channel || "–"}</dd><dt>Severity</dt><dd>{d.severity || "–"}</dd>
              <dt>Arm</dt><dd>{d.arm || "–"}{d.propensity ? `, chosen with probability ${d.propensity.toFixed(3)}` : ""}</dd>
              <dt>Expires</dt><dd>{moment(d.expires ?? "")}</dd><dt>Dedup key</dt><dd class="mono">{d.dedup_key}</dd>
              {d.trace && <><dt>Trace</dt><dd class="mono">{d.trace.split("-")[1]}</dd></>}
              {data.journal?.note && <><dt>Note</dt><dd>{data.journal.note}</dd></>}
              {data.journal?.verified && <><dt>Journal</dt><dd>{data.journal.verified}</dd></>}
              {d.review && <><dt>Review</dt><dd>{data.review ? `${data.review.verdict} by ${data.review.who}: ${data.review.note}` : <a href="/review">waits for a person</a>}</dd></>}
            </dl></Card>
            {!!d.happened?.length && <Card title="What became of it"><ul class="plain-list">{d.happened.map((h) => <li key={h.status + h.at}><Status status={h.status} /> <time class="hint" dateTime={h.at}>{moment(h.at)}</time></li>)}</ul></Card>}
            {!!d.revoked?.length && d.verdict === "revoked" && <Card title="What it took back"><ul class="plain-list">{d.revoked.map((id) => <li key={id}><a class="mono" href={"/decisions/" + encodeURIComponent(id)}>{id}</a></li>)}</ul></Card>}
            {data.inputs && <Card title="Inputs"><details><summary>{Object.keys(data.inputs.features ?? {}).length} features and the facts</summary><Json value={{ features: data.inputs.features, facts: data.inputs.facts }} /></details></Card>}
            {!!data.journal?.record && <Card title="The journal's record"><details><summary>As stored</summary><Json value={data.journal.record} /></details></Card>}
          </div>
        </div>
      </>}
    </>
  );
}

function Rules(p: { d: Decision; journal: Why["journal"] }) {
  const rules = p.journal?.rules;
  return (
    <Card title="Reasons and rules">
      <ul class="reasons">{p.d.reasons.map((r) => <li key={r.code}><Tag>{r.code}</Tag> {r.text}</li>)}</ul>
      {!!p.d.blocked?.length && <><h3>Blocked</h3><ul class="reasons">{p.d.blocked.map((b) => <li key={b.action + b.rule}><Tag tone="bad">{b.rule}</Tag> <b>{plain(b.action)}</b>: {b.text}</li>)}</ul></>}
      {!!rules?.length && <><h3>Every rule that was asked</h3><ul class="verdicts">{rules.map((r) => (
        <li key={r.rule}><Tag tone={r.result === "deny" || r.result === "doubt" ? "bad" : r.result === "review" ? "warn" : r.result === "pass" ? "good" : ""}>{r.result}</Tag>
          <div><a href={"/rules#" + r.rule}>{r.rule}</a> <small>v{r.version}</small>{r.text && <p>{r.text}</p>}{r.source && <small>{r.source}</small>}</div></li>
      ))}</ul></>}
    </Card>
  );
}

// Run is one model's score and the features that moved it: right raised it,
// left lowered it.
function Run(p: { m: ModelRun }) {
  const list = p.m.contributions ?? [];
  const most = Math.max(0.0001, ...list.map((c) => Math.abs(c.effect)));
  return (
    <div class="run">
      <Meter label={p.m.output} value={p.m.score} />
      <p class="hint">{p.m.name} {p.m.version}{p.m.shadow ? ", in the shadow: not decided on" : ""} <span class="mono">{p.m.sha256?.slice(0, 12)}</span></p>
      {list.length > 0 && <table class="effects"><thead class="sr"><tr><th>Feature</th><th>Value</th><th>Effect</th></tr></thead><tbody>{list.map((c) => (
        <tr key={c.feature}><th scope="row">{c.feature}</th><td class="r">{value(c.value)}</td><td>
          <svg viewBox="-50 0 100 8" preserveAspectRatio="none" role="img" aria-label={(c.effect > 0 ? "raised it by " : "lowered it by ") + Math.abs(c.effect).toFixed(2)}>
            <line x1="0" y1="0" x2="0" y2="8" class="axis" /><rect class={c.effect > 0 ? "up" : "down"} x={c.effect > 0 ? 0 : (50 * c.effect) / most} width={(50 * Math.abs(c.effect)) / most} y="1" height="6" rx="1" />
          </svg></td><td class="r hint">{c.effect > 0 ? "+" : ""}{c.effect.toFixed(2)}</td></tr>
      ))}</tbody></table>}
    </div>
  );
}
