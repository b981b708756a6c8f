import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { moment } from "../format";
import type { Change, ViewProps } from "../types";
import { Card, Empty, Head, Tag, Wrong } from "../ui";

export function ChangesPage(_: ViewProps) {
  const [reads, setReads] = useState(false);
  const { data, error, reload } = useLoaded<{ changes: Change[]; chained: boolean }>("/api/changes" + (reads ? "?reads=1" : ""), 3000);
  return (
    <>
      <Head title="Changes" lead="Who changed what, newest first. Entries are chained by their hashes; pitboss journal verify proves the chain.">
        <label class="inline"><input type="checkbox" checked={reads} onChange={() => setReads(!reads)} /> who looked at players, too</label>
      </Head>
      <Wrong text={error} again={reload} />
      {data && <Card title={data.changes.length ? "Journal of changes" : undefined} aside={data.chained ? <Tag tone="good">hash-chained</Tag> : <Tag tone="warn">in memory only: no Redis</Tag>}>
        {data.changes.length === 0 ? <Empty>Nothing was changed yet.</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label="Changes"><table>
          <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Of</th><th scope="col">Why</th><th scope="col">Hash</th></tr></thead>
          <tbody>{data.changes.map((c) => <tr key={c.hash}><td class="nowrap">{moment(c.at)}</td><td>{c.who}</td><td class="nowrap">{c.what}</td><td class="mono">{c.href ? <a href={c.href}>{c.subject || "all"}</a> : c.subject}</td><td>{c.note}</td><td class="mono hint">{c.hash?.slice(0, 10)}</td></tr>)}</tbody>
        </table></div>}
      </Card>}
    </>
  );
}
