// What is wrong with a message, and with how it was sent: the report of the server, drawn.

import { h, icon } from "./dom.js";

const TITLES = { error: "Errors", warning: "Warnings", notice: "Worth knowing" };
const MEANINGS = {
  error: "A standard is broken: the message may be rejected, or damaged on its way.",
  warning: "A recommendation is not followed: some receivers reject it, call it spam, or show it otherwise.",
  notice: "Delivered and shown all the same.",
};

/** How many findings matter. */
export const countIn = (report) => report.findings.filter((finding) => finding.severity !== "notice").length;

/** The severity of the worst one. */
export const worst = (report) => report.findings[0]?.severity ?? "";

/** Fill the panel. `view.report` is a promise. */
export async function check(panel, message, view) {
  panel.setAttribute("aria-busy", "true");
  const report = await view.report.finally(() => panel.removeAttribute("aria-busy"));
  if (report.findings.length === 0) {
    panel.append(h("div.center", {}, icon("check", "big"), h("h2", {}, "Nothing was found"), h("p", {}, "Neither in the message nor in how it was sent.")));
    return;
  }
  panel.append(
    h(
      "div.findings",
      {},
      Object.keys(TITLES).map((severity) => section(severity, report.findings.filter((finding) => finding.severity === severity))),
    ),
  );
}

function section(severity, findings) {
  if (findings.length === 0) return null;
  const id = `findings-${severity}`;
  return h(
    "section",
    { "aria-labelledby": id },
    h("h2", { id, "data-severity": severity }, TITLES[severity], " ", h("span.count", {}, findings.length)),
    h("p", {}, MEANINGS[severity]),
    h("ul", {}, findings.map(row)),
  );
}

function row(finding) {
  return h(
    "li.finding",
    { "data-severity": finding.severity },
    h("span.finding-rule", {}, h("code", {}, finding.rule), finding.place ? h("span.finding-place", {}, finding.place) : null),
    h("span.finding-text", {}, finding.text),
    h("span.finding-source", {}, finding.source),
  );
}
