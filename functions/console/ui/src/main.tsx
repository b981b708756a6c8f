import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api";
import { recorded } from "./recorded";
import { useAddress } from "./router";
import { connect, useLive } from "./stream";
import type { Me, Person, ViewProps } from "./types";
import { Head, Toasts, Wrong } from "./ui";
import { compact, num, rate, setZone, zone } from "./format";
import { choose, language, languages, rich, t, word, type Key } from "./i18n";
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

const views: { path: string; name: Key; icon: keyof typeof icons; show: (p: ViewProps) => preact.JSX.Element }[] = [
  { path: "/", name: "live.title", icon: "live", show: LivePage },
  { path: "/players", name: "players.title", icon: "player", show: PlayersPage },
  { path: "/decisions", name: "decisions.title", icon: "decision", show: DecisionsPage },
  { path: "/review", name: "review.title", icon: "review", show: ReviewPage },
  { path: "/models", name: "models.title", icon: "model", show: ModelsPage },
  { path: "/experiments", name: "experiments.title", icon: "experiment", show: ExperimentsPage },
  { path: "/deadletters", name: "letters.title", icon: "letter", show: DeadLettersPage },
  { path: "/rules", name: "rules.title", icon: "rule", show: RulesPage },
  { path: "/approvals", name: "approvals.title", icon: "approve", show: ProposalsPage },
  { path: "/changes", name: "changes.title", icon: "change", show: ChangesPage },
];

function View(p: ViewProps) {
  const [, first = "", ...rest] = p.url.pathname.split("/");
  const id = decodeURIComponent(rest.join("/"));
  if (first === "players" && id) return <PlayerPage key={id} id={id} {...p} />;
  if (first === "decisions" && id) return <DecisionPage key={id} id={id} {...p} />;
  const view = views.find((v) => v.path === "/" + first);
  if (!view) return <Head title={t("not-found")} lead={t("no-page", { path: p.url.pathname })} />;
  const Show = view.show;
  return <Show {...p} />;
}

function Nav(p: { url: URL }) {
  const { frame } = useLive();
  const here = "/" + (p.url.pathname.split("/")[1] ?? "");
  const badge: Record<string, number> = { "/deadletters": frame?.dead_letters ?? 0, "/review": frame?.review ?? 0, "/approvals": frame?.proposed ?? 0 };
  const list = useRef<HTMLUListElement>(null);
  const counted = Object.keys(badge).filter((path) => badge[path]).join(); // a badge that appears moves the tabs after it
  useEffect(() => { list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); }, [here, counted]);
  return (
    <nav class="nav" aria-label={t("pages")}>
      <a class="brand" href="/"><img src="/icon.svg" alt="" width="26" height="26" /><span translate={false}>{product}</span></a>
      <ul ref={list}>
        {views.map((v) => (
          <li key={v.path}>
            <a href={v.path} aria-current={here === v.path ? "page" : undefined}>
              {icons[v.icon]}<span>{t(v.name)}</span>
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

const product = "Pitboss";

// Zone switches every time on the page between UTC and local time.
function Zone(p: { turned: () => void }) {
  const name = t(zone === "UTC" ? "zone.utc" : "zone.local");
  return <button type="button" class="button ghost" onClick={() => { setZone(zone === "UTC" ? "local" : "UTC"); p.turned(); }} aria-label={t("zone.change", { name })}>{name}</button>;
}

// Each language is named in itself.
const Languages = () => (
  <select class="languages" aria-label={t("language")} value={language} onChange={(e) => choose(e.currentTarget.value)}>
    {Object.entries(languages).map(([tag, name]) => <option key={tag} value={tag} lang={tag} translate={false}>{name}</option>)}
  </select>
);

function Top(p: { who: Person; login: boolean; theme: Theme; turn: () => void; turned: () => void }) {
  const { frame, connected } = useLive();
  const into = frame?.flow.stages.platform?.rate ?? 0;
  const roles = p.login ? p.who.roles.map((r) => word("role", r)).join(", ") : t("role.everything");
  return (
    <header class="top">
      <span class={"pulse " + (connected ? "on" : "off")} role="status">{t(connected ? "live.title" : "reconnecting")}</span>
      {frame && <span class="top-fact">{rich("top.rate", { rate: <b>{rate(into)}</b> })}</span>}
      {frame && <span class="top-fact wide">{rich("top.counted", { total: <b>{num(frame.flow.total)}</b> })}</span>}
      <span class="spacer" />
      <Languages />
      <Zone turned={p.turned} />
      <button type="button" class="button ghost" onClick={p.turn} aria-label={t("theme.change", { name: t(`theme.${p.theme}`) })}>{p.theme === "light" ? icons.sun : p.theme === "dark" ? icons.moon : icons.auto}<span class="wide">{t(`theme.${p.theme}`)}</span></button>
      <span class="who" title={roles}>{icons.person}<span class="wide"><span translate={false}>{p.who.name}</span> <small>{roles}</small></span></span>
      {p.login && <button type="button" class="button ghost" onClick={signOut}>{t("sign-out")}</button>}
    </header>
  );
}

// signOut ends the session here and then at the provider.
const signOut = () => call<{ next: string }>("/api/logout", {}).then(({ next }) => location.assign(next || "/"));

function Login(p: { me: Me }) {
  const { why, login, sign_in, token } = p.me;
  const [error, setError] = useState(login || !why ? undefined : recorded(why));
  const submit = (e: Event) => {
    e.preventDefault();
    const token = String(new FormData(e.target as HTMLFormElement).get("token") ?? "");
    call("/api/login", { token }).then(() => location.reload(), (err: Error) => setError(err.message));
  };
  return (
    <main class="login" id="main" tabIndex={-1}>
      <div class="card">
        <img src="/icon.svg" alt="" width="44" height="44" />
        <h1 translate={false}>{product}</h1>
        {!login && <p>{t("login.closed")}</p>}
        {sign_in && <a class="button primary" rel="external" href={`${sign_in}?next=${encodeURIComponent(location.pathname + location.search)}`}>{t("login.sign-in")}</a>}
        {login && token && (
          <form onSubmit={submit}>
            <label>{t("login.token")}<input name="token" type="password" required autocomplete="current-password" /><small>{t("login.token-hint")}</small></label>
            <button class={"button" + (sign_in ? "" : " primary")} type="submit">{t(sign_in ? "login.with-token" : "login.sign-in")}</button>
          </form>
        )}
        <Wrong text={error} />
        <Languages />
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
  useEffect(() => { document.title = here ? `${t(here.name)} · ${product}` : product; }, [here]);
  if (!me) return error ? <main class="login"><Wrong text={error} /></main> : <></>;
  if (!me.person) return <Login me={me} />;
  return (
    <>
      <a class="skip" href="#main">{t("skip")}</a>
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
