import { fixed } from "../format";
import { t } from "../i18n";
import type { ModelView } from "../types";

// Calibrated shows how far a model's scores are from the outcomes, before and after
// calibration.
export function Calibrated(p: { of: ModelView["calibrated"] }) {
  if (!p.of || p.of.seen === 0) return null;
  const { errors: e, slope, seen } = p.of;
  const off = e.n > 1000 && e.decided - e.chance > 0.03;
  return (
    <>
      <dt>{t("calibrated.error")}</dt>
      <dd class={off ? "bad" : ""}>{t("calibrated.errors", { decided: fixed(e.decided, 3), raw: fixed(e.raw, 3), chance: fixed(e.chance, 3), n: e.n })}</dd>
      <dt>{t("calibrated.title")}</dt>
      <dd>{slope === 0 ? t("calibrated.not-yet", { n: seen, from: 300 }) : t("calibrated.by", { n: seen, auc: fixed(e.auc, 3) })}</dd>
    </>
  );
}
