import { useLoaded } from "../api";
import { fixed, num, plain } from "../format";
import { t, word } from "../i18n";
import { Card, Empty, Wrong } from "../ui";

interface Effect { action: string; arm: string; segment?: string; outcome: string; sent: number; held: number; uplift: number; low: number; high: number; too_early?: boolean }

const points = (x: number) => t("points", { n: (x >= 0 ? "+" : "−") + fixed(100 * Math.abs(x), 1) });

// Effects shows the effect of each action against no message. Its intervals are valid
// however often one looks.
export function Effects() {
  const { data, error } = useLoaded<{ effects: Effect[] }>("/api/effects", 30000);
  const tone = (e: Effect) => (e.low > 0 ? (e.outcome === "harmed" ? "bad" : "good") : e.high < 0 ? (e.outcome === "harmed" ? "good" : "bad") : "");
  return (
    <Card title={t("effects.title")} aside={<span class="hint">{t("effects.hint")}</span>}>
      <Wrong text={error} />
      {data && (data.effects.length === 0 ? <Empty>{t("effects.none")}</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label={t("effects.title")}><table>
        <thead><tr><th scope="col">{t("col.action")}</th><th scope="col">{t("col.arm")}</th><th scope="col">{t("effects.outcome")}</th><th scope="col">{t("effects.players")}</th><th scope="col" class="r">{t("effects.sent")}</th><th scope="col" class="r">{t("effects.held")}</th><th scope="col">{t("effects.difference")}</th></tr></thead>
        <tbody>{data.effects.map((e) => <tr key={[e.action, e.arm, e.outcome, e.segment].join()}>
          <td translate={false}>{plain(e.action)}</td><td translate={false}>{plain(e.arm)}</td><td>{word("effect", e.outcome)}</td><td translate={false}>{e.segment || t("all")}</td><td class="r">{num(e.sent)}</td><td class="r">{num(e.held)}</td>
          <td class="nowrap">{e.too_early ? <span class="hint">{t("effects.early")}</span> : <b class={tone(e)}>{points(e.uplift)} <small>({points(e.low)} … {points(e.high)})</small></b>}</td></tr>)}</tbody>
      </table></div>)}
    </Card>
  );
}
