import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { moment, shortType } from "../format";
import { t } from "../i18n";
import type { DeadLetter, ViewProps } from "../types";
import { Act, Ask, Card, Data, Empty, Head, Json, Tag, Wrong, attempt } from "../ui";
import { call } from "../api";

export function DeadLettersPage(p: ViewProps) {
  const [before, setBefore] = useState("");
  const { data, error, reload } = useLoaded<{ dead_letters: DeadLetter[]; total: number }>(`/api/deadletters?before=${encodeURIComponent(before)}`, 2000);
  const list = data?.dead_letters ?? [];
  const [all, askAll] = useState(false);
  const again = async (l: DeadLetter) => { if (await attempt(`/api/deadletters/${encodeURIComponent(l.id)}/replay`, {}, t("letters.sent"))) setTimeout(reload, 300); };
  const discard = async (l: DeadLetter) => { if (await attempt(`/api/deadletters/${encodeURIComponent(l.id)}/discard`, {}, t("letters.discarded"))) setTimeout(reload, 300); };
  return (
    <>
      <Head title={t("letters.title")} lead={t("letters.lead")}>
        <Act who={p.who} role="operator" tone="primary" disabled={!data?.total} onClick={() => askAll(true)}>{t("letters.replay-all")}</Act>
      </Head>
      <Wrong text={error} />
      {data && <Card title={before ? t("letters.older", { n: list.length, total: data.total }) : data.total > list.length ? t("letters.newest", { n: list.length, total: data.total }) : t("letters.kept", { n: list.length })}>
        {list.length === 0 && <Empty>{t(before ? "letters.none-older" : "letters.none")}</Empty>}
        <ul class="dead-letters">{list.map((l) => (
          <li key={l.id}>
            <div class="said-head">
              <Tag tone={l.code >= 400 && l.code < 500 ? "bad" : "warn"} title={t(l.code >= 400 && l.code < 500 ? "letters.wrong" : "letters.failed")}>{l.code || t("letters.no-answer")}</Tag>
              <b translate={false}>{shortType(String(l.event.type ?? "?"))}</b><span class="hint">{l.attempts ? t("letters.for-after", { trigger: l.trigger, n: l.attempts }) : t("letters.for", { trigger: l.trigger })}</span>
              <span class="spacer" /><time class="hint" dateTime={l.at}>{moment(l.at)}</time>
            </div>
            <p class="reason" translate={!l.reason}>{l.reason || t("letters.no-reason")}</p>
            <details><summary>{t("letters.event")} <Data class="mono">{String(l.event.source ?? "")} {String(l.event.id ?? "")}</Data></summary><Json value={l.event} /></details>
            <div class="buttons">
              <Act who={p.who} role="operator" onClick={() => again(l)}>{t("letters.replay")}</Act>
              <Act who={p.who} role="operator" tone="ghost" onClick={() => discard(l)}>{t("letters.discard")}</Act>
            </div>
          </li>
        ))}</ul>
        {(before || data.total > list.length) && <div class="buttons">
          {before && <button type="button" class="button ghost" onClick={() => setBefore("")}>{t("newest")}</button>}
          {list.length > 0 && <button type="button" class="button ghost" onClick={() => setBefore(list[list.length - 1]!.id)}>{t("older")}</button>}
        </div>}
      </Card>}
      <KeptOut />
      {all && <Ask title={t("letters.replay-every")} button={t("letters.replay-all")} tone="primary" onClose={() => askAll(false)} fields={[]}
        text={<p>{t("letters.replay-text", { n: data?.total ?? 0 })}</p>}
        change={async () => { const r = await call<{ replayed: number }>("/api/deadletters/replay", {}); setTimeout(reload, 300); return t("letters.replayed", { n: r.replayed }); }} />}
    </>
  );
}

interface KeptOutLine { day: string; reason: string; source: string; events: number }

// KeptOut lists acknowledged events that did not count.
function KeptOut() {
  const { data } = useLoaded<{ kept_out: KeptOutLine[] }>("/api/keptout", 10000);
  if (!data?.kept_out.length) return null;
  return (
    <Card title={t("kept-out.title")}>
      <ul class="dead-letters">{data.kept_out.map((k) => (
        <li key={`${k.day} ${k.reason} ${k.source}`}><Data class="mono">{k.source}</Data> <span class="hint">{t(k.reason === "late" ? "kept-out.late" : "kept-out.rollback", { day: k.day, n: k.events })}</span></li>
      ))}</ul>
    </Card>
  );
}
