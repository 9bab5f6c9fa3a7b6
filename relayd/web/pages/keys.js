// Keys and usage: who may ask what, and what each key has used, by day.

import { h } from "../dom.js";
import { call } from "../api.js";
import { ask, button, commandLine, copyButton, empty, matches, notice, show, table } from "../parts.js";
import { count, day } from "../format.js";

const DAYS = 30; // of usage

function dayBefore(days) {
  return new Date(Date.now() - days * 86400e3).toISOString().slice(0, 10);
}

let keys = null, usage = null, error = "";

export async function enter(context) {
  await read(context);
}

async function read(context) {
  try {
    [keys, usage] = await Promise.all([call("GET", "/admin/keys"), call("GET", `/admin/usage?since=${dayBefore(DAYS - 1)}`)]);
    error = "";
  } catch (fault) { error = fault.message; }
  context.draw();
}

export function view(context) {
  const filter = context.place().query.get("q") || "";
  if (error) return h("p", { class: "bad", role: "alert" }, error);
  if (!keys) return h("p", { class: "loading" }, "Reading the keys …");
  const found = keys.keys.filter((one) => matches(filter, one.name, one.id, ...(one.rights.scopes || ["inference"])));
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Keys and usage"),
      h("div", { class: "row" }, h("input", { type: "search", "aria-label": "Filter keys", placeholder: "Filter  /", value: filter, oninput: (event) => context.remember("q", event.target.value) }), button("New key", () => create(context), { kind: "primary", title: "$ relayd keys create NAME" }))),
    found.length ? table("Keys", ["Name", "Begins with", "For", "Models", "Limits", "Made", "Last used", ""], found.map((one) => ({ class: one.revoked ? "dim" : "", cells: row(context, one) })), { rowKey: (i) => found[i].id })
      : empty(filter ? "No key matches" : "No key yet", filter ? "" : "Without keys, every program on this machine may use the models, and no other machine. The first key for models ends that: each program then needs one."),
    h("section", { "aria-labelledby": "usage-title" }, h("h2", { id: "usage-title" }, "Usage, the last 30 days"), usageView()),
  ];
}

function row(context, one) {
  const rights = one.rights, limits = rights.limits || {};
  const texts = [...Object.entries(limits).map(([name, value]) => `${name} ${count(value)}`), ...(rights.quotas || []).map((q) => `${count(q.amount)} ${q.what}/${q.period}`)];
  return [
    [one.name, one.revoked && h("span", { class: "tag" }, "revoked")], h("code", {}, `${one.prefix}…`), (rights.scopes || ["inference"]).join(", "), (rights.models || []).join(", ") || "all",
    texts.join(", ") || "none", day(one.created_at), one.last_used_at ? day(one.last_used_at) : "never",
    one.revoked ? "" : h("span", { class: "buttons" }, button("Limits", () => limit(context, one)), button("Rotate", () => rotate(context, one)), button("Revoke", () => revoke(context, one), { kind: "danger" })),
  ];
}

async function create(context) {
  const body = h("div", { class: "fields" },
    h("label", {}, "Name", h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._:\\-]*", placeholder: "laptop" })),
    h("label", {}, "For", h("select", { name: "scope" }, h("option", { value: "inference" }, "models"), h("option", { value: "metrics" }, "figures (/metrics)"), h("option", { value: "admin" }, "administration"))),
    h("label", {}, "Models (patterns, empty for all)", h("input", { name: "models", placeholder: "qwen*, llama-3*" })),
    h("label", {}, "Requests a minute (empty for no limit)", h("input", { name: "rpm", type: "number", min: 1 })),
    h("label", {}, "Days until it expires (empty for never)", h("input", { name: "days", type: "number", min: 1 })));
  const given = await ask({ title: "New key", body, confirm: "Make it" });
  if (!given) return;
  const rights = { scopes: [given.scope] };
  const models = given.models.split(/[\s,]+/).filter(Boolean);
  if (models.length) rights.models = models;
  if (given.rpm) rights.limits = { rpm: Number(given.rpm) };
  if (given.days) rights.expires = Math.round(Date.now() / 1000 + Number(given.days) * 86400);
  try {
    const made = await call("POST", "/admin/keys", { name: given.name, ...rights });
    secret(made);
  } catch (fault) { notice(fault.message, { bad: true }); }
  await read(context);
}

function secret(made) {
  show(`Key ${made.name}`, h("div", {}, h("p", {}, "This is shown once. Keep it where the program finds it."), h("div", { class: "command" }, h("code", { class: "secret" }, made.secret), copyButton(made.secret)), h("p", { class: "hint" }, "Programs send it as ", h("code", {}, "Authorization: Bearer KEY"), ". ", h("a", { href: "/ui/connect" }, "Connect a program"), ".")));
}

async function limit(context, one) {
  const limits = one.rights.limits || {};
  const field = (name, label) => h("label", {}, label, h("input", { name, type: "number", min: 1, value: limits[name] ?? "" }));
  const given = await ask({ title: `Limits of ${one.name}`, body: h("div", { class: "fields" }, field("rpm", "Requests a minute"), field("tpm", "Tokens a minute"), field("in_flight", "Requests at the same time"), field("queued", "Waiting requests")), confirm: "Set", command: `relayd keys limits ${one.name} --limit rpm=60` });
  if (!given) return;
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value).map(([name, value]) => [name, Number(value)]));
  await change(context, () => call("PUT", `/admin/keys/${one.id}`, { limits: set }), `The limits of ${one.name} hold from the next request on.`);
}

async function rotate(context, one) {
  if (!(await ask({ title: `Rotate ${one.name}?`, body: h("p", {}, "It gets a new secret; the old one is refused from the next request on."), confirm: "Rotate", danger: true, command: `relayd keys rotate ${one.name}` }))) return;
  try { secret(await call("POST", `/admin/keys/${one.id}/rotate`, {})); } catch (fault) { notice(fault.message, { bad: true }); }
  await read(context);
}

async function revoke(context, one) {
  if (!(await ask({ title: `Revoke ${one.name}?`, body: h("p", {}, "Its next request is refused; answers that have begun are finished. This cannot be taken back."), confirm: "Revoke", danger: true, command: `relayd keys revoke ${one.name}` }))) return;
  await change(context, () => call("DELETE", `/admin/keys/${one.id}`), `${one.name} is revoked.`);
}

async function change(context, work, done) {
  try { await work(); notice(done); } catch (fault) { notice(fault.message, { bad: true }); }
  await read(context);
}

function usageView() {
  const rows = (usage && usage.rows) || [];
  if (!rows.length) return h("p", { class: "hint" }, "Nothing was used in this time.");
  const name = (key) => (key ? usage.names[key] || key : "without a key");
  const days = Array.from({ length: DAYS }, (_, i) => dayBefore(DAYS - 1 - i)), owners = [...new Set(rows.map((one) => one.key))];
  const tokens = (one) => one.prompt_tokens + one.completion_tokens;
  const sum = (list) => list.reduce((all, one) => all + tokens(one), 0);
  const top = Math.max(1, ...days.map((d) => sum(rows.filter((one) => one.day === d))));
  const width = 640, height = 150, step = width / DAYS;
  const bars = days.flatMap((d, i) => {
    let y = height;
    return owners.map((key, j) => {
      const size = (sum(rows.filter((one) => one.day === d && one.key === key)) / top) * (height - 10);
      y -= size;
      return size > 0 && h("rect", { key: `${d}${key}`, class: `bar${j % 8}`, x: (i * step + 2).toFixed(1), y: y.toFixed(1), width: (step - 4).toFixed(1), height: size.toFixed(1) }, h("title", {}, `${d}, ${name(key)}: ${count(sum(rows.filter((one) => one.day === d && one.key === key)))} tokens`));
    });
  });
  const totals = owners.map((key) => rows.filter((one) => one.key === key)).map((list) => ({ key: list[0].key, requests: list.reduce((s, one) => s + one.requests, 0), prompt: list.reduce((s, one) => s + one.prompt_tokens, 0), cached: list.reduce((s, one) => s + one.cached_tokens, 0), out: list.reduce((s, one) => s + one.completion_tokens, 0) }));
  return [
    h("div", { class: "card" }, h("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `Tokens a day, ${days[0]} to ${days[DAYS - 1]}, at most ${count(top)}` }, bars),
      h("p", { class: "legend" }, owners.map((key, j) => h("span", { key: key || "-" }, h("i", { class: `dot hue${j % 8}` }), ` ${name(key)}`)), h("span", { key: "_top" }, `${days[0]} to ${days[DAYS - 1]}, highest day ${count(top)} tokens`))),
    table("Usage by key", ["Key", { text: "Requests", num: true }, { text: "Prompt tokens", num: true }, { text: "of them cached", num: true }, { text: "Answer tokens", num: true }], totals.map((one) => ({ cells: [name(one.key), count(one.requests), count(one.prompt), count(one.cached), count(one.out)] }))),
    commandLine("relayd usage --since 30d"),
  ];
}
