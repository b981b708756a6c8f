import { useEffect, useState } from "preact/hooks";

// The address is the page's state: every view, filter and decision has a link.

const listeners = new Set<() => void>();

// cameFrom is the view that led to this one. The console journals who looked at a player,
// when, and from which view.
export let cameFrom = "";
const viewOf = (path: string) => "/" + (path.split("/")[1] ?? "");

export function go(to: string, replace = false) {
  if (to === location.pathname + location.search) return;
  if (viewOf(to.split("?")[0]!) !== viewOf(location.pathname)) cameFrom = viewOf(location.pathname);
  history[replace ? "replaceState" : "pushState"](null, "", to);
  for (const l of listeners) l();
}

addEventListener("popstate", () => { for (const l of listeners) l(); });

// Links of this origin change the view without loading the page again.
addEventListener("click", (e) => {
  const a = (e.target as Element | null)?.closest?.("a[href]") as HTMLAnchorElement | null;
  if (!a || a.origin !== location.origin || a.rel === "external" || a.hasAttribute("download") || a.hash && a.pathname === location.pathname ||
      e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  go(a.pathname + a.search);
  scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
});

export function useAddress(): URL {
  const [href, set] = useState(location.href);
  useEffect(() => {
    const l = () => set(location.href);
    listeners.add(l);
    return () => { listeners.delete(l); };
  }, []);
  return new URL(href);
}

// withParam returns the address with one parameter changed, or removed if value is empty.
export function withParam(url: URL, name: string, value: string): string {
  const next = new URL(url);
  next.searchParams.delete("before"); // a new search begins with the newest
  if (value) next.searchParams.set(name, value); else next.searchParams.delete(name);
  return next.pathname + next.search;
}
