import { useLoaded } from "../api";
import { num, plain } from "../format";
import { Card, Empty, Wrong } from "../ui";

interface Effect { action: string; arm: string; segment?: string; outcome: string; sent: number; held: number; uplift: number; low: number; high: number; too_early?: boolean }

const outcomes: Record<string, string> = { stayed: "seen again within a day", harmed: "new marker of harm within a day" };
const points = (x: number) => (x >= 0 ? "+" : "−") + (100 * Math.abs(x)).toFixed(1) + " pp";

// Effects says what each action does against no message. Its intervals hold at all
// times together, so that looking often is no mistake.
export function Effects() {
  const { data, error } = useLoaded<{ effects: Effect[] }>("/api/effects", 30000);
  const tone = (e: Effect) => (e.low > 0 ? (e.outcome === "harmed" ? "bad" : "good") : e.high < 0 ? (e.outcome === "harmed" ? "good" : "bad") : "");
  return (
    <Card title="What each action does" aside={<span class="hint">against players held out; 95 % intervals that may be looked at at any time; from the journal</span>}>
      <Wrong text={error} />
      {data && (data.effects.length === 0 ? <Empty>Nothing is known yet. An outcome counts a day after its decision.</Empty> : <div class="scroll" tabIndex={0} role="region" aria-label="What each action does"><table>
        <thead><tr><th scope="col">Action</th><th scope="col">Arm</th><th scope="col">Outcome</th><th scope="col">Players</th><th scope="col" class="r">Sent</th><th scope="col" class="r">Held out</th><th scope="col">Difference</th></tr></thead>
        <tbody>{data.effects.map((e) => <tr key={[e.action, e.arm, e.outcome, e.segment].join()}>
          <td>{plain(e.action)}</td><td>{plain(e.arm)}</td><td>{outcomes[e.outcome] ?? e.outcome}</td><td>{e.segment || "all"}</td><td class="r">{num(e.sent)}</td><td class="r">{num(e.held)}</td>
          <td class="nowrap">{e.too_early ? <span class="hint">too early to say</span> : <b class={tone(e)}>{points(e.uplift)} <small>({points(e.low)} … {points(e.high)})</small></b>}</td></tr>)}</tbody>
      </table></div>)}
    </Card>
  );
}
