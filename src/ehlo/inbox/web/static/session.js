// A session: what client and server said, and when.

import { getSession } from "./api.js";
import { bdi, h, icon } from "./dom.js";
import { CLOSED, link } from "./route.js";
import { clock, time } from "./words.js";

const SLOW = 1; // seconds between two lines, from which on it is pointed out

const OUTCOMES = { delivered: "Delivered", refused: "Refused", broken: "Broken", idle: "No mail", open: "Open" };

export const badge = (outcome) => h(`span.badge.${outcome in OUTCOMES ? outcome : "idle"}`, {}, OUTCOMES[outcome] ?? outcome);

/** The facts and the dialogue. */
export function drawSession(session) {
  const took = session.ended_at ? (new Date(session.ended_at) - new Date(session.started_at)) / 1000 : null;
  const facts = [
    ["Client", session.helo ? [bdi(session.helo), " ", h("code", {}, session.peer)] : h("code", {}, session.peer)],
    ["Listener", h("code", {}, session.listener)],
    ["TLS", session.tls ?? "none"],
    ["Login", session.login ? bdi(session.login) : "none"],
    ["Began", h("span", { title: session.started_at }, clock(session.started_at))],
    ["Took", took === null ? "still open" : duration(took)],
  ];
  const dialogue = h("ol.transcript", { "aria-label": "Dialogue" });
  let last = 0;
  let speaker = "";
  for (const line of session.transcript) {
    const wait = line.at - last;
    last = line.at;
    const isError = line.by === "S" && /^[45]\d\d/.test(line.text);
    const row = h(
      "li.line",
      { "data-by": line.by },
      h("span.at", { title: `${line.at.toFixed(4)} s after the beginning` }, stamp(line.at)),
      h("span.by", {}, line.by === "-" ? "·" : line.by, h("span.sr-only", {}, { C: " client: ", S: " server: " }[line.by] ?? " event: ")),
      h("span.said", {}, line.text, wait >= SLOW ? h("span.slow", {}, `  after ${duration(wait)}`) : null),
    );
    if (isError) row.classList.add("error");
    if (line.by === "C" && speaker !== "C") row.classList.add("gap");
    speaker = line.by;
    dialogue.append(row);
  }
  return [
    session.problem ? h("div.panel-bar", {}, h("p.problem.bad.grow", {}, icon("warning"), h("span", {}, session.problem))) : null,
    h("dl.facts", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    session.transcript.length ? dialogue : h("p.transcript", {}, "Nothing was said."),
  ].filter(Boolean);
}

/** The reader for a session of the list. */
export async function showSession(place, id, signal) {
  try {
    const session = await getSession(id, signal);
    if (signal.aborted) return;
    place.replaceChildren(
      h(
        "article.message",
        { "aria-labelledby": "subject" },
        h(
          "header.message-head",
          {},
          h("div.message-bar", {}, h("a.icon-button.back", { href: link(CLOSED), "aria-label": "Back to the list" }, icon("back")), h("span.place", {}, "Session ", h("code", {}, session.id)), time(session.started_at, { isLong: true })),
          h("div.message-title", {}, h("h1", { id: "subject" }, bdi(session.helo || session.peer)), badge(session.outcome)),
          session.messages.length
            ? h("div.finds", {}, session.messages.slice(0, 50).map((message) => h("span.find", {}, h("a.main", { href: link({ view: "messages", q: "", refused: false, ...CLOSED, message }) }, icon("mail"), h("span", {}, `Message ${message}`)))))
            : null,
        ),
        h("div.panel", {}, drawSession(session)),
      ),
    );
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    place.replaceChildren(
      h("div.center", { role: "alert" }, icon("session", "big"), h("h2", {}, error.status === 404 ? "There is no such session" : "The session could not be loaded"), h("p", {}, error.message), h("a.button", { href: link(CLOSED) }, "Back to the list")),
    );
  }
}

const stamp = (seconds) => (seconds < 10 ? `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`);

function duration(seconds) {
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}
