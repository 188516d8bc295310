// The server, as functions. Knows addresses and errors; does not know what is shown.

const BASE = new URL("api/v1/", document.baseURI);

/** What the server answered when it did not do as asked; status 0 if it could not be reached. */
export class ApiError extends Error {
  constructor(status, code, message, at = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.at = at;
  }
}

/** The address of something under the API; empty values of the query are left out. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url.href;
}

async function request(path, { method = "GET", query, json, body, type, signal } = {}) {
  const headers = {};
  if (json !== undefined) headers["content-type"] = "application/json";
  if (type) headers["content-type"] = type;
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers,
      body: json === undefined ? body : JSON.stringify(json),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "offline", "The server cannot be reached");
  }
  if (response.ok) return response;
  const error = await response.json().then((answer) => answer.error, () => null);
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim();
  throw new ApiError(response.status, error?.code ?? "error", error?.message ?? fallback, error?.at ?? null);
}

const json = async (path, options) => (await request(path, options)).json();

export const getInfo = (signal) => json("info", { signal });
export const listMessages = ({ inbox, q, limit, before, signal }) =>
  json("messages", { query: { inbox, q, limit, before }, signal });
export const getMessage = (id, signal) => json(`messages/${id}`, { signal });
export const getReport = (id, signal, sending = {}) => json(`messages/${id}/report`, { signal, query: sending });
export const getRaw = async (id, signal) => new Uint8Array(await (await request(`messages/${id}/raw`, { signal })).arrayBuffer());
export const patchMessages = ({ inbox, ...change }) => json("messages", { method: "PATCH", query: { inbox }, json: change });
export const deleteMessages = (which) => json("messages", { method: "DELETE", query: which });
export const uploadMessage = (inbox, body) =>
  json("messages", { method: "POST", query: { inbox }, body, type: "message/rfc822" });
export const importMbox = (inbox, body) => json("import", { method: "POST", query: { inbox }, body, type: "application/mbox" });
export const releaseMessage = (id, where) => json(`messages/${id}/release`, { method: "POST", json: where });
export const listSessions = ({ inbox, refused, limit, before, signal }) =>
  json("sessions", { query: { inbox, refused: refused ? 1 : null, limit, before }, signal });
export const getSession = (id, signal) => json(`sessions/${encodeURIComponent(id)}`, { signal });
export const getFaults = () => json("faults");
export const setFaults = (toml) => json("faults", { method: "PUT", json: { toml } });
export const clearFaults = () => request("faults", { method: "DELETE" });
export const getFired = (limit) => json("faults/log", { query: { limit } });
export const createInbox = (wish) => json("inboxes", { method: "POST", json: wish });
export const deleteInbox = (name) => request(`inboxes/${encodeURIComponent(name)}`, { method: "DELETE" });
