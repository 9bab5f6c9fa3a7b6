// Models: what is on this disk, what the catalogue has, what fits here and why not, and pulls with their progress.

import { h } from "../dom.js";
import { call, live } from "../api.js";
import { button, commandLine, empty, matches, notice, table } from "../parts.js";
import { bytes } from "../format.js";
import { pull, pullsView, watchPulls } from "../pulls.js";

let found = null, error = "";

export async function enter(context) {
  watchPulls(context, () => read(context));
  if (!found) await read(context);
}

async function read(context) {
  try { found = await call("GET", "/admin/catalog"); error = ""; } catch (fault) { error = fault.message; }
  context.draw();
}

export function view(context) {
  const { query } = context.place(), filter = query.get("q") || "", only = query.get("show") || "disk";
  const rows = ((found && found.models) || []).filter((one) => (only === "disk" ? one.on_disk : only === "fits" ? one.fits : true) && matches(filter, one.name, one.quant || "", ...(one.tags || [])));
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Models"),
      h("div", { class: "row" },
        h("select", { "aria-label": "Which", value: only, onchange: (event) => context.remember("show", event.target.value) }, [["disk", "on this disk"], ["fits", "what fits here"], ["all", "the whole catalogue"]].map(([value, text]) => h("option", { key: value, value, selected: value === only }, text))),
        h("input", { type: "search", "aria-label": "Filter models", placeholder: "Filter  /", value: filter, oninput: (event) => context.remember("q", event.target.value) }),
        button("Read again", () => { found = null; read(context); context.draw(); }, { title: "$ relayd models --all" }))),
    pullsView(context),
    h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); const field = event.target.elements.model; if (field.value.trim()) pull(context, field.value.trim(), () => read(context)); field.value = ""; } },
      h("input", { name: "model", "aria-label": "Model to pull", placeholder: "qwen3-8b:Q4_K_M, hf:OWNER/REPO or a URL", class: "wide" }), h("button", { type: "submit" }, "Pull")),
    error && h("p", { class: "bad", role: "alert" }, error),
    !found && !error ? h("p", { class: "loading" }, "Reading this disk and the catalogue …")
      : rows.length ? table("Models", ["Model", "Quantization", { text: "Size", num: true }, "Where", "For", "Fits", ""], rows.slice(0, 300).map((one) => ({ cells: row(context, one) })), { rowKey: (i) => rows[i].name + rows[i].quant + rows[i].where + i })
        : only === "disk" && !filter ? empty("No model on this disk", "Pull one by its name, or look at what fits this machine.", h("p", { class: "buttons" }, h("a", { class: "button primary", href: "/ui/recommend" }, "Recommend"), button("What fits here", () => context.remember("show", "fits")))) : h("p", { class: "hint" }, "Nothing matches."),
    rows.length > 300 && h("p", { class: "hint" }, `${rows.length - 300} more: filter them.`),
    ((found && found.unfinished) || []).map((one) => h("p", { class: "hint", key: JSON.stringify(one) }, `Unfinished: ${one.name || one}`)),
    commandLine("relayd models --all"),
  ];
}

function row(context, one) {
  const served = Object.keys(live.state.status.models || {}).includes(one.name);
  return [
    one.name, one.quant || "–", bytes(one.bytes), one.on_disk ? one.where : "catalogue", (one.tags || []).join(", "),
    one.fits === false ? h("span", { class: "warn" }, "✕ too large") : one.fits ? h("span", { class: "good" }, "● yes") : "–",
    served ? h("a", { href: `/ui/?q=${encodeURIComponent(one.name)}` }, "served") : one.on_disk ? button("Serve", () => serve(one.name), { title: "written to models.toml, and served at once" }) : button("Pull", () => pull(context, one.name, () => read(context)), { title: `$ relayd pull ${one.name}` }),
  ];
}

export async function serve(name) {
  try {
    const done = await call("POST", "/admin/models", { name });
    notice(done.message || `${name} is served.`);
    for (const [replica, why] of Object.entries(done.not_started || {})) notice(`${replica}: ${why}`, { bad: true });
    return true;
  } catch (fault) {
    notice(fault.message, { bad: true });
    return false;
  }
}
