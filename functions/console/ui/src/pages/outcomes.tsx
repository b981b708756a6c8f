import { useLoaded } from "../api";
import { moment, num, percent, plain } from "../format";
import { Card, Empty, Wrong } from "../ui";

interface Share { of: number; estimate?: { value: number; low: number; high: number } }
interface Protected {
  limit_set: Share; break: Share; paused: Share; cleared: Share;
  staked_less: Share; stake_change: Share; deposited_less: Share; deposit_change: Share;
}
interface Line {
  action: string; kind: string; arm?: string; players: number; issued: number; taken: Share;
  goal?: string; reached?: Share; holdout?: Share; uplift?: Share; protected?: Protected; detectable: number; needed: number;
}
interface Report { players: number; held_out: number; meant: number; mismatch: boolean; lines: Line[] }

// Outcomes is what the journal in Redis tells of each action, by what its kind is for.
export function Outcomes() {
  const { data, error } = useLoaded<{ made: string; report: Report }>("/api/report", 60_000);
  const lines = data?.report.lines ?? [];
  const protection = lines.filter((l) => l.protected), others = lines.filter((l) => !l.protected);
  return (
    <>
      <Wrong text={error} />
      {data?.report.mismatch && <Wrong text={`Sample ratio mismatch: ${num(data.report.held_out)} of ${num(data.report.players)} players are held out, ${percent(data.report.meant)} are meant to be. No comparison with them can be trusted.`} />}
      {data && <Card title="What protection did" aside={<span class="hint">each player once, by the first message; made {moment(data.made)}</span>}>
        {protection.length === 0 ? <Empty>No protection message yet.</Empty> : <Table label="What protection did" head={["Action", "Players", "Taken up", "Paused", "Limit set", "Break taken", "Staked less", "Stakes", "Deposited less", "Deposits", "Markers cleared", "Can show"]}>
          {protection.map((l) => <tr key={l.action}><td>{plain(l.action)}</td><td class="r">{num(l.players)}</td>{[l.taken, l.protected!.paused, l.protected!.limit_set, l.protected!.break, l.protected!.staked_less].map((s, n) => <Cell key={n} s={s} />)}
            <Cell s={l.protected!.stake_change} change /><Cell s={l.protected!.deposited_less} /><Cell s={l.protected!.deposit_change} change /><Cell s={l.protected!.cleared} /><Power l={l} /></tr>)}
        </Table>}
        <p class="hint">Paused: nothing was decided of the player for half an hour. Limits, breaks, stakes and deposits are those of the day after, against the day before; the change is the median. There is no group to compare with: nobody is left without protection to measure it, and who is warned at a peak plays less afterwards by itself, too.</p>
      </Card>}
      {data && <Card title="What service and marketing did" aside={<span class="hint">each player once per arm, by the action's goal</span>}>
        {others.length === 0 ? <Empty>Nothing was issued yet.</Empty> : <Table label="What service and marketing did" head={["Action", "Arm", "Players", "Taken up", "Goal", "Reached", "Held out", "Uplift", "Can show"]}>
          {others.map((l) => <tr key={l.action + l.arm}><td>{plain(l.action)}</td><td>{plain(l.arm ?? "")}</td><td class="r">{num(l.players)}</td><Cell s={l.taken} /><td>{l.goal}</td><Cell s={l.reached} /><Cell s={l.holdout} /><Cell s={l.uplift} change /><Power l={l} /></tr>)}
        </Table>}
        <p class="hint">A figure of fewer than ten players is not shown. Intervals are 95 %. The last 48 hours; pitboss report reads the segments, too.</p>
      </Card>}
    </>
  );
}

const Table = (p: { label: string; head: string[]; children: preact.ComponentChildren }) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={p.label}><table>
    <thead><tr>{p.head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead><tbody>{p.children}</tbody>
  </table></div>
);

const signed = (x: number) => (x < 0 ? "−" : "+") + percent(Math.abs(x));

// Cell is a share, or a change, of so many players, with its interval.
function Cell(p: { s?: Share; change?: boolean }) {
  const s = p.s, say = p.change ? signed : percent;
  if (!s?.estimate) return <td class="r hint">{s?.of ? `${num(s.of)} players: too few` : "–"}</td>;
  return <td class="r nowrap">{say(s.estimate.value)} <small>({say(s.estimate.low)} … {say(s.estimate.high)}; {num(s.of)})</small></td>;
}

const Power = ({ l }: { l: Line }) => (
  <td class="r nowrap" title="The smallest difference that so many players show in four cases of five">{percent(l.detectable)}{l.needed > 0 && <small> ({num(l.needed)} more players for 5 %)</small>}</td>
);
