// What the tabs of a message show. Everything a message says goes through text nodes; its HTML into a frame without scripts,
// without an origin, of an address that sanitises it.

import { address, getRaw, getSession } from "./api.js";
import { check } from "./check.js";
import { segments } from "./dialogs.js";
import { bdi, h, icon, iconButton, isWebLink, outLink } from "./dom.js";
import { copy } from "./feedback.js";
import { drawSession } from "./session.js";
import { change, settings } from "./settings.js";
import { fileName, size } from "./words.js";

const TEXT_SHOWN = 200_000; // characters; the rest when asked for
const CHUNK = 4000; // characters, and then to the end of the line
const LINK = /\bhttps?:\/\/[^\s<>"'\u0000-\u001f]{1,2000}/g;
const KEY_HEADERS = new Set(["from", "to", "cc", "bcc", "reply-to", "subject", "date", "sender"]);
// Showing an SVG would be safe as an image; as a document of its own it is a program.
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"]);

const DRAW = { html, text, headers, parts, raw, session, check };

/** Fill the panel of a tab. `view` is {isRemoteAllowed, allowRemote, signal, report}. */
export async function drawPanel(panel, tab, message, view) {
  panel.classList.add(`${tab}-panel`);
  try {
    await DRAW[tab](panel, message, view);
  } catch (error) {
    if (error.name === "AbortError") return;
    panel.replaceChildren(nothing("offline", "This could not be loaded", error.message));
  }
}

function nothing(drawing, title, text) {
  return h("div.center", {}, icon(drawing, "big"), h("h2", {}, title), h("p", {}, text));
}

function html(panel, message, view) {
  if (!message.has_html) {
    panel.append(nothing("code", "There is no HTML in this message", message.text ? "It is plain text only." : "It has no text either."));
    return;
  }
  const box = h("div.frame-box", { "data-width": settings.width });
  const isBlocked = message.has_remote !== false && !view.isRemoteAllowed;
  panel.append(
    h(
      view.isRemoteAllowed || isBlocked ? "div.panel-bar" : "div.panel-bar.quiet",
      {},
      h(
        "span.remote.grow",
        {},
        isBlocked
          ? [icon("shield"), h("span", {}, "Remote content is blocked."), h("button.linklike", { type: "button", onclick: view.allowRemote }, "Allow for this message")]
          : view.isRemoteAllowed ? "Remote content is shown." : "No remote content.",
      ),
      widthSwitch(box),
    ),
    box,
  );
  box.append(
    h("iframe", {
      src: address(`messages/${message.id}/html`, { remote: view.isRemoteAllowed ? 1 : null }),
      sandbox: "allow-popups allow-popups-to-escape-sandbox",
      referrerpolicy: "no-referrer",
      title: "The message as HTML",
    }),
  );
}

function widthSwitch(box) {
  const widths = [["desktop", "As wide as it fits", "desktop"], ["tablet", "768 pixels", "tablet"], ["phone", "390 pixels", "phone"]];
  const group = segments("Width", widths, () => settings.width, (width) => {
    change({ width });
    box.dataset.width = width;
  }, { isIconOnly: true });
  group.classList.add("width-switch");
  return group;
}

function text(panel, message) {
  if (!message.text) {
    panel.append(nothing("text", "There is no plain text in this message", message.has_html ? "A mail should have a text part as well: some readers show nothing else." : "It is empty."));
    return;
  }
  const body = h("div.text", { "data-mono": settings.isFixedWidth, dir: "auto" });
  panel.append(
    h(
      "div.panel-bar",
      {},
      h("span.grow"),
      segments("Letters", [[false, "Proportional"], [true, "Fixed width"]], () => settings.isFixedWidth, (isFixedWidth) => {
        change({ isFixedWidth });
        body.toggleAttribute("data-mono", isFixedWidth);
      }),
      iconButton("copy", "Copy the text", () => copy(message.text, "Text copied"), { "data-tip-side": "end" }),
    ),
    body,
  );
  const pattern = markPattern(message.codes);
  shorten(panel, body, message.text, (part) => chunks(part).map((chunk) => h("div.chunk", {}, marked(chunk, pattern))));
}

/** What is marked in a text: links, and the codes that were found. */
function markPattern(codes) {
  const known = codes.filter((code) => code.length > 2).map((code) => code.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp([LINK.source, ...(known.length ? [`\\b(?:${known.slice(0, 20).join("|")})\\b`] : [])].join("|"), "g");
}

/**
 * The text in pieces of some lines. Each becomes a block of its own, which is laid out when it is seen: a megabyte in one
 * takes a browser half a minute.
 */
function chunks(source) {
  const pieces = [];
  for (let at = 0; at < source.length; ) {
    const end = source.indexOf("\n", at + CHUNK) + 1 || source.length;
    pieces.push(source.slice(at, Math.min(end, at + 2 * CHUNK)));
    at += pieces.at(-1).length;
  }
  return pieces;
}

/** Text with links, codes and quotations marked. */
function marked(source, pattern) {
  const fragment = document.createDocumentFragment();
  for (const block of quotations(source)) {
    const place = block.startsWith(">") ? h("span.quote") : document.createDocumentFragment();
    let at = 0;
    for (const match of block.matchAll(pattern)) {
      place.append(block.slice(at, match.index));
      at = match.index + match[0].length;
      if (match[0].startsWith("http")) {
        const url = match[0].replace(/[.,;:!?)\]}]+$/, "");
        at -= match[0].length - url.length;
        place.append(isWebLink(url) ? outLink(url, url) : url);
      } else {
        place.append(h("mark", {}, match[0]));
      }
    }
    place.append(block.slice(at));
    fragment.append(place);
  }
  return fragment;
}

/** The text in blocks: lines that begin with ">" together, and the others together. */
function quotations(source) {
  const blocks = [];
  let isQuoted = null;
  for (const line of source.split(/(?<=\n)/)) {
    if (line.startsWith(">") !== isQuoted) blocks.push([]);
    isQuoted = line.startsWith(">");
    blocks.at(-1).push(line);
  }
  return blocks.map((lines) => lines.join(""));
}

/** Show the beginning, and a button for the rest. */
function shorten(panel, body, source, draw) {
  body.append(...draw(source.slice(0, TEXT_SHOWN)));
  if (source.length <= TEXT_SHOWN) return;
  const button = h("button.button.more", { type: "button" }, `Show all of it (${size(source.length)})`);
  button.addEventListener("click", () => {
    body.replaceChildren(...draw(source));
    button.remove();
    panel.focus();
  });
  panel.append(button);
}

function headers(panel, message) {
  const all = message.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  panel.append(
    h("div.panel-bar", {}, h("span.grow", {}, `${message.headers.length} fields, decoded, in the order they came`), iconButton("copy", "Copy all", () => copy(all, "Header copied"), { "data-tip-side": "end" })),
    h(
      "div.headers-box",
      {},
      h(
        "table.headers",
        {},
        h("caption.sr-only", {}, "Header fields"),
        h(
          "tbody",
          {},
          message.headers.map(([name, value]) =>
            h(
              KEY_HEADERS.has(name.toLowerCase()) ? "tr.key" : "tr",
              {},
              h("th", { scope: "row" }, name),
              h("td", {}, value.replace(/\r?\n[ \t]+/g, " ")),
              h("td.tool", {}, h("button.icon-button.small", { type: "button", "aria-label": `Copy ${name}`, title: "Copy", onclick: () => copy(value, `${name} copied`) }, icon("copy"))),
            ),
          ),
        ),
      ),
    ),
  );
}

function parts(panel, message) {
  const depth = new Map();
  const list = h("ul.parts", { "aria-label": "MIME parts" });
  for (const part of message.parts) {
    depth.set(part.index, part.parent === null || part.parent === undefined ? 0 : (depth.get(part.parent) ?? 0) + 1);
    list.append(partRow(message, part, depth.get(part.index)));
  }
  panel.append(message.parts.length ? list : nothing("file", "No parts", "The message has no body."));
}

function partRow(message, part, depth) {
  const isContainer = part.content_type.startsWith("multipart/");
  const where = address(`messages/${message.id}/parts/${part.index}`);
  const name = part.filename ? fileName(part.filename) : null;
  const isPicture = PICTURES.has(part.content_type);
  const facts = [name ? part.content_type : null, part.charset, part.disposition, part.content_id ? `cid:${part.content_id}` : null].filter(Boolean);
  const row = h(
    isContainer ? "li.part.container" : "li.part",
    {},
    h("span.part-kind", {}, isPicture ? h("img", { src: where, alt: "", loading: "lazy" }) : icon(kindOf(part.content_type))),
    h("span.part-name", {}, h("strong", {}, bdi(name ?? part.content_type, { title: name })), facts.length ? h("small", {}, facts.join(" · ")) : null),
    h("span.part-size", {}, isContainer ? "" : size(part.size)),
    h(
      "span.part-tools",
      {},
      isContainer ? null : h("a.icon-button", { href: where, download: name ?? `part-${part.index}`, "aria-label": `Download ${name ?? part.content_type}`, title: "Download" }, icon("download")),
    ),
  );
  row.style.paddingInlineStart = `${0.5 + Math.min(depth, 8) * 1.5}rem`;
  return row;
}

function kindOf(type) {
  if (type.startsWith("multipart/")) return "branch";
  if (type.startsWith("image/")) return "image";
  if (type === "text/html") return "code";
  if (type.startsWith("text/")) return "text";
  return type.startsWith("message/") ? "mail" : "file";
}

async function raw(panel, message, view) {
  const octets = await getRaw(message.id, view.signal);
  const source = decode(octets);
  const body = h("div.source");
  panel.append(
    h("div.panel-bar", {}, h("span.grow", {}, `${size(octets.length)}, as it came`), iconButton("copy", "Copy the source", () => copy(source, "Source copied"), { "data-tip-side": "end" })),
    body,
  );
  shorten(panel, body, source, coloured);
}

/** As UTF-8 where it is that, else octet by octet. */
function decode(octets) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(octets);
  } catch {
    return new TextDecoder("windows-1252").decode(octets);
  }
}

function coloured(source) {
  const header = h("div");
  const end = /\r?\n\r?\n/.exec(source)?.index ?? source.length;
  for (const line of source.slice(0, end).split(/(?<=\n)/)) {
    const name = /^[!-9;-~]+:/.exec(line)?.[0] ?? "";
    header.append(...(name ? [h("span.name", {}, name)] : []), line.slice(name.length));
  }
  // The line end of the last field, which the block has anyway, and the empty line, which stays.
  return [header, ...chunks(source.slice(end).replace(/^\r?\n/, "")).map((chunk) => h("div.chunk.body", {}, chunk))];
}

async function session(panel, message, view) {
  if (!message.session_id) {
    panel.append(nothing("session", "No session brought this message", "It was uploaded or imported."));
    return;
  }
  try {
    panel.append(...drawSession(await getSession(message.session_id, view.signal)));
  } catch (error) {
    if (error.status !== 404) throw error;
    panel.append(nothing("session", "There is no record of the session", "The message was uploaded or imported, or the record has been dropped."));
  }
}
