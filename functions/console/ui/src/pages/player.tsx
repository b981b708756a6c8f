import { useEffect, useState } from "preact/hooks";
import { call, useLoaded } from "../api";
import { bytes, duration, fromField, known, moment, money, num, shortType, value } from "../format";
import { language, languages, rich, t, word } from "../i18n";
import { recorded } from "../recorded";
import { go } from "../router";
import { useLive } from "../stream";
import type { Decision, Facts, Player, Refusal, Scoring, ViewProps } from "../types";
import { Act, Ask, Card, Data, Empty, Head, Json, Kind, Meter, Modal, PlayerLink, Spark, Status, Tag, Verdict, Wrong } from "../ui";
import { Kept } from "./kept";
import { actionOf, said, sentence } from "../words";

interface Found { players: { player: string; events: number; last: string }[]; kept: number; bytes: number }

export function PlayersPage(p: ViewProps) {
  const q = p.url.searchParams.get("q") ?? "";
  const { data, error } = useLoaded<Found>("/api/players?q=" + encodeURIComponent(q), 2000);
  const open = (e: Event) => { e.preventDefault(); if (q) go("/players/" + encodeURIComponent(q)); };
  return (
    <>
      <Head title={t("players.title")} lead={t("players.lead")} />
      <form class="search" role="search" onSubmit={open}>
        <input type="search" aria-label={t("players.id")} placeholder={t("players.id-hint")} value={q} autofocus
          onInput={(e) => go("/players" + (e.currentTarget.value ? "?q=" + encodeURIComponent(e.currentTarget.value) : ""), true)} />
      </form>
      <Wrong text={error} />
      {data && <Card title={t(q ? "players.found" : "players.last")} aside={<span class="hint">{t("players.kept", { n: data.kept, bytes: bytes(data.bytes) })}</span>}>
        {data.players.length === 0 ? <Empty>{q ? <>{t("players.nobody")} <a href={"/players/" + encodeURIComponent(q)}>{t("players.look")}</a></> : t("players.none")}</Empty> :
          <div class="scroll" tabIndex={0} role="region" aria-label={t("players.title")}><table><thead><tr><th scope="col">{t("col.player")}</th><th scope="col" class="r">{t("col.seen")}</th><th scope="col" class="r">{t("col.last")}</th></tr></thead>
            <tbody>{data.players.map((f) => <tr key={f.player}><td><PlayerLink id={f.player} /></td><td class="r">{num(f.events)}</td><td class="r">{moment(f.last)}</td></tr>)}</tbody></table></div>}
      </Card>}
    </>
  );
}

const shown = ["rounds_10m", "net_1h", "net_24h", "stake_mean_1h", "loss_streak", "session_minutes", "load_fails_10m", "payment_fails_1h", "deposits_24h", "deposit_sum_24h", "chase", "gap_mean_s"];

export function PlayerPage(p: ViewProps & { id: string }) {
  const loaded = useLoaded<Player>("/api/players/" + encodeURIComponent(p.id), 2000);
  const { error, reload } = loaded;
  const gone = useLive().erased.has(p.id);
  const [asking, ask] = useState<"erase" | "export" | "exclude">();
  const data = gone ? undefined : loaded.data;
  const scores = data?.scorings.filter((s) => s.scores) ?? [];
  const last = scores[scores.length - 1];
  return (
    <>
      <Head title={<Data>{p.id}</Data>} lead={data ? <FactsLine facts={data.facts} /> : t("loading")}>
        <Act who={p.who} role="compliance" onClick={() => ask("exclude")}>{t("player.exclude")}</Act>
        <Act who={p.who} role="compliance" onClick={() => ask("export")}>{t("player.export")}</Act>
        <Kept id={p.id} who={p.who} />
        <Act who={p.who} role="compliance" tone="danger" onClick={() => ask("erase")}>{t("player.erase")}</Act>
      </Head>
      <Wrong text={gone ? t("player.erased") : error} />
      {data && <>
        <div class="grid two-one">
          <Card title={t("player.timeline")} aside={<span class="hint">{t("player.seen", { n: data.seen })}</span>}>
            {data.events.length === 0 && <Empty>{t("player.no-event")}</Empty>}
            <ol class="timeline">{data.events.map((m) => (
              <li key={m.source + m.id} class={m.refused ? "refused" : m.decision ? "decided " + m.decision.verdict : shortType(m.type).includes("fail") || shortType(m.type).startsWith("protection") ? "alert" : ""}>
                <time dateTime={m.time}>{moment(m.time)}</time>
                {m.decision ? (
                  <div><div class="said-head"><Verdict verdict={m.decision.verdict} /><Status status={m.decision.status} /><Kind kind={m.decision.kind} /><a href={"/decisions/" + encodeURIComponent(m.decision.decision)} translate={m.decision.action === "none"}>{actionOf(m.decision)}</a></div><p>{said(m.decision)}</p></div>
                ) : (
                  <details><summary>{sentence(m.type, m.data)}<small translate={false}>{shortType(m.type)}</small></summary><Json value={m} /></details>
                )}
                {m.refused?.map((r) => <Refused key={r.trigger} r={r} masked={data.masked} />)}
              </li>
            ))}</ol>
          </Card>
          <div class="stack">
            {last?.scores && <Card title={t("player.risk")} aside={<time class="hint">{moment(last.as_of)}</time>}>
              {Object.entries(last.scores).map(([n, v]) => <div key={n} class="risk"><Meter label={n} value={v} /><Spark label={n} values={scores.map((s) => s.scores?.[n] ?? NaN)} /></div>)}
            </Card>}
            <Card title={t("player.state")} aside={data.state ? <Data class="mono hint">{data.state.version}</Data> : undefined}>
              {data.state ? <dl class="facts"><dt>{t("player.as-of")}</dt><dd>{moment(data.state.as_of)}</dd><dt>{t("player.applied")}</dt><dd>{num(data.state.applied)}</dd><dt>{t("player.late")}</dt><dd>{num(data.state.late)}</dd></dl> : <Empty>{data.state_note ? <Data>{recorded(data.state_note)}</Data> : t("player.no-state")}</Empty>}
              <FactsList facts={data.facts} masked={data.masked} />
            </Card>
          </div>
        </div>
        <Features data={data} />
        <History id={p.id} seen={data.decisions} />
      </>}
      {asking === "erase" && <Ask title={t("erase.title")} button={t("erase.button")} tone="danger" onClose={() => ask(undefined)}
        text={<p>{t("erase.text", { event: "privacy.erase" })}</p>}
        fields={[{ name: "confirm", label: t("confirm-id"), example: p.id }, { name: "request", label: t("reference"), example: "DSR-2026-0142" }]}
        change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/erase`, v); setTimeout(reload, 800); return t("erase.done"); }} />}
      {asking === "exclude" && <Ask title={t("exclude.title")} button={t("player.exclude")} tone="danger" onClose={() => ask(undefined)}
        text={<p>{t("exclude.text", { event: "protection.excluded" })}</p>}
        fields={[{ name: "confirm", label: t("confirm-id"), example: p.id }, { name: "until", label: t("exclude.until"), example: "2027-06-30", optional: true }, { name: "note", label: t("exclude.how"), placeholder: t("exclude.how-example") }]}
        change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/exclude`, v); setTimeout(reload, 800); return t("exclude.done"); }} />}
      {asking === "export" && <Export id={p.id} close={() => ask(undefined)} />}
    </>
  );
}

// Refused says who refused an event, so that it did not count, and why.
function Refused(p: { r: Refusal; masked?: boolean }) {
  const { trigger, code = 0, reason } = p.r;
  const said = reason || t(p.masked ? "player.hidden" : "letters.no-reason");
  return <p class="refusal"><Tag tone="bad">{t(code >= 400 && code < 500 ? "player.refused" : "player.undelivered")}</Tag> {t("player.refused-by", { trigger, reason: said })}</p>;
}

// Export requests a copy from privacy, waits for it, and offers it to read or to download.
function Export(p: { id: string; close: () => void }) {
  const [request, setRequest] = useState<string>();
  const at = "/api/exports/" + encodeURIComponent(request ?? "");
  const ready = async () => {
    for (let n = 0; n < 60; n++) {
      const res = await fetch(at, { method: "HEAD" });
      if (res.ok) return true;
      await new Promise((r) => setTimeout(r, 500));
    }
    return false;
  };
  const [there, setThere] = useState<boolean>();
  const [tongue, speak] = useState<string>(language);
  useEffect(() => { if (request) ready().then(setThere); }, [request]);
  if (!request) return (
    <Ask title={t("export.title")} button={t("export.button")} onClose={p.close} stays
      text={<p>{t("export.text", { event: "privacy.export" })}</p>}
      fields={[{ name: "request", label: t("reference"), example: "DSR-2026-0142" }]}
      change={async (v) => { await call(`/api/players/${encodeURIComponent(p.id)}/export`, v); setRequest(v.request); return t("export.asked"); }} />
  );
  return (
    <Modal title={t("export.of", { request })} onClose={p.close}>
      {there === undefined && <p>{t("export.making")}</p>}
      {there === false && <Wrong text={t("export.late")} />}
      {there && <p class="buttons"><select name="language" aria-label={t("export.language")} value={tongue} onChange={(e) => speak(e.currentTarget.value)}>{Object.entries(languages).map(([tag, name]) => <option key={tag} value={tag} lang={tag} translate={false}>{name}</option>)}</select>
        <a class="button primary" href={`${at}?as=html&language=${tongue}`} target="_blank" rel="external">{t("export.read")}</a> <a class="button" href={at} download={request + ".json"} translate={false}>JSON</a></p>}
    </Modal>
  );
}

interface Journaled { decisions: Decision[]; whole: boolean; behind: boolean; next?: string }

// History lists the player's decisions from the journal, or without Redis those that the
// console has seen.
function History(p: { id: string; seen: Decision[] }) {
  const [until, setUntil] = useState("");
  const [before, setBefore] = useState("");
  const up = [until && "until=" + until, before && "before=" + before].filter(Boolean).join("&");
  const { data, error } = useLoaded<Journaled>(`/api/players/${encodeURIComponent(p.id)}/decisions?${up}`, up ? 0 : 5000);
  const list = data?.decisions ?? p.seen;
  return (
    <Card title={t("decisions.title")} aside={<label class="inline">{t("time.to")} <input type="datetime-local" step="1" name="until" aria-label={t("player.until")} onChange={(e) => {
      const at = (e.target as HTMLInputElement).value;
      setUntil(fromField(at));
      setBefore("");
    }} /></label>}>
      {list.length === 0 ? <Empty>{t(up ? "player.none-until" : "player.none")}</Empty> : <ul class="plain-list">{list.map((d) => (
        <li key={d.decision + d.verdict}><time class="hint">{moment(d.decided_at)}</time> <Verdict verdict={d.verdict} /><Status status={d.status} /> <a href={"/decisions/" + encodeURIComponent(d.decision)} translate={d.action === "none"}>{actionOf(d)}</a> <span class="hint">{said(d)}</span></li>
      ))}</ul>}
      {before && <button type="button" class="button ghost" onClick={() => setBefore("")}>{t("newest")}</button>}
      {data?.next && <button type="button" class="button ghost" onClick={() => setBefore(data.next!)}>{t("older")}</button>}
      {data?.behind && <p class="hint">{t("decisions.behind")}</p>}
      {data && !data.whole && <p class="hint">{rich("player.not-whole", { setting: "PITBOSS_SEGMENTS", command: <Data class="mono">pitboss explain --player … --segments …</Data> })}</p>}
      {error && !data && <p class="hint">{t("player.only-seen", { error })}</p>}
    </Card>
  );
}

function FactsLine(p: { facts: Facts }) {
  const f = p.facts;
  const line = [f.jurisdiction, f.brand, f.tier, f.currency].filter(Boolean).join(" · ");
  return <>{line ? <Data>{line}</Data> : t("player.no-facts")}{!!f.exclusions?.length && <> <Tag tone="bad">{t("player.excluded")}</Tag></>}</>;
}

// consent names the product and the channel of a consent.
const consent = (key: string) => {
  const [product = "", channel = ""] = key.split("/");
  return t("player.consent", { product: word("product", product), channel: word("channel", channel) });
};

function FactsList(p: { facts: Facts; masked?: boolean }) {
  const f = p.facts;
  const consents = (granted: boolean) => Object.entries(f.consents ?? {}).filter(([, v]) => v === granted).map(([k]) => consent(k)).join(", ") || t("nothing");
  const limit = ([k, l]: [string, { amount: number; currency?: string; reached?: string }]) => {
    const [what = "", period = ""] = k.split("/");
    const text = t("player.limit", { limit: word("limit", what), period: word("period", period), amount: what === "time" ? duration(l.amount) : money(l.amount, l.currency ?? f.currency) });
    return known(l.reached) ? t("player.limit-reached", { limit: text }) : text;
  };
  return (
    <dl class="facts">
      <dt>{t("filter.jurisdiction")}</dt><dd>{f.jurisdiction ? <Data>{f.jurisdiction}</Data> : t("player.no-place")}</dd>
      <dt>{t("player.born")}</dt><dd>{p.masked ? t("player.hidden") : f.birth_date ?? t("player.no-birth")}</dd>
      <dt>{t("player.opted-in")}</dt><dd>{consents(true)}</dd><dt>{t("player.opted-out")}</dt><dd>{consents(false)}</dd>
      <dt>{t("player.exclusions")}</dt><dd>{f.exclusions?.length ? f.exclusions.map((e) => known(e.until) ? t("player.exclusion-until", { scheme: e.scheme, time: moment(e.until) }) : t("player.exclusion", { scheme: e.scheme })).join(", ") : t("none")}</dd>
      <dt>{t("player.limits")}</dt><dd>{Object.entries(f.limits ?? {}).map(limit).join(", ") || t("none")}</dd>
      <dt>{t("player.markers")}</dt><dd>{p.masked ? t("player.hidden") : Object.entries(f.indicators ?? {}).map(([k, s]) => t("player.marker", { group: word("marker", k), strength: word("strength", s) })).join(", ") || t("none")}</dd>
    </dl>
  );
}

function Features(p: { data: Player }) {
  const [all, setAll] = useState(false);
  const now = p.data.state?.features ?? p.data.scorings[p.data.scorings.length - 1]?.features ?? {};
  const names = Object.keys(now).sort();
  const pick = all ? names : shown.filter((n) => n in now);
  if (!names.length) return null;
  const series = (n: string) => p.data.scorings.map((s: Scoring) => s.features?.[n] ?? NaN);
  return (
    <Card title={t("player.features")} aside={<><span class="hint">{t("player.features-hint")}</span><button type="button" class="button ghost" onClick={() => setAll(!all)}>{all ? t("player.fewer") : t("player.all", { n: names.length })}</button></>}>
      <ul class="features">{pick.map((n) => <li key={n}><Data class="feature-name">{n}</Data><Spark label={n} values={series(n)} /><b>{value(now[n]!)}</b></li>)}</ul>
    </Card>
  );
}
