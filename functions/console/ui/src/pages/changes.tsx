import { useState } from "preact/hooks";
import { useLoaded } from "../api";
import { moment } from "../format";
import { t, word } from "../i18n";
import type { Change, ViewProps } from "../types";
import { Card, Data, Empty, Head, Tag, Wrong } from "../ui";

// whatOf names a change. Of a proposal, an approval and a withdrawal it names the proposed change.
function whatOf(what: string): string {
  const [verb, of] = what.split(" ", 2);
  return of ? t("changes.about", { verb: word("change", verb!), of: word("change", of) }) : word("change", what);
}

export function ChangesPage(_: ViewProps) {
  const [reads, setReads] = useState(false);
  const { data, error, reload } = useLoaded<{ changes: Change[]; chained: boolean }>("/api/changes" + (reads ? "?reads=1" : ""), 3000);
  return (
    <>
      <Head title={t("changes.title")} lead={t("changes.lead", { command: "pitboss journal verify" })}>
        <label class="inline"><input type="checkbox" checked={reads} onChange={() => setReads(!reads)} /> {t("changes.reads")}</label>
      </Head>
      <Wrong text={error} again={reload} />
      {data && <Card title={data.changes.length ? t("changes.journal") : undefined} aside={data.chained ? <Tag tone="good">{t("changes.chained")}</Tag> : <Tag tone="warn">{t("changes.memory")}</Tag>}>
        {data.changes.length === 0 ? <Empty>{t("changes.none")}</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label={t("changes.title")}><table>
          <thead><tr><th scope="col">{t("col.when")}</th><th scope="col">{t("col.who")}</th><th scope="col">{t("col.what")}</th><th scope="col">{t("col.of")}</th><th scope="col">{t("col.why")}</th><th scope="col">{t("col.hash")}</th></tr></thead>
          <tbody>{data.changes.map((c) => <tr key={c.hash}><td class="nowrap">{moment(c.at)}</td><td translate={false}>{c.who}</td><td>{whatOf(c.what)}</td><td class="mono">{c.href ? <a href={c.href} translate={!c.subject}>{c.subject || t("all")}</a> : <Data>{c.subject}</Data>}</td><td translate={false}>{c.note}</td><td class="mono hint" translate={false}>{c.hash?.slice(0, 10)}</td></tr>)}</tbody>
        </table></div>}
      </Card>}
    </>
  );
}
