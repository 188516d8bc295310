// Faults on purpose: choose a ready scenario or write one, see what fired, end it. What they mean is the server's.

import { clearFaults, getFaults, getFired, setFaults } from "./api.js";
import { show } from "./dialogs.js";
import { $, h } from "./dom.js";
import { toast } from "./feedback.js";

const SHOWN = 20; // faults that fired

/** The button: there for the owner only, and marked while faults are in force. `info` is what the server says of itself. */
export async function drawFaultsButton(info) {
  const button = $("faults-button");
  button.hidden = !info?.can_create_inboxes;
  if (button.hidden) return;
  try {
    mark((await getFaults()).scenario);
  } catch {
    mark(null); // the page says elsewhere that the server cannot be reached
  }
}

function mark(scenario) {
  const button = $("faults-button");
  const label = scenario ? `Faults on purpose: ${scenario.name}` : "Faults on purpose";
  button.setAttribute("aria-label", label);
  button.dataset.tip = label;
  button.toggleAttribute("data-on", Boolean(scenario));
}

/** The dialog. */
export async function showFaults() {
  let faults;
  let fired;
  try {
    [faults, { fired }] = await Promise.all([getFaults(), getFired(SHOWN)]);
  } catch (error) {
    toast(error.message, { isBad: true });
    return;
  }
  mark(faults.scenario);
  const now = faults.scenario;
  const text = h("textarea.input", { rows: 12, spellcheck: "false", "aria-label": "Scenario in TOML", value: now?.toml ?? "" });
  const about = h("small", {}, now?.description ?? "");
  const ready = h(
    "select.input",
    {
      "aria-label": "Ready scenarios",
      onchange: () => {
        const chosen = faults.ready.find(({ name }) => name === ready.value);
        if (!chosen) return; // who writes one goes on with what is there
        text.value = chosen.toml;
        about.textContent = chosen.description;
      },
    },
    h("option", { value: "" }, "Choose a ready scenario, or write one"),
    faults.ready.map(({ name }) => h("option", { value: name }, name)),
  );
  const end = (close) => async () => {
    try {
      await clearFaults();
      close(null);
    } catch (error) {
      toast(error.message, { isBad: true });
    }
  };
  const answer = await show(
    "Faults on purpose",
    (close) => ({
      body: [
        h("p", {}, now ? `In force: ${now.name}. ` : "Nothing goes wrong on purpose now. ", "A scenario makes delivery fail as it says, on every port."),
        h("div.field", {}, ready, about),
        h("div.field", {}, text),
        fired.length ? h("div.field", {}, h("span", {}, "What fired last"), h("ol.fired", {}, fired.map(firedItem))) : null,
      ],
      buttons: [
        now ? h("button.button", { type: "button", onclick: end(close) }, "End the faults") : null,
        h("button.button.primary", { type: "submit" }, now ? "Begin anew" : "Begin"),
      ],
    }),
    { onsubmit: async () => (await setFaults(text.value)).scenario },
  );
  if (answer === undefined) return;
  mark(answer);
  toast(answer ? `Delivery fails on purpose: ${answer.name}` : "Nothing goes wrong on purpose any more");
}

function firedItem({ at, verb, rule, act }) {
  return h("li", {}, h("time", { datetime: at }, new Date(at).toLocaleTimeString()), ` ${verb}, ${rule}: ${act}`);
}
