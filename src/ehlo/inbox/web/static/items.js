// Rows of the list: of a message, of a session, and of what is on its way.

import { bdi, h, icon } from "./dom.js";
import { CLOSED, link } from "./route.js";
import { badge } from "./session.js";
import { person, time } from "./words.js";

const ghost = () => h("li.row.ghost", { "aria-hidden": "true" }, h("span"), h("span.row-link", {}, h("i"), h("i"), h("i")));

/** `list` is {selection, openId, keptTab, freshIds, showsInbox, info, onPick(id, event)}. */
export function messageRows(list) {
  const isSame = (element, item) => element.shown === item;
  const row = (item) => {
    const id = String(item.id);
    const from = person(item.header_from || item.mail_from);
    const subject = item.subject || "(no subject)";
    const others = item.rcpt_tos.length - 1;
    const isNamed = list.showsInbox && !["", "default", list.info?.inbox].includes(item.inbox);
    const element = h(
      "li.row",
      { "data-unread": !item.is_read, "data-open": list.openId === item.id, "data-selected": list.selection.has(item.id), "data-new": list.freshIds.has(item.id) },
      h(
        "label.row-check",
        {},
        h("input", { type: "checkbox", tabindex: -1, checked: list.selection.has(item.id), "aria-label": `Select: ${subject}`, onclick: (event) => list.onPick(item.id, event) }),
        h("span.dot"),
      ),
      h(
        "a.row-link",
        { href: link({ ...CLOSED, message: item.id, tab: list.keptTab }), "aria-current": list.openId === item.id ? "true" : null, draggable: "false" },
        h(
          "span.row-line",
          {},
          item.is_read ? null : h("span.sr-only", {}, "Unread. "),
          h("span.row-who", {}, bdi(from.name || "(nobody)")),
          h("span.row-to", {}, "→ ", bdi(item.rcpt_tos[0] ?? "nobody"), others > 0 ? ` +${others}` : ""),
          time(item.received_at, { class: "row-time" }),
        ),
        h(
          "span.row-line",
          {},
          h("span.row-subject", {}, bdi(subject)),
          item.attachments ? h("span.row-marks", { title: `${item.attachments} attached` }, icon("clip"), item.attachments > 1 ? item.attachments : null, h("span.sr-only", {}, " attached")) : null,
        ),
        h(
          "span.row-line",
          {},
          h("span.row-snippet", {}, bdi(item.snippet || (item.is_indexed ? "No text" : " "))),
          item.tags.length || isNamed
            ? h(
                "span.row-marks",
                {},
                isNamed ? h("span.tag", {}, icon("inbox"), bdi(item.inbox)) : null,
                item.tags.slice(0, 2).map((name) => h("span.tag", {}, bdi(name))),
                item.tags.length > 2 ? `+${item.tags.length - 2}` : null,
              )
            : null,
        ),
      ),
    );
    element.shown = item;
    list.freshIds.delete(item.id);
    element.dataset.id = id;
    return element;
  };
  return { row, isSame, ghost };
}

/** `list` is {openId}. */
export function sessionRows(list) {
  const isSame = (element, item) => element.shown === item;
  const row = (item) => {
    const element = h(
      "li.row.session",
      { "data-open": list.openId === item.id },
      h("span"),
      h(
        "a.row-link",
        { href: link({ ...CLOSED, session: item.id }), "aria-current": list.openId === item.id ? "true" : null, draggable: "false" },
        h("span.row-line", {}, h("span.row-who", {}, bdi(item.helo || item.peer)), badge(item.outcome), time(item.started_at, { class: "row-time" })),
        h("span.row-line", {}, h("span.row-subject", {}, item.problem ? bdi(item.problem) : item.messages.length === 1 ? "1 message" : `${item.messages.length} messages`)),
        h("span.row-line", {}, h("span.row-snippet", {}, [item.peer, item.tls, item.login ? `login ${item.login}` : null].filter(Boolean).join(" · "))),
      ),
    );
    element.shown = item;
    return element;
  };
  return { row, isSame, ghost };
}
