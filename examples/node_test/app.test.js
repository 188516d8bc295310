// Start `ehlo catch`, then `npm install` and `npm test`.
// Any language does it in the same way: two requests, and nothing is polled.
"use strict";

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const { sendCode } = require("./app.js");

const API = `${process.env.EHLO_INBOX_URL ?? "http://127.0.0.1:8026"}/api/v1`;
let inbox;

async function api(path, options) {
  const response = await fetch(`${API}/${path}`, options);
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}

// An inbox of our own: with a login for the application, and deleted with all its mail in the end.
before(async () => {
  inbox = await api("inboxes", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ttl: 600 }),
  });
});
after(() => api(`inboxes/${inbox.name}`, { method: "DELETE" }));

test("the code is in the mail", async () => {
  const { host, port, login, password } = inbox.smtp;
  const code = await sendCode({ host, port, auth: { user: login, pass: password } }, "ann@example.com");

  const query = new URLSearchParams({ inbox: inbox.name, to: "ann@example.com", subject: "/code/", after: 0, timeout: 5 });
  const { message, arrived } = await api(`wait?${query}`);

  assert.ok(message, `it did not come, but ${JSON.stringify(arrived)}`);
  assert.deepEqual(message.codes, [code]);
  assert.deepEqual(message.rcpt_tos, ["ann@example.com"]);
});

test("nobody else gets it", async () => {
  const { messages } = await api(`messages?inbox=${inbox.name}`);
  assert.equal(messages.length, 1);
});
