import { num } from "../format";
import type { ModelView } from "../types";

// Calibrated says how far a model's scores are from what came of them, as it gives
// them and as they are decided on.
export function Calibrated(p: { of: ModelView["calibrated"] }) {
  if (!p.of || p.of.seen === 0) return null;
  const { errors: e, slope, seen } = p.of;
  const off = e.n > 1000 && e.decided - e.chance > 0.03;
  return (
    <>
      <dt>Calibration error</dt>
      <dd><b class={off ? "bad" : ""}>{e.decided.toFixed(3)}</b> as decided on, {e.raw.toFixed(3)} as the model gives it, {e.chance.toFixed(3)} by chance alone; {num(e.n)} outcomes</dd>
      <dt>Calibrated</dt>
      <dd>{slope === 0 ? `not yet: ${num(seen)} outcomes are known, 300 are needed` : `by ${num(seen)} outcomes; AUC of late ${e.auc.toFixed(3)}`}</dd>
    </>
  );
}
