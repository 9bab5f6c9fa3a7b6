// The shell of the dashboard: logging in, navigation, keys, and which page is shown.

import { h, render } from "./dom.js";
import { live, logIn, logOut, resume, session, unwatch, watch } from "./api.js";
import { notice, show } from "./parts.js";

const PAGES = [
  ["", "Fleet", "g f", () => import("./pages/fleet.js")],
  ["requests", "Requests", "g r", () => import("./pages/requests.js")],
  ["nodes", "Nodes", "g n", () => import("./pages/nodes.js")],
  ["models", "Models", "g m", () => import("./pages/models.js")],
  ["playground", "Playground", "g p", () => import("./pages/playground.js")],
  ["connect", "Connect", "g c", () => import("./pages/connect.js")],
  ["batches", "Batches", "g b", () => import("./pages/batches.js")],
  ["keys", "Keys", "g k", () => import("./pages/keys.js")],
  ["logs", "Logs", "g l", () => import("./pages/logs.js")],
  ["recommend", "Recommend", "g o", () => import("./pages/recommend.js")],
  ["setup", "Setup", "g s", () => import("./pages/setup.js")],
];

const root = document.getElementById("app");
let page = null;       // the module of the page that is shown
let shown = "";        // its path
let refused = "";      // why the login was refused
let frame = 0;

/** Where we are: the page's path and what stands behind "?". */
export function place() {
  const path = location.pathname.replace(/^\/ui\/?/, "").replace(/\/$/, "");
  return { path, query: new URLSearchParams(location.search) };
}

/** Go to a page of the dashboard; state lives in the URL. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", `/ui/${path}`);
  arrive();
}

/** Keep one part of a page's state in the URL. */
export function remember(name, value) {
  const { path, query } = place();
  if (value) query.set(name, value); else query.delete(name);
  const text = query.toString();
  history.replaceState(null, "", `/ui/${path}${text ? "?" + text : ""}`);
  draw();
}

/** Draw again, at most once a frame. */
export function draw() {
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; drawNow(); });
}

const context = { go, remember, draw, place, live, session };

async function arrive() {
  const { path } = place();
  const found = PAGES.find((one) => one[0] === path.split("/")[0]) || PAGES[0];
  if (shown !== found[0] || !page) {
    if (page && page.leave) page.leave();
    page = null;
    shown = found[0];
    try { page = await found[3](); } catch { notice("The page could not be loaded. Is relayd running?", { bad: true }); return; }
    if (shown !== found[0]) return;
    document.title = `${found[1]} · relayd`;
  }
  if (page.enter) page.enter(context);
  drawNow();
  const main = document.getElementById("main");
  if (main) main.focus({ preventScroll: true }); // the bar at the top would cover the title
  scrollTo(0, 0);
  const current = document.querySelector("nav [aria-current]");
  if (current) current.scrollIntoView({ block: "nearest", inline: "center" });
}

function drawNow() {
  if (!session.csrf) { render(root, loginView()); return; }
  const state = live.state;
  render(root,
    h("a", { class: "skip", href: "#main" }, "Skip to the page"),
    h("header", { class: "bar" },
      h("a", { class: "brand", href: "/ui/" }, h("img", { src: "/ui/icon.svg", alt: "", width: 22, height: 22 }), h("span", {}, "relayd")),
      h("nav", { "aria-label": "Pages" }, PAGES.map(([path, name, keys]) =>
        h("a", { key: path, href: `/ui/${path}`, "aria-current": path === shown ? "page" : null, title: `Keys: ${keys}` }, name, mark(path)))),
      h("div", { class: "tools" },
        h("span", { class: live.connected ? "link on" : "link", title: live.connected ? "Figures are live." : "No connection to relayd." }, live.connected ? "live" : "offline"),
        h("button", { class: "quiet", type: "button", onclick: theme, title: "Light or dark" }, "◐"),
        h("button", { class: "quiet", type: "button", onclick: help, title: "Keys (?)" }, "?"),
        h("button", { class: "quiet", type: "button", onclick: leave, title: `Log out (${session.name})` }, "Log out"))),
    h("main", { id: "main", tabindex: "-1" }, page && (state || page.standalone) ? page.view(context) : h("p", { class: "loading" }, "Reading the fleet …")));
}

/** How many things need attention, or wait, beside a page's name. */
function mark(path) {
  const state = live.state;
  if (!state) return null;
  if (path === "") {
    const wrong = (state.attention || []).filter((one) => one.level !== "note").length;
    return wrong ? h("span", { class: "count warn", title: "needs attention" }, String(wrong)) : null;
  }
  if (path === "requests") {
    const open = Object.keys(state.requests || {}).length;
    return open ? h("span", { class: "count", title: "open requests" }, String(open)) : null;
  }
  return null;
}

function loginView() {
  const enter = async (event) => {
    event.preventDefault();
    const field = event.target.elements.key;
    refused = "";
    try { await logIn({ key: field.value.trim() }); field.value = ""; begin(); }
    catch (error) { refused = error.message; drawNow(); }
  };
  return h("main", { class: "login", id: "main" },
    h("h1", {}, h("img", { src: "/ui/icon.svg", alt: "", width: 36, height: 36 }), " relayd"),
    refused && h("p", { class: "bad", role: "alert" }, refused),
    h("form", { onsubmit: enter },
      h("label", { for: "key" }, "Key for administration"),
      h("input", { id: "key", name: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" }),
      h("button", { class: "primary", type: "submit" }, "Log in")),
    h("p", { class: "hint" }, "On the machine of relayd no key is needed: ", h("code", {}, "relayd ui"), " prints a link that opens this page once. A key is made by ", h("code", {}, "relayd keys create NAME --scope admin"), "."));
}

async function leave() {
  unwatch();
  await logOut();
  live.state = null;
  drawNow();
}

function theme() {
  const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("relayd.theme", next); } catch { /* it lasts as long as the page */ }
}

function help() {
  const keys = [["/", "filter this page"], ["Ctrl K  :", "everything that can be done"], ["?", "these keys"], ["Esc", "close, or leave the filter"], ...PAGES.map(([, name, key]) => [key, name])];
  show("Keys", h("dl", { class: "keys" }, keys.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])));
}

let first = "";

function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); palette(); return; }
  if (event.key === "Escape" && typing && event.target.type === "search") { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/") { const field = document.querySelector("main input[type=search]"); if (field) { event.preventDefault(); field.focus(); field.select(); } }
  else if (event.key === ":") { event.preventDefault(); palette(); }
  else if (event.key === "?") help();
  else if (first === "g") { const found = PAGES.find((one) => one[2] === `g ${event.key}`); if (found) go(found[0]); }
  first = event.key === "g" ? "g" : "";
}

async function palette() {
  if (!session.csrf || document.querySelector("dialog[open]")) return;
  (await import("./palette.js")).open(context, PAGES.map(([path, name]) => [path, name]));
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href^='/ui/']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button || link.hasAttribute("download")) return;
  event.preventDefault();
  const { pathname, search } = new URL(link.href);
  go(pathname.replace(/^\/ui\/?/, "") + search);
});
addEventListener("popstate", arrive);
document.addEventListener("visibilitychange", () => { if (document.hidden) unwatch(); else if (session.csrf) watch(refuse); });
live.listeners.add(draw);

function refuse() {
  session.csrf = "";
  refused = "The session has ended. Log in again.";
  drawNow();
}

async function begin() {
  watch(refuse);
  await arrive();
}

async function start() {
  try { const kept = localStorage.getItem("relayd.theme"); if (kept) document.documentElement.dataset.theme = kept; } catch { /* the system's */ }
  const token = new URLSearchParams(location.hash.slice(1)).get("link");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  try {
    if (token) await logIn({ link: token });
    else if (!(await resume())) session.csrf = "";
  } catch (error) {
    refused = error.message;
    if (!(await resume().catch(() => false))) session.csrf = "";
  }
  if (session.csrf) await begin(); else drawNow();
}

start();
