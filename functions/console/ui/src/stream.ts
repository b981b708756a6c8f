import { useEffect, useState } from "preact/hooks";
import { call } from "./api";
import type { Decision, Frame, Me } from "./types";

// One stream feeds every part of the page. The server sends a few frames a second,
// however many events come in. While the page is hidden, frames are kept but not drawn.

export const historySeconds = 150;
const tickerLength = 60;

export interface Live {
  frame?: Frame;
  connected: boolean;
  at: number[]; // unix seconds
  series: Record<"platform" | "issued" | "suppressed" | "score", number[]>;
  issued: Decision[];
  suppressed: Decision[];
  skipped: number;
  erased: ReadonlySet<string>; // erased players, whose data must leave the screen
}

const state: Live = { connected: false, at: [], series: { platform: [], issued: [], suppressed: [], score: [] }, issued: [], suppressed: [], skipped: 0, erased: new Set() };
const lines = ["platform", "issued", "suppressed", "score"] as const;
const listeners = new Set<() => void>();
let source: EventSource | undefined;
let pending = false;

function tell() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; for (const l of listeners) l(); });
}

function push(list: Decision[], fresh: Decision[]): Decision[] {
  if (!fresh.length) return list;
  const newest = list[0]?.seq ?? 0;
  return [...fresh.filter((d) => d.seq > newest), ...list].slice(0, tickerLength);
}

function take(f: Frame) {
  state.frame = f;
  state.connected = true;
  state.erased = new Set(f.erased);
  state.issued = push(state.issued, f.issued).filter((d) => !state.erased.has(d.player));
  state.suppressed = push(state.suppressed, f.suppressed).filter((d) => !state.erased.has(d.player));
  state.skipped += f.skipped;
  const { unix, n } = f.flow.second;
  const last = state.at[state.at.length - 1] ?? unix - 1;
  if (unix > last) {
    for (let t = Math.max(last + 1, unix - historySeconds); t <= unix; t++) { // seconds without a frame, as while the computer slept, are gaps
      state.at.push(t);
      for (const l of lines) state.series[l].push(t === unix ? n[l] ?? 0 : NaN);
    }
    const cut = state.at.length - historySeconds;
    if (cut > 0) { state.at.splice(0, cut); for (const l of lines) state.series[l].splice(0, cut); }
  }
  tell();
}

export async function connect() {
  const first = await call<{ frame: Frame; series: Record<string, number[]> }>("/api/live");
  const end = Math.floor(Date.parse(first.frame.flow.at) / 1000) - 1;
  const n = Math.min(historySeconds, first.series.platform?.length ?? 0);
  state.at = Array.from({ length: n }, (_, i) => end - n + 1 + i);
  for (const l of lines) state.series[l] = (first.series[l] ?? []).slice(-n);
  take(first.frame);
  source?.close();
  source = new EventSource("/api/stream");
  source.onmessage = (m) => take(JSON.parse(m.data) as Frame);
  source.onopen = () => { state.connected = true; tell(); };
  source.onerror = () => { // the browser reconnects by itself unless the server refused, because the session has ended or the console restarts
    state.connected = false;
    tell();
    if (source?.readyState === EventSource.CLOSED) setTimeout(again, 2000);
  };
}

// again reconnects, or reloads the page if the person is no longer signed in.
async function again() {
  try {
    if ((await call<Me>("/api/me")).person) await connect(); else location.reload();
  } catch {
    setTimeout(again, 2000);
  }
}

export function useLive(): Live {
  const [, set] = useState(0);
  useEffect(() => {
    const l = () => set((n) => n + 1);
    listeners.add(l);
    return () => { listeners.delete(l); };
  }, []);
  return state;
}
