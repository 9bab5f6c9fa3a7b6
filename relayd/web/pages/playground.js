// Playground: chat with a model, or have it continue a text; shows how fast and how much came from the cache.

import { h } from "../dom.js";
import { follow, live, servedNames, session } from "../api.js";
import { button, empty } from "../parts.js";
import { percent, rate, seconds } from "../format.js";

const talk = { mode: "chat", messages: [], text: "", system: "", temperature: "", tokens: "512", running: null, error: "", figures: null, progress: "" };

export function enter() {}

export function leave() {
  if (talk.running) talk.running.abort();
}

function chosen(context) {
  const names = servedNames();
  const wanted = context.place().query.get("model");
  return names.includes(wanted) ? wanted : names.find((one) => ready(one)) || names[0] || "";
}

function ready(name) {
  const own = (live.state.status.models || {})[name];
  return !own || Object.values(own.replicas || {}).some((one) => one.state === "ready");
}

export function view(context) {
  const names = servedNames();
  if (!names.length) return empty("No model to talk with", "Once a model is served, it can be tried here.", h("p", { class: "buttons" }, h("a", { class: "button primary", href: "/ui/setup" }, "Set up")));
  const model = chosen(context);
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Playground"),
      h("div", { class: "row" },
        h("label", {}, "Model", h("select", { value: model, onchange: (event) => context.remember("model", event.target.value) }, names.map((name) => h("option", { key: name, value: name, selected: name === model }, ready(name) ? name : `${name} (not loaded)`)))),
        h("label", {}, "As", h("select", { value: talk.mode, onchange: (event) => { talk.mode = event.target.value; context.draw(); } }, h("option", { value: "chat" }, "chat"), h("option", { value: "raw" }, "text"))))),
    talk.mode === "chat" ? chatView(context, model) : rawView(context, model),
    h("details", { class: "card" }, h("summary", {}, "Settings"),
      h("div", { class: "row fields" },
        h("label", {}, "System prompt", h("textarea", { rows: 2, value: talk.system, oninput: (event) => { talk.system = event.target.value; } })),
        h("label", {}, "Tokens at most", h("input", { type: "number", min: 1, value: talk.tokens, oninput: (event) => { talk.tokens = event.target.value; } })),
        h("label", {}, "Temperature", h("input", { type: "number", min: 0, max: 2, step: 0.1, placeholder: "model's own", value: talk.temperature, oninput: (event) => { talk.temperature = event.target.value; } })))),
  ];
}

function chatView(context, model) {
  return h("section", { class: "talk", "aria-label": "Conversation" },
    h("div", { class: "messages", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Messages" },
      talk.messages.map((one, i) => h("div", { key: i, class: `message ${one.role}` }, h("div", { class: "who" }, one.role === "user" ? "You" : one.model || model), one.thinking && h("details", {}, h("summary", {}, "Thoughts"), h("p", { class: "text dim" }, one.thinking)), h("p", { class: "text" }, one.content || (talk.running ? "…" : "")))),
      !talk.messages.length && h("p", { class: "hint" }, `Write to ${model}.${ready(model) ? "" : " It is loaded for the first message."}`)),
    figuresView(),
    h("form", { class: "write", onsubmit: (event) => { event.preventDefault(); send(context, model); } },
      h("textarea", { rows: 2, "aria-label": "Message", placeholder: "Message (Enter sends, Shift-Enter is a new line)", value: talk.text, oninput: (event) => { talk.text = event.target.value; }, onkeydown: (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(context, model); } } }),
      talk.running ? button("Stop", () => talk.running.abort(), { kind: "danger" }) : h("button", { type: "submit", class: "primary" }, "Send"),
      button("Clear", () => { talk.messages = []; talk.figures = null; talk.error = ""; context.draw(); })));
}

function rawView(context, model) {
  return h("section", { class: "talk", "aria-label": "Text" },
    h("textarea", { rows: 12, "aria-label": "Text to continue", class: "raw", value: talk.text, oninput: (event) => { talk.text = event.target.value; }, placeholder: "A text; the model continues it as it stands, without a template." }),
    figuresView(),
    h("div", { class: "buttons" }, talk.running ? button("Stop", () => talk.running.abort(), { kind: "danger" }) : button("Continue", () => send(context, model), { kind: "primary" })));
}

function figuresView() {
  const f = talk.figures;
  return h("div", { class: "row figures", role: "status" },
    talk.error && h("p", { class: "bad" }, talk.error),
    talk.progress && h("p", { class: "hint" }, talk.progress),
    f && h("p", { class: "hint" }, [f.first != null && `first word after ${seconds(f.first)}`, f.rate && `${rate(f.rate)} tokens/s`, f.out && `${f.out} tokens`, f.prompt && `prompt ${f.prompt} tokens, ${percent(f.cached || 0, f.prompt)} from cache`, f.replica && `on ${f.replica}`].filter(Boolean).join(" · ")));
}

async function send(context, model) {
  if (talk.running || !talk.text.trim()) return;
  const chat = talk.mode === "chat", body = { model, stream: true, stream_options: { include_usage: true }, max_tokens: Number(talk.tokens) || 512 };
  if (talk.temperature !== "") body.temperature = Number(talk.temperature);
  let answer = null;
  if (chat) {
    talk.messages.push({ role: "user", content: talk.text.trim() });
    body.messages = [...(talk.system ? [{ role: "system", content: talk.system }] : []), ...talk.messages.filter((one) => one.content).map(({ role, content }) => ({ role, content }))];
    answer = { role: "assistant", content: "", thinking: "", model };
    talk.messages.push(answer);
    talk.text = "";
    const field = document.querySelector(".write textarea");
    if (field) field.value = "";
  } else body.prompt = talk.text;
  const stop = (talk.running = new AbortController()), begun = performance.now();
  let first = null, pieces = 0;
  Object.assign(talk, { error: "", progress: "", figures: { first: null } });
  context.draw();
  const own = { "Content-Type": "application/json", "X-Relayd-Progress": "1", ...(session.inference_key ? { Authorization: `Bearer ${session.inference_key}` } : {}) };
  try {
    for await (const event of follow(chat ? "/v1/chat/completions" : "/v1/completions", { signal: stop.signal, method: "POST", body, own })) {
      if (event.comment !== undefined) { if (first === null) talk.progress = waitingText(event.comment, model); context.draw(); continue; }
      if (event.error) throw new Error(event.error.message);
      const choice = (event.choices || [])[0];
      const piece = choice && (chat ? choice.delta && choice.delta.content : choice.text);
      const thought = chat && choice && choice.delta && choice.delta.reasoning_content;
      if (piece || thought) {
        if (first === null) { first = (performance.now() - begun) / 1000; talk.progress = ""; }
        pieces += 1;
        if (thought) answer.thinking += thought;
        if (piece && chat) answer.content += piece;
        if (piece && !chat) talk.text += piece;
        const gone = (performance.now() - begun) / 1000 - first;
        talk.figures = { first, rate: pieces > 3 && gone > 0 ? (pieces - 1) / gone : 0, out: pieces };
      }
      if (event.usage) Object.assign(talk.figures, { out: event.usage.completion_tokens, prompt: event.usage.prompt_tokens, cached: (event.usage.prompt_tokens_details || {}).cached_tokens });
      if (event.timings) Object.assign(talk.figures, { rate: event.timings.predicted_per_second });
      context.draw();
      scroll();
    }
  } catch (error) {
    if (!stop.signal.aborted) talk.error = error.message;
  }
  talk.running = null;
  talk.progress = "";
  context.draw();
}

function waitingText(comment, model) {
  const found = Object.fromEntries([...comment.matchAll(/(\w+)=(\S+)/g)].map((one) => [one[1], one[2]]));
  if (!found.state) return "";
  const words = { loading: `${model} is loading`, queued: `in the queue, place ${found.position}`, "waiting-for-memory": "waits for memory" };
  return `${words[found.state] || found.state}${found.seconds ? `, about ${seconds(Number(found.seconds))}` : ""}`;
}

function scroll() {
  const box = document.querySelector(".messages");
  if (box && box.scrollHeight - box.scrollTop - box.clientHeight < 120) box.scrollTop = box.scrollHeight;
}
