// The palette (Ctrl-K): every page and every action, by typing a part of its words.

import { h, render } from "./dom.js";
import { act, commandOf, matches, verbLabel } from "./parts.js";

export function open(context, pages) {
  const box = document.createElement("dialog");
  box.className = "palette";
  box.setAttribute("aria-label", "Everything that can be done");
  let text = "", at = 0;
  const entries = actions(context, pages);
  const close = () => { box.close(); box.remove(); };
  const run = (entry) => { close(); entry.run(); };
  const draw = () => {
    const found = entries.filter((one) => matches(text, one.label, one.command)).slice(0, 12);
    at = Math.max(0, Math.min(at, found.length - 1));
    render(box,
      h("input", {
        type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-activedescendant": found.length ? `palette-${at}` : null,
        "aria-label": "What to do", placeholder: "What to do, or a command …", ref: (node) => setTimeout(() => node.focus()),
        oninput: (event) => { text = event.target.value; at = 0; draw(); },
        onkeydown: (event) => {
          if (event.key === "ArrowDown") { at += 1; draw(); event.preventDefault(); }
          else if (event.key === "ArrowUp") { at -= 1; draw(); event.preventDefault(); }
          else if (event.key === "Enter" && found[at]) { event.preventDefault(); run(found[at]); }
          else if (event.key === "Escape") { event.preventDefault(); close(); }
        },
      }),
      h("ul", { id: "palette-list", role: "listbox", "aria-label": "Actions" }, found.map((one, i) => h("li", { key: one.label, id: `palette-${i}`, role: "option", "aria-selected": i === at ? "true" : "false", onclick: () => run(one) }, h("span", {}, one.label), h("code", {}, one.command)))),
      !found.length && h("p", { class: "hint" }, "Nothing matches."));
  };
  box.addEventListener("cancel", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) close(); });
  document.body.append(box);
  draw();
  box.showModal();
}

function actions(context, pages) {
  const found = pages.map(([path, name]) => ({ label: `Go to ${name}`, command: `/ui/${path}`, run: () => context.go(path) }));
  const state = context.live.state;
  const add = (verb, target, before) => found.push({ label: `${verbLabel(verb)} ${target}`, command: commandOf(verb, target), run: () => act(verb, target, before) });
  for (const model of Object.values((state && state.status.models) || {})) {
    found.push({ label: `Try ${model.name}`, command: `relayd chat ${model.name}`, run: () => context.go(`playground?model=${encodeURIComponent(model.name)}`) });
    add("load", model.name);
    add("unload", model.name, "It leaves memory after its requests; a request brings it back.");
    add(model.pinned ? "unpin" : "pin", model.name);
    for (const replica of Object.values(model.replicas || {})) {
      add("restart", replica.name, "Its requests are finished first.");
      add("drain", replica.name, "It stops after its last request, and stays down until it is started.");
      add("start", replica.name);
      found.push({ label: `Log of ${replica.name}`, command: `relayd logs ${replica.name}`, run: () => context.go(`logs?target=${encodeURIComponent(replica.name)}`) });
    }
  }
  return found;
}
