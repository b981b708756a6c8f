import { useLoaded } from "../api";
import { fixed, num, percent, plain } from "../format";
import { t } from "../i18n";
import type { Arm, ViewProps } from "../types";
import { Card, Empty, Head, Wrong } from "../ui";
import { Effects } from "./effects";
import { Outcomes } from "./outcomes";

export function ExperimentsPage(_: ViewProps) {
  const { data, error } = useLoaded<{ arms: Arm[]; actions: Arm[] }>("/api/experiments", 3000);
  return (
    <>
      <Head title={t("experiments.title")} lead={t("experiments.lead")} />
      <Wrong text={error} />
      {data && <>
        <Card title={t("experiments.arms")} aside={<span class="hint">{t("experiments.intervals")}</span>}>{data.arms.length ? <Arms list={data.arms} /> : <Empty>{t("experiments.none")}</Empty>}</Card>
        <Card title={t("actions")} aside={<span class="hint">{t("experiments.actions")}</span>}>
          {data.actions.length === 0 ? <Empty>{t("experiments.nothing")}</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label={t("actions")}><table>
            <thead><tr><th scope="col">{t("col.action")}</th><th scope="col" class="r">{t("col.issued")}</th>{(["delivered", "accepted", "dismissed", "expired"] as const).map((s) => <th key={s} scope="col" class="r">{t(`col.${s}`)}</th>)}<th scope="col" class="r">{t("col.bet-again")}</th></tr></thead>
            <tbody>{data.actions.map((a) => <tr key={a.name}><td translate={false}>{plain(a.name)}</td><td class="r">{num(a.issued)}</td><td class="r">{num(a.delivered)}</td><td class="r">{num(a.accepted)}</td><td class="r">{num(a.dismissed)}</td><td class="r">{num(a.expired)}</td><td class="r">{a.settled ? t("experiments.rate", { rate: percent(a.rate), n: a.settled }) : "–"}</td></tr>)}</tbody>
          </table></div>}
        </Card>
      </>}
      <Effects />
      <Outcomes />
    </>
  );
}

function Arms(p: { list: Arm[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t("experiments.arms")}><table class="arms">
      <thead><tr><th scope="col">{t("col.arm")}</th><th scope="col" class="r">{t("decisions.title")}</th><th scope="col" class="r">{t("col.issued")}</th><th scope="col" class="r">{t("col.outcomes")}</th><th scope="col">{t("col.bet-again")}</th><th scope="col" class="r">{t("col.rate")}</th><th scope="col">{t("col.uplift")}</th></tr></thead>
      <tbody>{p.list.map((a) => (
        <tr key={a.name}>
          <th scope="row" translate={false}>{plain(a.name)}</th><td class="r">{num(a.decisions)}</td><td class="r">{num(a.issued)}</td><td class="r">{num(a.settled)}</td>
          <td>{a.settled === 0 ? <span class="hint">{t("experiments.wait")}</span> : <svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={t("between", { low: percent(a.low), high: percent(a.high) })}>
            <rect class="bar-back" width="100" height="10" /><rect class="span" x={100 * a.low} width={Math.max(0.8, 100 * (a.high - a.low))} y="2" height="6" /><rect class="mid" x={100 * a.rate - 0.6} width="1.2" y="0" height="10" /></svg>}</td>
          <td class="r">{a.settled ? percent(a.rate) : "–"}</td>
          <td class="nowrap">{a.uplift === undefined ? (a.name === "holdout" ? t("experiments.measure") : "–") : <b class={a.uplift_low > 0 ? "good" : a.uplift_high < 0 ? "bad" : ""}>{sign(a.uplift)} <small>({sign(a.uplift_low)} … {sign(a.uplift_high)})</small></b>}</td>
        </tr>
      ))}</tbody>
    </table></div>
  );
}

const sign = (x: number) => t("points", { n: (x >= 0 ? "+" : "−") + fixed(100 * Math.abs(x), 1) });
