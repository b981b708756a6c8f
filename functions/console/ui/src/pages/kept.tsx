import { useState } from "preact/hooks";
import { call } from "../api";
import { t } from "../i18n";
import type { Person } from "../types";
import { Act, Ask, Empty, Json, Modal } from "../ui";

// Kept shows what the law has the operator keep of an erased player. The server journals
// who looks and why before it answers.
export function Kept(p: { id: string; who: Person }) {
  const [asking, ask] = useState(false);
  const [kept, setKept] = useState<unknown[]>();
  return (
    <>
      <Act who={p.who} role="compliance" onClick={() => ask(true)}>{t("kept.button")}</Act>
      {asking && <Ask title={t("kept.title")} button={t("kept.open")} onClose={() => ask(false)} text={<p>{t("kept.text")}</p>} fields={[{ name: "note", label: t("kept.why") }]}
        change={async (v) => { setKept((await call<{ kept: unknown[] }>(`/api/players/${encodeURIComponent(p.id)}/kept`, v)).kept); return ""; }} />}
      {kept && <Modal title={t("kept.button")} onClose={() => setKept(undefined)}>
        {kept.length === 0 ? <Empty>{t("kept.none")}</Empty> : kept.map((doc, n) => <Json key={n} value={doc} />)}
      </Modal>}
    </>
  );
}
