import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { moment, num, shortType } from "../format";
import type { DeadLetter, ViewProps } from "../types";
import { Act, Ask, Card, Empty, Head, Json, Tag, Wrong, attempt } from "../ui";
import { call } from "../api";

export function DeadLettersPage(p: ViewProps) {
  const [before, setBefore] = useState("");
  const { data, error, reload } = useLoaded<{ dead_letters: DeadLetter[]; total: number }>(`/api/deadletters?before=${encodeURIComponent(before)}`, 2000);
  const list = data?.dead_letters ?? [];
  const [all, askAll] = useState(false);
  const again = async (l: DeadLetter) => { if (await attempt(`/api/deadletters/${encodeURIComponent(l.id)}/replay`, {}, "Sent again. If it fails again, it comes back here.")) setTimeout(reload, 300); };
  const discard = async (l: DeadLetter) => { if (await attempt(`/api/deadletters/${encodeURIComponent(l.id)}/discard`, {}, "Discarded.")) setTimeout(reload, 300); };
  return (
    <>
      <Head title="Dead letters" lead="Events that a function refused for good (4xx), or that every retry failed to deliver. Nothing is lost: mend the cause, then replay.">
        <Act who={p.who} role="operator" tone="primary" disabled={!data?.total} onClick={() => askAll(true)}>Replay all</Act>
      </Head>
      <Wrong text={error} />
      {data && <Card title={before ? `${num(list.length)} older ones of ${num(data.total)}` : data.total > list.length ? `Newest ${num(list.length)} of ${num(data.total)}` : `${num(list.length)} kept`}>
        {list.length === 0 && <Empty>{before ? "No older ones." : "None. Every event was delivered."}</Empty>}
        <ul class="dead-letters">{list.map((l) => (
          <li key={l.id}>
            <div class="said-head">
              <Tag tone={l.code >= 400 && l.code < 500 ? "bad" : "warn"} title={l.code >= 400 && l.code < 500 ? "The event itself is wrong: never retried" : "The subscriber failed: retried, then given up"}>{l.code || "no answer"}</Tag>
              <b>{shortType(String(l.event.type ?? "?"))}</b><span class="hint">for {l.trigger}{l.attempts ? `, ${l.attempts} ${l.attempts === 1 ? "attempt" : "attempts"}` : ""}</span>
              <span class="spacer" /><time class="hint" dateTime={l.at}>{moment(l.at)}</time>
            </div>
            <p class="reason">{l.reason || "No reason was given."}</p>
            <details><summary>The event <span class="mono">{String(l.event.source ?? "")} {String(l.event.id ?? "")}</span></summary><Json value={l.event} /></details>
            <div class="buttons">
              <Act who={p.who} role="operator" onClick={() => again(l)}>Replay</Act>
              <Act who={p.who} role="operator" tone="ghost" onClick={() => discard(l)}>Discard</Act>
            </div>
          </li>
        ))}</ul>
        {(before || data.total > list.length) && <div class="buttons">
          {before && <button type="button" class="button ghost" onClick={() => setBefore("")}>Newest</button>}
          {list.length > 0 && <button type="button" class="button ghost" onClick={() => setBefore(list[list.length - 1]!.id)}>Older</button>}
        </div>}
      </Card>}
      <KeptOut />
      {all && <Ask title="Replay every dead letter" button="Replay all" tone="primary" onClose={() => askAll(false)} fields={[]}
        text={<p>{num(data?.total ?? 0)} events are delivered again. What was handled already is recognised and changes nothing.</p>}
        change={async () => { const r = await call<{ replayed: number }>("/api/deadletters/replay", {}); setTimeout(reload, 300); return `${num(r.replayed)} sent again.`; }} />}
    </>
  );
}

interface KeptOutLine { day: string; reason: string; source: string; events: number }

// KeptOut is what the platforms sent that was acknowledged and does not count.
function KeptOut() {
  const { data } = useLoaded<{ kept_out: KeptOutLine[] }>("/api/keptout", 10000);
  if (!data?.kept_out.length) return null;
  return (
    <Card title="Came too late to count, 7 days">
      <ul class="dead-letters">{data.kept_out.map((k) => (
        <li key={`${k.day} ${k.reason} ${k.source}`}><b class="mono">{k.source}</b> <span class="hint">{k.day}: {num(k.events)} {k.reason === "late" ? "behind the lateness window" : "rollbacks of rounds that are not known"}</span></li>
      ))}</ul>
    </Card>
  );
}
