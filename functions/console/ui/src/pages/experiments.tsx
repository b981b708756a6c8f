import { useLoaded } from "../api";
import { num, percent, plain } from "../format";
import type { Arm, ViewProps } from "../types";
import { Card, Empty, Head, Wrong } from "../ui";

export function ExperimentsPage(_: ViewProps) {
  const { data, error } = useLoaded<{ arms: Arm[]; actions: Arm[]; outcome: string }>("/api/experiments", 3000);
  return (
    <>
      <Head title="Experiments" lead={<>Outcome: the player {data?.outcome ?? "…"}. Counted since the console started; feedback's report from the journal is the record.</>} />
      <Wrong text={error} />
      {data && <>
        <Card title="Arms" aside={<span class="hint">95 % intervals; uplift against the holdout</span>}>{data.arms.length ? <Arms list={data.arms} /> : <Empty>No decision of an arm yet. An outcome is known ten minutes after its decision.</Empty>}</Card>
        <Card title="Actions" aside={<span class="hint">what consuming teams told, and what players did next</span>}>
          {data.actions.length === 0 ? <Empty>Nothing was issued yet.</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label="Actions"><table>
            <thead><tr><th scope="col">Action</th><th scope="col" class="r">Issued</th><th scope="col" class="r">Delivered</th><th scope="col" class="r">Accepted</th><th scope="col" class="r">Dismissed</th><th scope="col" class="r">Expired</th><th scope="col" class="r">Bet again</th></tr></thead>
            <tbody>{data.actions.map((a) => <tr key={a.name}><td>{plain(a.name)}</td><td class="r">{num(a.issued)}</td><td class="r">{num(a.delivered)}</td><td class="r">{num(a.accepted)}</td><td class="r">{num(a.dismissed)}</td><td class="r">{num(a.expired)}</td><td class="r">{a.settled ? `${percent(a.rate)} of ${num(a.settled)}` : "–"}</td></tr>)}</tbody>
          </table></div>}
        </Card>
      </>}
    </>
  );
}

function Arms(p: { list: Arm[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Arms"><table class="arms">
      <thead><tr><th scope="col">Arm</th><th scope="col" class="r">Decisions</th><th scope="col" class="r">Issued</th><th scope="col" class="r">Known outcomes</th><th scope="col">Bet again</th><th scope="col" class="r">Rate</th><th scope="col">Uplift</th></tr></thead>
      <tbody>{p.list.map((a) => (
        <tr key={a.name}>
          <th scope="row">{plain(a.name)}</th><td class="r">{num(a.decisions)}</td><td class="r">{num(a.issued)}</td><td class="r">{num(a.settled)}</td>
          <td>{a.settled === 0 ? <span class="hint">known after ten minutes</span> : <svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={`between ${percent(a.low)} and ${percent(a.high)}`}>
            <rect class="bar-back" width="100" height="10" /><rect class="span" x={100 * a.low} width={Math.max(0.8, 100 * (a.high - a.low))} y="2" height="6" /><rect class="mid" x={100 * a.rate - 0.6} width="1.2" y="0" height="10" /></svg>}</td>
          <td class="r">{a.settled ? percent(a.rate) : "–"}</td>
          <td class="nowrap">{a.uplift === undefined ? (a.name === "holdout" ? "the measure" : "–") : <b class={a.uplift_low > 0 ? "good" : a.uplift_high < 0 ? "bad" : ""}>{sign(a.uplift)} <small>({sign(a.uplift_low)} … {sign(a.uplift_high)})</small></b>}</td>
        </tr>
      ))}</tbody>
    </table></div>
  );
}

const sign = (x: number) => (x >= 0 ? "+" : "−") + (100 * Math.abs(x)).toFixed(1) + " pp";
