// Measures how long the page's main thread ran, and how long it was ready to run without a
// core (/proc/…/schedstat on Linux). A long task that waited for a core is due to the
// machine and not to the page.
import { readFileSync, readdirSync } from "node:fs";

const read = (path) => { try { return readFileSync(path, "latin1"); } catch { return ""; } };
const parent = (pid) => Number(read(`/proc/${pid}/stat`).replace(/^.*\) \S+ /s, "").split(" ")[0]);

function descends(pid, from) {
  for (let p = pid; p > 1; p = parent(p)) if (p === from) return true;
  return false;
}

const times = (pid) => read(`/proc/${pid}/task/${pid}/schedstat`).split(" ").slice(0, 2).map((ns) => Number(ns) / 1e6);

const renderers = () => readdirSync("/proc").filter((d) => /^\d+$/.test(d)).map(Number)
  .filter((pid) => read(`/proc/${pid}/cmdline`).includes("--type=renderer") && descends(pid, process.pid));

// threadOf finds the page's main thread by the work that spin makes it do.
export async function threadOf(spin) {
  const before = new Map(renderers().map((pid) => [pid, times(pid)[0]]));
  await spin();
  const [ran, pid] = renderers().map((pid) => [times(pid)[0] - (before.get(pid) ?? 0), pid]).sort(([a], [b]) => b - a)[0];
  return { ran, pid };
}

// residentOf is the process's memory of a kind in MB: VmRSS is all of it, RssAnon what it
// allocated.
export const residentOf = (pid, kind) => Math.round(Number(new RegExp(`${kind}:\\s+(\\d+)`).exec(read(`/proc/${pid}/status`))?.[1]) / 1024);

// watchThread samples the page's main thread until end() is called. ran(from, to) and
// waited(from, to) then return the times of any interval, in milliseconds since the epoch.
export function watchThread(pid) {
  const samples = [];
  const take = () => { const [ran, waited] = times(pid); samples.push({ at: Date.now(), ran, waited }); };
  take();
  const timer = setInterval(take, 20);
  const between = (name) => (from, to) => {
    const before = samples.findLast((s) => s.at <= from) ?? samples[0], after = samples.find((s) => s.at >= to) ?? samples.at(-1);
    return after[name] - before[name];
  };
  const memory = () => residentOf(pid, "VmRSS");
  return { memory, end: () => { clearInterval(timer); take(); }, ran: between("ran"), waited: between("waited") };
}
