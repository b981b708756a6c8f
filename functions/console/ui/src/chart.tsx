import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { onAxis, value } from "./format";
import { t } from "./i18n";

// Chart draws lines over time with uPlot, in the width of its container and the colours
// of the theme.

export interface Line { label: string; color: string; values: number[]; fill?: boolean }

// Lines differ by dashes, too, for people who cannot tell the colours apart.
const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function Chart(p: { at: number[]; lines: Line[]; height: number; label: string; unit: string; theme: string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hovered, hover] = useState<number | null>(null);
  const days = (p.at[p.at.length - 1] ?? 0) - (p.at[0] ?? 0) > 86_000;
  const clock = (unix: number) => onAxis(unix, days);
  const shape = p.lines.map((l) => l.label).join() + p.theme + days + p.at.length;
  useEffect(() => {
    const el = box.current!;
    const axis = { stroke: token("--ink-3"), grid: { stroke: token("--line"), width: 1 }, ticks: { show: false }, font: "11px " + token("--sans") };
    const u = new uPlot({
      width: el.clientWidth, height: p.height, legend: { show: false }, cursor: { y: false, drag: { x: true, y: false } }, hooks: { setCursor: [(u) => hover(u.cursor.idx ?? null)] },
      padding: [8, 28, 0, 0], scales: { y: { range: (_u, _lo, hi) => [0, Math.max(1, hi * 1.1)] } },
      series: [{}, ...p.lines.map((l, i) => ({
        label: l.label, stroke: token(l.color), width: 2, dash: dashes[i % dashes.length], points: { show: false },
        ...(l.fill ? { fill: token(l.color) + "22" } : {}),
      }))],
      axes: [{ ...axis, space: 90, values: (_u, at) => at.map(clock) }, { ...axis, size: 46, space: 34, label: p.unit, labelSize: 16, labelFont: axis.font }],
    }, [p.at, ...p.lines.map((l) => l.values)], el);
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height: p.height }));
    watch.observe(el);
    return () => { watch.disconnect(); u.destroy(); plot.current = null; };
  }, [shape, p.height]);
  const last = p.at[p.at.length - 1];
  useEffect(() => { plot.current?.setData([p.at, ...p.lines.map((l) => l.values)]); }, [last, p.at.length]);
  return (
    <figure class="chart">
      <figcaption>{p.lines.map((l) => <span key={l.label} class="legend"><i class={"dot " + l.color.slice(2)} />{l.label}{hovered !== null && l.values[hovered] !== undefined && <b> {value(l.values[hovered]!)}</b>}</span>)}
        {hovered !== null && p.at[hovered] !== undefined && <span class="hint">{t("chart.at", { time: clock(p.at[hovered]!) })}</span>}</figcaption>
      <div ref={box} role="img" aria-label={p.label} />
    </figure>
  );
}
