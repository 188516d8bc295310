// Dialogs: one question each, answered by a promise. Esc and a click beside them close them.

import { createInbox, deleteInbox, releaseMessage } from "./api.js";
import { bdi, h, icon, iconButton } from "./dom.js";
import { copy, toast } from "./feedback.js";
import { KEYS } from "./keys.js";
import { change, settings } from "./settings.js";

/**
 * Show a dialog, and give what it was closed with; undefined if it was dismissed. `fill(close)` gives {body, buttons}; with
 * `onsubmit`, Enter in a field does it: it may throw, and the dialog then says why and stays.
 */
export function show(title, fill, { isNarrow = false, onsubmit = null } = {}) {
  return new Promise((resolve) => {
    const id = `dialog-${Math.random().toString(36).slice(2)}`;
    const dialog = h(isNarrow ? "dialog.narrow" : "dialog", { "aria-labelledby": id });
    let answer;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    const { body, buttons } = fill(close);
    const problem = h("p.error", { role: "alert", hidden: true });
    const content = [
      h("header", {}, h("h2", { id }, title), iconButton("x", "Close", () => close(), { "data-tip": null })),
      h("div.body", {}, body, problem),
      buttons ? h("footer", {}, buttons) : null,
    ];
    if (onsubmit) {
      const form = h("form", { method: "dialog" }, content);
      form.style.display = "contents";
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const submit = form.querySelector("[type=submit]");
        submit.disabled = true;
        problem.hidden = true;
        try {
          close(await onsubmit());
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
        }
        submit.disabled = false;
      });
      dialog.append(form);
    } else {
      dialog.append(...content.filter(Boolean));
    }
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input, textarea, .button"))?.focus();
  });
}

const cancel = (close) => h("button.button", { type: "button", onclick: () => close() }, "Cancel");

/** Ask before something that cannot be undone. */
export function confirm(title, text, verb) {
  return show(
    title,
    (close) => ({
      body: h("p", {}, text),
      buttons: [cancel(close), h("button.button.danger", { type: "button", autofocus: true, onclick: () => close(true) }, verb)],
    }),
    { isNarrow: true },
  );
}

/** Which tags to add and to remove: {add_tags, remove_tags}. `present` are those that all the messages have. */
export function askTags(present, known) {
  const chosen = new Set(present);
  const names = [...new Set([...present, ...known])].sort();
  const input = h("input.input", { maxlength: 64, placeholder: "New tag", "aria-label": "New tag", autofocus: true });
  const place = h("div.tag-edit");
  const draw = () =>
    place.replaceChildren(
      ...names.map((name) =>
        h("button.tag", { type: "button", "aria-pressed": String(chosen.has(name)), onclick: () => toggle(name) }, icon("tag"), bdi(name)),
      ),
    );
  const toggle = (name) => {
    if (!chosen.delete(name)) chosen.add(name);
    draw();
  };
  draw();
  return show(
    "Tags",
    (close) => ({
      body: [input, names.length ? place : null],
      buttons: [cancel(close), h("button.button.primary", { type: "submit" }, "Save")],
    }),
    {
      isNarrow: true,
      onsubmit: () => {
        for (const name of input.value.split(",")) if (name.trim()) chosen.add(name.trim());
        return {
          add_tags: [...chosen].filter((name) => !present.includes(name)),
          remove_tags: present.filter((name) => !chosen.has(name)),
        };
      },
    },
  );
}

/** Send a message on, to one of the servers that the inbox was started with. */
export function askRelease(message, servers) {
  const server = h("select.input", {}, servers.map((name) => h("option", { value: name }, name)));
  const sender = h("input.input", { value: message.envelope.mail_from, spellcheck: "false", autocapitalize: "off" });
  const recipients = h("textarea.input", { value: message.envelope.rcpt_tos.join("\n"), spellcheck: "false", rows: 4 });
  return show(
    "Release the message",
    (close) => ({
      body: [
        h("p", {}, "It is sent once, as it came, to a real server."),
        h("label.field", {}, h("span", {}, "Server"), server),
        h("label.field", {}, h("span", {}, "Envelope sender"), sender),
        h("label.field", {}, h("span", {}, "Recipients"), recipients, h("small", {}, "One address per line. The message itself is not changed.")),
      ],
      buttons: [cancel(close), h("button.button.primary", { type: "submit" }, icon("send"), "Release")],
    }),
    {
      onsubmit: async () => {
        const [, host, port] = /^(.*):(\d+)$/.exec(server.value);
        const answer = await releaseMessage(message.id, {
          host: host.replace(/^\[|\]$/g, ""),
          port: Number(port),
          sender: sender.value.trim(),
          recipients: recipients.value.split(/[\n,]/).map((line) => line.trim()).filter(Boolean),
        });
        toast(`Released: ${answer.reply ?? "accepted"}`);
        return true;
      },
    },
  );
}

/** Make an inbox, and show its keys: they are shown once. Gives its name. */
export async function askInbox() {
  const name = h("input.input", { placeholder: "checkout-tests", autofocus: true, maxlength: 64, spellcheck: "false", autocapitalize: "off" });
  const lives = h(
    "select.input",
    {},
    [["", "For good"], ["3600", "One hour"], ["86400", "One day"], ["604800", "One week"]].map(([value, text]) => h("option", { value }, text)),
  );
  const made = await show(
    "New inbox",
    (close) => ({
      body: [
        h("p", {}, "An inbox with a login of its own. Mail sent with that login arrives there, and nobody else sees it."),
        h("label.field", {}, h("span", {}, "Name"), name, h("small", {}, "Leave it empty for a name that nobody guesses.")),
        h("label.field", {}, h("span", {}, "Keep it"), lives),
      ],
      buttons: [cancel(close), h("button.button.primary", { type: "submit" }, "Create")],
    }),
    {
      isNarrow: true,
      onsubmit: () =>
        createInbox({ ...(name.value.trim() ? { name: name.value.trim() } : {}), ...(lives.value ? { ttl: Number(lives.value) } : {}) }),
    },
  );
  if (!made) return undefined;
  const { host, port, login, password } = made.smtp;
  const url = `smtp://${encodeURIComponent(login)}:${encodeURIComponent(password)}@${host.includes(":") ? `[${host}]` : host}:${port}`;
  const facts = [["Host", host], ["Port", port], ["Login", login], ["Password", password], ["As a URL", url], ["API token", made.token], ["Page", made.link]];
  await show("The inbox is there", (close) => ({
    body: [
      h("p", {}, "Note the password and the token now: they are not shown again."),
      h("dl.secrets", {}, facts.filter(([, value]) => value).map(([what, value]) => [
        h("dt", {}, what),
        h("dd", {}, h("code", {}, String(value))),
        iconButton("copy", `Copy: ${what}`, () => copy(String(value)), { "data-tip": null }),
      ])),
    ],
    buttons: h("button.button.primary", { type: "button", onclick: () => close(true), autofocus: true }, "Open the inbox"),
  }));
  return made.name;
}

export async function askDeleteInbox(name) {
  if (!(await confirm("Delete this inbox?", `“${name}”, its login and all its mail are deleted. This cannot be undone.`, "Delete inbox"))) return false;
  await deleteInbox(name);
  return true;
}

export function showSettings() {
  const choice = (what, explained, key, options) =>
    h(
      "div.setting",
      {},
      h("div", {}, h("strong", {}, what), h("small", {}, explained)),
      segments(what, options, () => settings[key], (value) => change({ [key]: value })),
    );
  return show("Settings", () => ({
    body: [
      choice("Theme", "System follows what your computer does", "theme", [["system", "System", "system"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]]),
      choice("Density", "How much of a message the list shows", "density", [["comfortable", "Comfortable"], ["compact", "Compact"]]),
      choice("Plain text", "The letters in which text is shown", "isFixedWidth", [[false, "Proportional"], [true, "Fixed width"]]),
      choice("Single-key shortcuts", "j, k, # and the others", "hasKeys", [[true, "On"], [false, "Off"]]),
    ],
  }));
}

/** Buttons of which one is pressed. `options` are [value, label, icon?]. */
export function segments(label, options, get, set, { isIconOnly = false } = {}) {
  const group = h("div.segments", { role: "group", "aria-label": label });
  const draw = () => {
    for (const [index, button] of [...group.children].entries()) button.setAttribute("aria-pressed", String(options[index][0] === get()));
  };
  for (const [value, text, drawing] of options) {
    group.append(
      h(
        "button",
        {
          type: "button",
          "aria-label": isIconOnly ? text : null,
          title: isIconOnly ? text : null,
          onclick: () => {
            set(value);
            draw();
          },
        },
        drawing ? icon(drawing) : null,
        isIconOnly ? null : text,
      ),
    );
  }
  draw();
  return group;
}

export function showKeys() {
  return show("Keyboard shortcuts", () => ({
    body: h(
      "div.keys-grid",
      {},
      KEYS.map(([title, rows]) => [
        h("h3", {}, title),
        rows.map(([keys, says]) => h("div", {}, h("span", {}, says), h("span", {}, keys.split(" ").map((key) => [key === "…" ? key : h("kbd", {}, key), " "])))),
      ]),
    ),
  }));
}
