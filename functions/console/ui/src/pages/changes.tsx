import { useLoaded } from "../api";
import { moment } from "../format";
import type { ViewProps } from "../main";
import type { Change } from "../types";
import { Card, Empty, Head, Tag, Wrong } from "../ui";

export function ChangesPage(_: ViewProps) {
  const { data, error } = useLoaded<{ changes: Change[]; whole: boolean }>("/api/changes", 3000);
  return (
    <>
      <Head title="Changes" lead="Who changed what, newest first. Each entry carries the hash of the one before it." />
      <Wrong text={error} />
      {data && !data.whole && <Wrong text="The chain is broken: an entry was changed or removed." />}
      {data && <Card title={data.changes.length ? "Journal of changes" : undefined} aside={data.changes.length && data.whole ? <Tag tone="good">chain verified</Tag> : undefined}>
        {data.changes.length === 0 ? <Empty>Nothing was changed yet.</Empty> : <div class="scroll"><table>
          <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Of</th><th scope="col">Why</th><th scope="col">Hash</th></tr></thead>
          <tbody>{data.changes.map((c) => <tr key={c.hash}><td class="nowrap">{moment(c.at)}</td><td>{c.who}</td><td class="nowrap">{c.what}</td><td class="mono">{c.subject}</td><td>{c.note}</td><td class="mono hint">{c.hash.slice(0, 10)}</td></tr>)}</tbody>
        </table></div>}
      </Card>}
    </>
  );
}
