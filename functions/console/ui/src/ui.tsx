import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Failure, call } from "./api";
import { capital, fixed, num, short } from "./format";
import { t, word } from "./i18n";
import { recorded } from "./recorded";
import type { Person } from "./types";

// The components that every view uses.

export function Card(p: { title?: ComponentChildren; aside?: ComponentChildren; children: ComponentChildren; class?: string; id?: string }) {
  return (
    <section class={"card " + (p.class ?? "")} id={p.id}>
      {(p.title || p.aside) && <header class="card-head">{p.title ? <h2>{p.title}</h2> : <span />}{p.aside && <div class="card-aside">{p.aside}</div>}</header>}
      {p.children}
    </section>
  );
}

export const Head = (p: { title: ComponentChildren; lead: ComponentChildren; children?: ComponentChildren }) => (
  <header class="page-head">
    <div><h1>{p.title}</h1><p class="lead">{p.lead}</p></div>
    {p.children && <div class="page-tools">{p.children}</div>}
  </header>
);

export const Kind = (p: { kind: string }) => p.kind ? <span class={"badge kind-" + p.kind}>{word("kind", p.kind)}</span> : null;
export const Verdict = (p: { verdict: string }) => <span class={"badge verdict-" + p.verdict}>{word("verdict", p.verdict)}</span>;
export const Tag = (p: { children: ComponentChildren; tone?: string; title?: string }) => <span class={"badge " + (p.tone ? "tone-" + p.tone : "")} title={p.title}>{p.children}</span>;

// Data shows recorded data as it is. It is not translated.
export const Data = (p: { children: ComponentChildren; class?: string }) => <span class={p.class} translate={false}>{p.children}</span>;

export const Empty = (p: { children: ComponentChildren }) => <p class="empty">{p.children}</p>;

// Wrong says what failed, and offers to try again if that may help.
export function Wrong(p: { text?: string; again?: () => void }) {
  return p.text ? <p class="wrong" role="alert">{p.text} {p.again && <button type="button" class="button ghost" onClick={p.again}>{t("again")}</button>}</p> : null;
}

// Status shows the outcome of a decision.
const tones: Record<string, string> = { delivered: "info", accepted: "good", dismissed: "warn", expired: "warn", revoked: "bad", overturned: "bad" };
export const Status = (p: { status?: string }) => p.status ? <Tag tone={tones[p.status]}>{word("status", p.status)}</Tag> : null;

// Tabs can be changed with the arrow keys (ARIA Authoring Practices).
export function Tabs(p: { label: string; items: { id: string; name: ComponentChildren }[]; chosen: string; choose: (id: string) => void }) {
  const move = (e: KeyboardEvent) => {
    const at = p.items.findIndex((i) => i.id === p.chosen), last = p.items.length - 1;
    const to = ({ ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at <= 0 ? last : at - 1, Home: 0, End: last } as Record<string, number>)[e.key];
    if (to === undefined) return;
    e.preventDefault();
    p.choose(p.items[to]!.id);
    (e.currentTarget as HTMLElement).querySelectorAll("button")[to]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={p.label} onKeyDown={move}>{p.items.map((i) => (
      <button key={i.id} type="button" role="tab" aria-selected={i.id === p.chosen} tabIndex={i.id === p.chosen ? 0 : -1} onClick={() => p.choose(i.id)}>{i.name}</button>
    ))}</div>
  );
}

export function Bars(p: { items: { name: string; n: number; text?: string; href?: string; tone?: string }[]; label: string }) {
  const most = Math.max(1, ...p.items.map((i) => i.n));
  return (
    <ul class="bars" aria-label={p.label}>
      {p.items.map((i) => (
        <li key={i.name}>
          <div class="bar-row">
            {i.href ? <a class="bar-name" translate={false} href={i.href}>{i.name}</a> : <Data class="bar-name">{i.name}</Data>}
            <span class="bar-n">{num(i.n)}</span>
          </div>
          {i.text && <div class="bar-text" translate={false}>{capital(recorded(i.text))}</div>}
          <svg class={"bar " + (i.tone ? "fill-" + i.tone : "")} viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect class="bar-back" width="100" height="4" /><rect class="bar-fill" width={(100 * i.n) / most} height="4" />
          </svg>
        </li>
      ))}
    </ul>
  );
}

export function Meter(p: { value: number; label: string; tone?: string }) {
  const v = Math.max(0, Math.min(1, p.value));
  return (
    <div class="meter" role="img" translate={false} aria-label={`${p.label} ${fixed(p.value, 2)}`}>
      <span>{p.label}</span>
      <svg class={"bar fill-" + (p.tone ?? (v > 0.66 ? "bad" : v > 0.33 ? "warn" : "good"))} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-back" width="100" height="6" /><rect class="bar-fill" width={100 * v} height="6" />
      </svg>
      <b>{fixed(p.value, 2)}</b>
    </div>
  );
}

// Spark is a small line of values over time, without axes.
export function Spark(p: { values: number[]; label: string }) {
  const v = p.values.filter(isFinite);
  if (v.length < 2) return <svg class="spark" viewBox="0 0 100 28" aria-hidden="true"><line class="spark-line" x1="0" y1="14" x2="100" y2="14" /></svg>;
  const lo = Math.min(...v), hi = Math.max(...v), span = hi - lo || 1;
  const pts = v.map((y, i) => `${((100 * i) / (v.length - 1)).toFixed(1)},${(hi === lo ? 14 : 25 - (22 * (y - lo)) / span).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label={t("spark", { name: p.label, from: v[0]!, to: v[v.length - 1]! })}>
      <polygon class="spark-area" points={`0,28 ${pts.join(" ")} 100,28`} /><polyline class="spark-line" points={pts.join(" ")} />
    </svg>
  );
}

// Changes need a role. A button that the person may not use can still be focused, and then
// says why.
export function Act(p: { who: Person; role: string; onClick: () => void; children: ComponentChildren; tone?: string; disabled?: boolean; title?: string }) {
  const may = p.who.roles.includes(p.role);
  const why = t("needs-role", { role: word("role", p.role), name: p.who.name, roles: p.who.roles.map((r) => word("role", r)).join(", ") });
  return (
    <button type="button" class={"button " + (p.tone ?? "")} disabled={may && p.disabled} aria-disabled={may ? undefined : true}
      onClick={may ? p.onClick : () => toast(why)} title={may ? p.title : why}>{p.children}</button>
  );
}

export interface Field { name: string; label: string; hint?: string; value?: string; placeholder?: string; example?: string; optional?: boolean }

// Ask is a dialog that makes a change once its fields are filled in, so that no stray click
// makes one.
export function Ask(p: {
  title: string; text: ComponentChildren; fields: Field[]; button: string; tone?: string; onClose: () => void; stays?: boolean;
  change: (values: Record<string, string>) => Promise<string>;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  useEffect(() => { ref.current?.showModal(); }, []);
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    const values = Object.fromEntries([...new FormData(e.target as HTMLFormElement)].map(([k, v]) => [k, String(v).trim()]));
    try {
      toast(await p.change(values));
      if (!p.stays) p.onClose(); // otherwise the caller shows the next step
    } catch (err) {
      setError((err as Error).message);
      setBusy(false);
    }
  };
  return (
    <dialog ref={ref} onClose={p.onClose} aria-labelledby="ask-title">
      <form onSubmit={submit}>
        <h2 id="ask-title">{p.title}</h2>
        <div class="ask-text">{p.text}</div>
        {p.fields.map((f) => (
          <label key={f.name}>{f.label}
            <input name={f.name} required={!f.optional} autocomplete="off" defaultValue={f.value} placeholder={f.example ?? f.placeholder} translate={f.example === undefined} />
            {f.hint && <small>{f.hint}</small>}
          </label>
        ))}
        <Wrong text={error} />
        <div class="ask-buttons">
          <button type="button" class="button" onClick={() => ref.current?.close()}>{t("cancel")}</button>
          <button type="submit" class={"button " + (p.tone ?? "primary")} disabled={busy}>{p.button}</button>
        </div>
      </form>
    </dialog>
  );
}

// Modal is a dialog that only shows something.
export function Modal(p: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => { ref.current?.showModal(); }, []);
  return (
    <dialog ref={ref} onClose={p.onClose} aria-labelledby="modal-title">
      <h2 id="modal-title">{p.title}</h2>
      {p.children}
      <div class="ask-buttons"><button type="button" class="button" onClick={() => ref.current?.close()}>{t("close")}</button></div>
    </dialog>
  );
}

let showToast: (text: string) => void = () => {};
export const toast = (text: string) => { if (text) showToast(text); };

export function Toasts() {
  const [text, set] = useState("");
  useEffect(() => { showToast = set; }, []);
  useEffect(() => {
    if (!text) return;
    const timer = setTimeout(() => set(""), 6000);
    return () => clearTimeout(timer);
  }, [text]);
  return <div class="toasts" role="status" aria-live="polite">{text && <div class="toast">{text}</div>}</div>;
}

// attempt makes a change that needs no dialog, and shows the result.
export async function attempt(path: string, change: unknown, said: string): Promise<boolean> {
  try {
    await call(path, change);
    toast(said);
    return true;
  } catch (e) {
    toast(e instanceof Failure ? e.message : String(e));
    return false;
  }
}

export const PlayerLink = (p: { id: string }) => <a class="mono player-link" translate={false} href={"/players/" + encodeURIComponent(p.id)} title={p.id}>{short(p.id)}</a>;

export function Json(p: { value: unknown }) {
  return <pre class="json" translate={false} tabIndex={0}>{JSON.stringify(p.value, null, 2)}</pre>;
}
