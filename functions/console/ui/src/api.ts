import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { t } from "./i18n";
import { recorded } from "./recorded";
import { cameFrom } from "./router";

// Failure is an answer that is not 2xx. Its text is the problem's detail.
export class Failure extends Error {
  constructor(readonly status: number, detail: string) { super(recorded(detail)); }
}

export async function call<T>(path: string, change?: unknown): Promise<T> {
  const res = await fetch(path, change === undefined ? { headers: { Accept: "application/json", "Pitboss-From": cameFrom } } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change),
  }).catch(() => { throw new Error(t("failed.network")); });
  const text = await res.text();
  let body: unknown;
  try { body = JSON.parse(text); } catch { body = { detail: text }; }
  if (!res.ok) throw new Failure(res.status, (body as { detail?: string }).detail ?? res.statusText);
  return body as T;
}

export interface Loaded<T> { data?: T; error?: string; reload: () => void }

// useLoaded loads path now, and then every so many milliseconds while the page is visible.
// It keeps the old answer until the new one is there.
export function useLoaded<T>(path: string | null, every = 0): Loaded<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<string>();
  const current = useRef(path);
  const load = useCallback(() => {
    if (!path) return;
    current.current = path;
    call<T>(path).then(
      (v) => { if (current.current === path) { setData(v); setError(undefined); } },
      (e: Error) => {
        if (current.current !== path) return;
        setError(e.message);
        if (e instanceof Failure && (e.status === 403 || e.status === 404)) setData(undefined); // the player was erased, or may no longer be seen
      },
    );
  }, [path]);
  useEffect(() => {
    setError(undefined);
    load();
    if (!every) return;
    const timer = setInterval(() => { if (!document.hidden) load(); }, every);
    return () => clearInterval(timer);
  }, [load, every]);
  return { data, error, reload: load };
}
