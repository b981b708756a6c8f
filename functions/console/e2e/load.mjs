// Sends events to the console at a given rate, pipelined over a few connections, as its
// Trigger does at full load. If a connection closes, its unanswered events are sent again
// on another one, as a Broker does.
import { connect } from "node:net";

export async function load(port, { perSecond, seconds, conns = 4 }) {
  const run = Math.random().toString(36).slice(2);
  let sent = 0, answered = 0, refused = 0, closed = 0, over = false;
  const body = JSON.stringify({ game: "viking-vault", product: "casino", stake: 100, win: 0, currency: "GBP" });
  const one = (n) => `POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nCe-Specversion: 1.0\r\nCe-Type: pitboss.round.settled.v1\r\n` +
    `Ce-Source: /load\r\nCe-Id: ${run}-${n}\r\nCe-Subject: load-${n % 4000}\r\nCe-Time: ${new Date().toISOString()}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const lines = Array.from({ length: conns }, () => ({ socket: undefined, waiting: [] })); // waiting holds the events that wait for an answer
  const open = (line) => {
    let rest = ""; // an answer may arrive in two pieces
    const s = line.socket = connect(port, "127.0.0.1", () => { if (line.waiting.length) s.write(line.waiting.map(one).join("")); });
    s.on("error", () => {}); // a close event follows
    s.on("close", () => { if (!over) { closed++; setTimeout(open, 50, line); } });
    s.on("data", (b) => {
      const text = rest + b.toString("latin1");
      const all = [...text.matchAll(/HTTP\/1\.1 (\d\d\d)/g)];
      for (const [, status] of all) status === "202" ? answered++ : refused++;
      line.waiting.splice(0, all.length); // answers come in order
      const last = all.at(-1);
      rest = text.slice(Math.max(last ? last.index + last[0].length : 0, text.length - "HTTP/1.1 20".length));
    });
  };
  lines.forEach(open);
  const began = Date.now();
  while (Date.now() - began < seconds * 1000) {
    const due = Math.min(perSecond * seconds, Math.floor(((Date.now() - began) / 1000) * perSecond));
    lines.push(lines.shift()); // round robin, since func-go's server closes a new connection without a request after 2 s
    for (const line of lines.filter((l) => l.socket.readyState === "open")) {
      let part = "";
      while (sent < due && sent - answered < 20_000 && part.length < 60_000) {
        line.waiting.push(sent);
        part += one(sent++);
      }
      if (part) line.socket.write(part);
    }
    await new Promise((r) => setTimeout(r, 5));
  }
  const took = (Date.now() - began) / 1000;
  const end = Date.now() + 120_000;
  while (answered + refused < sent && Date.now() < end) await new Promise((r) => setTimeout(r, 20));
  over = true;
  for (const line of lines) line.socket.destroy();
  return { sent, answered, refused, closed, perSecond: Math.round(sent / took) };
}
