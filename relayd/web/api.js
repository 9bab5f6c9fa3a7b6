// How the page talks with relayd: the session, the administrators' API, and the live state.

const TOKEN = "relayd.csrf";

export const session = { csrf: read(), name: "", inference_key: "", version: "" };

function read() {
  try { return localStorage.getItem(TOKEN) || ""; } catch { return ""; }
}

function keep(report) {
  Object.assign(session, report);
  try { localStorage.setItem(TOKEN, session.csrf); } catch { /* a private window: it lasts as long as the page */ }
}

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Log in with {key} or {link}. */
export async function logIn(body) {
  const answer = await fetch("/ui/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  keep(await decoded(answer));
}

/** Take up the session of the cookie; false where there is none. */
export async function resume() {
  if (!session.csrf) return false;
  try {
    keep(await call("GET", "/ui/session"));
    return true;
  } catch (error) {
    if (error.status === 401 || error.status === 403) return false;
    throw error;
  }
}

export async function logOut() {
  await fetch("/ui/session", { method: "DELETE" });
  session.csrf = "";
  try { localStorage.removeItem(TOKEN); } catch { /* nothing was kept */ }
}

function headers(more) {
  return { "X-Relayd-CSRF": session.csrf, ...more };
}

/** Call a verb and return its answer. */
export async function call(method, path, body) {
  const more = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers: headers(more), body: body === undefined ? undefined : JSON.stringify(body) });
  return decoded(answer);
}

async function decoded(answer) {
  const text = await answer.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { body = null; }
  if (answer.ok) return body;
  const error = (body && body.error) || {};
  throw new ApiError(answer.status, error.code || "", error.message || `relayd answered ${answer.status}`);
}

/** Follow an event stream; yields each event's data. Ends when the server ends it, or `signal` is aborted. */
export async function* follow(path, { signal, method = "GET", body, own } = {}) {
  const answer = await fetch(path, {
    method, signal, body: body && JSON.stringify(body),
    headers: own || headers(body ? { "Content-Type": "application/json" } : {}),
  });
  if (!answer.ok) { await decoded(answer); return; }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      for (const line of event.split("\n")) {
        if (line.startsWith("data: ")) {
          const data = line.slice(6);
          if (data === "[DONE]") return;
          yield JSON.parse(data);
        } else if (line.startsWith(": ")) {
          yield { comment: line.slice(2) };
        }
      }
    }
  }
}

/** Apply a merge patch (RFC 7396); unchanged parts stay the same objects. */
export function patched(before, patch) {
  const result = Object.assign(Object.create(null), before);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (typeof value === "object" && !Array.isArray(value)) result[name] = patched(isObject(result[name]) ? result[name] : {}, value);
    else result[name] = value;
  }
  return result;
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** The live state: `live.state` is the last one, `live.trend` what headline plots need. */
export const live = { state: null, revision: 0, connected: false, trend: { tokens: [], running: [], waiting: [] }, listeners: new Set() };

/** Every model that is served, those of other machines too. */
export function servedNames() {
  return [...new Set([...Object.keys(live.state.status.models || {}), ...Object.keys(live.state.models || {})])];
}

const TREND = 240;

function told() {
  for (const listener of live.listeners) listener();
}

function note() {
  const t = live.trend, models = Object.values(live.state.models || {});
  push(t.tokens, live.state.tokens_per_second || 0);
  push(t.running, models.reduce((sum, one) => sum + (one.running || 0), 0));
  push(t.waiting, models.reduce((sum, one) => sum + (one.waiting || 0), 0));
}

function push(list, value) {
  list.push(value);
  if (list.length > TREND) list.shift();
}

let following = null;

/** Follow the live state while the page is visible; it is followed once, whatever calls this. */
export async function watch(onRefused) {
  if (following) return;
  const stop = (following = new AbortController());
  let pause = 500;
  while (!stop.signal.aborted) {
    try {
      for await (const event of follow("/admin/live", { signal: stop.signal })) {
        if (event.comment !== undefined) continue;
        if (event.state) { live.state = patched({}, event.state); live.revision = event.revision; }
        else if (event.patch && event.revision === live.revision + 1) { live.state = patched(live.state, event.patch); live.revision = event.revision; }
        live.connected = true;
        pause = 500;
        note();
        told();
      }
    } catch (error) {
      if (stop.signal.aborted) return;
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) { unwatch(); onRefused(); return; }
    }
    live.connected = false;
    told();
    await new Promise((go) => setTimeout(go, pause));
    pause = Math.min(8000, pause * 2);
  }
}

export function unwatch() {
  if (following) following.abort();
  following = null;
  live.connected = false;
}
