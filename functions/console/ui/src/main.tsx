import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api";
import { useAddress } from "./router";
import { connect, useLive } from "./stream";
import type { Me, Person, ViewProps } from "./types";
import { Toasts, Wrong } from "./ui";
import { compact, num, rate, setZone, zone } from "./format";
import { LivePage } from "./pages/live";
import { PlayerPage, PlayersPage } from "./pages/player";
import { DecisionPage, DecisionsPage } from "./pages/decisions";
import { ReviewPage } from "./pages/review";
import { ModelsPage } from "./pages/models";
import { ExperimentsPage } from "./pages/experiments";
import { DeadLettersPage } from "./pages/deadletters";
import { RulesPage } from "./pages/rules";
import { ChangesPage } from "./pages/changes";
import { ProposalsPage } from "./pages/proposals";
import { icons } from "./icons";
import "./style.css";

const views: { path: string; name: string; icon: keyof typeof icons; show: (p: ViewProps) => preact.JSX.Element }[] = [
  { path: "/", name: "Live", icon: "live", show: LivePage },
  { path: "/players", name: "Players", icon: "player", show: PlayersPage },
  { path: "/decisions", name: "Decisions", icon: "decision", show: DecisionsPage },
  { path: "/review", name: "Review", icon: "review", show: ReviewPage },
  { path: "/models", name: "Models", icon: "model", show: ModelsPage },
  { path: "/experiments", name: "Experiments", icon: "experiment", show: ExperimentsPage },
  { path: "/deadletters", name: "Dead letters", icon: "letter", show: DeadLettersPage },
  { path: "/rules", name: "Rules", icon: "rule", show: RulesPage },
  { path: "/approvals", name: "Approvals", icon: "approve", show: ProposalsPage },
  { path: "/changes", name: "Changes", icon: "change", show: ChangesPage },
];

function View(p: ViewProps) {
  const [, first = "", ...rest] = p.url.pathname.split("/");
  const id = decodeURIComponent(rest.join("/"));
  if (first === "players" && id) return <PlayerPage key={id} id={id} {...p} />;
  if (first === "decisions" && id) return <DecisionPage key={id} id={id} {...p} />;
  const view = views.find((v) => v.path === "/" + first);
  if (!view) return <Wrong text={`There is no page ${p.url.pathname}.`} />;
  const Show = view.show;
  return <Show {...p} />;
}

function Nav(p: { url: URL }) {
  const { frame } = useLive();
  const here = "/" + (p.url.pathname.split("/")[1] ?? "");
  const badge: Record<string, number> = { "/deadletters": frame?.dead_letters ?? 0, "/review": frame?.review ?? 0, "/approvals": frame?.proposed ?? 0 };
  const list = useRef<HTMLUListElement>(null);
  const counted = Object.keys(badge).filter((path) => badge[path]).join(); // a count that appears moves the tabs behind it
  useEffect(() => { list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); }, [here, counted]);
  return (
    <nav class="nav" aria-label="Pages">
      <a class="brand" href="/"><img src="/icon.svg" alt="" width="26" height="26" /><span>Pitboss</span></a>
      <ul ref={list}>
        {views.map((v) => (
          <li key={v.path}>
            <a href={v.path} aria-current={here === v.path ? "page" : undefined}>
              {icons[v.icon]}<span>{v.name}</span>
              {!!badge[v.path] && <b class="count">{compact(badge[v.path]!)}</b>}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

type Theme = "system" | "light" | "dark";
const nextTheme: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function useTheme(): [Theme, () => void] {
  const [theme, set] = useState<Theme>(() => (localStorage.getItem("theme") as Theme) || "system");
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
  }, [theme]);
  return [theme, () => set(nextTheme[theme])];
}

// Zone turns every clock on the page to UTC and back.
function Zone(p: { turned: () => void }) {
  return <button type="button" class="button ghost" onClick={() => { setZone(zone === "UTC" ? "local" : "UTC"); p.turned(); }} aria-label={`${zone === "UTC" ? "UTC" : "local time"}: change the time zone`}>{zone === "UTC" ? "UTC" : "local time"}</button>;
}

function Top(p: { who: Person; login: boolean; theme: Theme; turn: () => void; turned: () => void }) {
  const { frame, connected } = useLive();
  const into = frame?.flow.stages.platform?.rate ?? 0;
  const roles = p.login ? p.who.roles.join(", ") : "everything, on this machine";
  return (
    <header class="top">
      <span class={"pulse " + (connected ? "on" : "off")} role="status">{connected ? "Live" : "Reconnecting"}</span>
      {frame && <span class="top-fact"><b>{rate(into)}</b> events/s</span>}
      {frame && <span class="top-fact wide"><b>{num(frame.flow.total)}</b> counted</span>}
      <span class="spacer" />
      <Zone turned={p.turned} />
      <button type="button" class="button ghost" onClick={p.turn} aria-label={`${p.theme} theme: change it`}>{p.theme === "light" ? icons.sun : p.theme === "dark" ? icons.moon : icons.auto}<span class="wide">{p.theme}</span></button>
      <span class="who" title={roles}>{icons.person}<span class="wide">{p.who.name} <small>{roles}</small></span></span>
      {p.login && <button type="button" class="button ghost" onClick={signOut}>Sign out</button>}
    </header>
  );
}

// signOut ends the session here, and goes on to the provider to end it there.
const signOut = () => call<{ next: string }>("/api/logout", {}).then(({ next }) => location.assign(next || "/"));

function Login(p: { me: Me }) {
  const { why, login, sign_in, token } = p.me;
  const [error, setError] = useState(login ? undefined : why);
  const submit = (e: Event) => {
    e.preventDefault();
    const token = String(new FormData(e.target as HTMLFormElement).get("token") ?? "");
    call("/api/login", { token }).then(() => location.reload(), (err: Error) => setError(err.message));
  };
  return (
    <main class="login" id="main" tabIndex={-1}>
      <div class="card">
        <img src="/icon.svg" alt="" width="44" height="44" />
        <h1>Pitboss</h1>
        {!login && <p>This console is not open to other machines yet.</p>}
        {sign_in && <a class="button primary" rel="external" href={`${sign_in}?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in</a>}
        {login && token && (
          <form onSubmit={submit}>
            <label>Token<input name="token" type="password" required autocomplete="current-password" /><small>An access token, or an OIDC ID token.</small></label>
            <button class={"button" + (sign_in ? "" : " primary")} type="submit">Sign in{sign_in && " with the token"}</button>
          </form>
        )}
        <Wrong text={error} />
      </div>
    </main>
  );
}

function App() {
  const url = useAddress();
  const [me, setMe] = useState<Me>();
  const [error, setError] = useState<string>();
  const [theme, turn] = useTheme();
  const [zones, setZones] = useState(0);
  useEffect(() => {
    call<Me>("/api/me").then((m) => {
      setMe(m);
      if (m.person) connect().catch((e: Error) => setError(e.message));
    }, (e: Error) => setError(e.message));
  }, []);
  const here = views.find((v) => v.path === "/" + (url.pathname.split("/")[1] ?? ""));
  useEffect(() => { document.title = (here?.name ?? "Pitboss") + " · Pitboss"; }, [here]);
  if (!me) return error ? <main class="login"><Wrong text={error} /></main> : <></>;
  if (!me.person) return <Login me={me} />;
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <Nav url={url} />
      <div class="stage">
        <Top who={me.person} login={me.login} theme={theme} turn={turn} turned={() => setZones((n) => n + 1)} />
        <main id="main" tabIndex={-1}><Wrong text={error} /><View key={zones} who={me.person} url={url} theme={theme} /></main>
      </div>
      <Toasts />
    </>
  );
}

render(<App />, document.getElementById("app")!);
