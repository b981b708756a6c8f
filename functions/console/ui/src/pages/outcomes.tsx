import type { ComponentChildren } from "preact";
import { useLoaded } from "../api";
import { moment, num, percent, plain } from "../format";
import { t } from "../i18n";
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

// Outcomes shows what each action achieved, by the goal of its kind, from the journal in Redis.
export function Outcomes() {
  const { data, error } = useLoaded<{ made: string; report: Report }>("/api/report", 60_000);
  const lines = data?.report.lines ?? [];
  const protection = lines.flatMap((l) => l.protected ? [{ l, p: l.protected }] : []), others = lines.filter((l) => !l.protected);
  return (
    <>
      <Wrong text={error} />
      {data?.report.mismatch && <Wrong text={t("outcomes.mismatch", { held: data.report.held_out, players: data.report.players, meant: percent(data.report.meant) })} />}
      {data && <Card title={t("outcomes.protection")} aside={<span class="hint">{t("outcomes.once", { time: moment(data.made) })}</span>}>
        {protection.length === 0 ? <Empty>{t("outcomes.none")}</Empty> : <Table label={t("outcomes.protection")} words={[0]} head={[t("col.action"), t("outcomes.players"), t("outcomes.taken"), t("outcomes.paused"), t("outcomes.limit"), t("outcomes.break"),
          t("outcomes.staked-less"), t("outcomes.stakes"), t("outcomes.deposited-less"), t("outcomes.deposits"), t("outcomes.cleared"), t("outcomes.can-show")]}>
          {protection.map(({ l, p }) => <tr key={l.action}><td translate={false}>{plain(l.action)}</td><td class="r">{num(l.players)}</td><Cell s={l.taken} /><Cell s={p.paused} /><Cell s={p.limit_set} /><Cell s={p.break} />
            <Cell s={p.staked_less} /><Cell s={p.stake_change} change /><Cell s={p.deposited_less} /><Cell s={p.deposit_change} change /><Cell s={p.cleared} /><Power l={l} /></tr>)}
        </Table>}
        <p class="hint">{t("outcomes.about-protection")}</p>
      </Card>}
      {data && <Card title={t("outcomes.others")} aside={<span class="hint">{t("outcomes.once-arm")}</span>}>
        {others.length === 0 ? <Empty>{t("experiments.nothing")}</Empty> : <Table label={t("outcomes.others")} words={[0, 1, 4]} head={[t("col.action"), t("col.arm"), t("outcomes.players"), t("outcomes.taken"), t("outcomes.goal"), t("outcomes.reached"),
          t("outcomes.held"), t("col.uplift"), t("outcomes.can-show")]}>
          {others.map((l) => <tr key={l.action + l.arm}><td translate={false}>{plain(l.action)}</td><td translate={false}>{plain(l.arm ?? "")}</td><td class="r">{num(l.players)}</td><Cell s={l.taken} /><td translate={false}>{l.goal}</td>
            <Cell s={l.reached} /><Cell s={l.holdout} /><Cell s={l.uplift} change /><Power l={l} /></tr>)}
        </Table>}
        <p class="hint">{t("outcomes.note", { command: "pitboss report" })}</p>
      </Card>}
    </>
  );
}

// Table aligns its columns of text, given by their indexes, to the left.
const Table = (p: { label: string; head: string[]; words: number[]; children: ComponentChildren }) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={p.label}><table>
    <thead><tr>{p.head.map((h, n) => <th key={n} scope="col" class={p.words.includes(n) ? undefined : "r"}>{h}</th>)}</tr></thead><tbody>{p.children}</tbody>
  </table></div>
);

const signed = (x: number) => (x < 0 ? "−" : "+") + percent(Math.abs(x));

// Cell is a share or a change with its interval and its number of players.
function Cell(p: { s?: Share; change?: boolean }) {
  const s = p.s, say = (x: number) => (p.change ? signed(x) : percent(x));
  if (!s?.estimate) return <td class="r hint">{s?.of ? t("outcomes.few", { n: s.of }) : "–"}</td>;
  return <td class="r nowrap">{say(s.estimate.value)} <small>({say(s.estimate.low)} … {say(s.estimate.high)}; {num(s.of)})</small></td>;
}

const Power = ({ l }: { l: Line }) => (
  <td class="r nowrap" title={t("outcomes.power")}>{percent(l.detectable)}{l.needed > 0 && <small> ({t("outcomes.needed", { n: l.needed })})</small>}</td>
);
