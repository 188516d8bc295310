// What is wrong with a message, and with how it was sent: the report of the server, drawn.

import { getReport } from "./api.js";
import { h, icon } from "./dom.js";
import { state } from "./state.js";

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
  const found = h("div", { "aria-live": "polite" });
  if (state.info?.can_authenticate) panel.append(question(found, message, view));
  panel.append(found);
  draw(found, report);
}

function draw(panel, report) {
  panel.replaceChildren();
  if (report.authentication) panel.append(results(report.authentication));
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

/** The form that asks who vouches for the message; the answer replaces the findings. */
function question(found, message, view) {
  const address = h("input", { name: "address", placeholder: "192.0.2.1", required: true, maxlength: 45, autocomplete: "off", spellcheck: "false" });
  const helo = h("input", { name: "helo", placeholder: "mail.example.com", maxlength: 255, autocomplete: "off", spellcheck: "false" });
  const button = h("button.button", { type: "submit" }, "Check DKIM, SPF and DMARC");
  const problem = h("p.question-problem", { role: "alert" });
  const onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      draw(found, await getReport(message.id, view.signal, { address: address.value.trim(), helo: helo.value.trim() }));
    } catch (error) {
      if (error.name !== "AbortError") problem.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };
  return h("form.question", { onsubmit }, h("label", {}, "Sent from address", address), h("label", {}, "EHLO name", helo), button, problem);
}

function results({ dkim, spf, dmarc }) {
  const rows = dkim.map((one) => [`DKIM of ${one.domain}`, one.result, one.reason ? [one.reason] : []]);
  if (dkim.length === 0) rows.push(["DKIM", "none", ["there is no signature"]]);
  if (spf) rows.push([`SPF of ${spf.domain}`, spf.result, spf.steps]);
  if (dmarc) rows.push([`DMARC of ${dmarc.domain}`, { true: "pass", false: "fail" }[dmarc.passes] ?? "none", dmarc.steps]);
  return h(
    "dl.results",
    {},
    rows.map(([what, result, steps]) => [
      h("dt", {}, what, " ", h("strong", { "data-result": result }, result)),
      h("dd", {}, h("ul", {}, steps.map((step) => h("li", {}, step)))),
    ]),
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
