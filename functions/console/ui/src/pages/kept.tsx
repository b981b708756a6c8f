import { useState } from "preact/hooks";
import { call } from "../api";
import type { Person } from "../types";
import { Act, Ask, Empty, Json, Modal } from "../ui";

// Kept opens what the law has the operator keep of an erased player. Who looks and
// why is journaled before anything is shown.
export function Kept(p: { id: string; who: Person }) {
  const [asking, ask] = useState(false);
  const [kept, setKept] = useState<unknown[]>();
  return (
    <>
      <Act who={p.who} role="compliance" onClick={() => ask(true)}>Kept records</Act>
      {asking && <Ask title="Open kept records" button="Open" onClose={() => ask(false)}
        text={<p>Exclusions and protection messages are kept after an erasure for as long as the law says, sealed apart. Your name and the reason are journaled first, and listed under Changes.</p>}
        fields={[{ name: "note", label: "Why", placeholder: "request of the regulator, case 4711" }]}
        change={async (v) => { setKept((await call<{ kept: unknown[] }>(`/api/players/${encodeURIComponent(p.id)}/kept`, v)).kept); return ""; }} />}
      {kept && <Modal title="Kept records" onClose={() => setKept(undefined)}>
        {kept.length === 0 ? <Empty>Nothing is kept of this player.</Empty> : kept.map((doc, n) => <Json key={n} value={doc} />)}
      </Modal>}
    </>
  );
}
