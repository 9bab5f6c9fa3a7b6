// Connect: what to type or paste so that a program uses this relayd, with the right URL, key and model.

import { h } from "../dom.js";
import { live, servedNames, session } from "../api.js";
import { copyButton } from "../parts.js";

const KEY = "YOUR_KEY";

export function enter() {}

export function view(context) {
  const { query } = context.place(), names = servedNames();
  const model = names.includes(query.get("model")) ? query.get("model") : names[0] || "MODEL";
  const url = location.origin, key = live.state.status.keyed ? KEY : "unused";
  const all = snippets(url, key, model);
  const at = Object.keys(all).includes(query.get("as")) ? query.get("as") : "curl";
  const { note, code, file } = all[at];
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Connect"),
      h("label", {}, "Model", h("select", { value: model, onchange: (event) => context.remember("model", event.target.value) }, (names.length ? names : ["MODEL"]).map((name) => h("option", { key: name, value: name, selected: name === model }, name))))),
    h("p", {}, "Base URL ", h("code", {}, `${url}/v1`), " · key ", h("code", {}, key), live.state.status.keyed ? [" (", h("a", { href: "/ui/keys" }, "make one"), ")"] : " (any: none is needed on this machine)", " · model ", h("code", {}, model)),
    h("div", { class: "tabs", role: "tablist", "aria-label": "Program" }, Object.keys(all).map((name) => h("button", { key: name, type: "button", role: "tab", id: `tab-${name}`, "aria-selected": name === at ? "true" : "false", "aria-controls": "snippet", onclick: () => context.remember("as", name) }, all[name].name))),
    h("section", { id: "snippet", role: "tabpanel", "aria-label": all[at].name },
      h("p", { class: "hint" }, note, file && [" ", h("code", {}, file)]),
      h("div", { class: "snippet" }, h("pre", { tabindex: "0", "aria-label": "snippet" }, h("code", {}, code)), copyButton(code))),
    session.inference_key && h("p", { class: "hint" }, "Each program should have a key of its own: it can then be limited and revoked alone."),
  ];
}

function snippets(url, key, model) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }], stream: true });
  const auth = key === KEY ? ` \\\n  -H 'Authorization: Bearer ${key}'` : "";
  return {
    curl: { name: "curl", note: "Works from any shell.", code: `curl -N ${url}/v1/chat/completions \\\n  -H 'Content-Type: application/json'${auth} \\\n  -d ${quoted(body)}` },
    python: { name: "Python", note: "With the package openai.", code: `from openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(url + "/v1")}, api_key=${JSON.stringify(key)})\nfor chunk in client.chat.completions.create(\n    model=${JSON.stringify(model)},\n    messages=[{"role": "user", "content": "Hello!"}],\n    stream=True,\n):\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)` },
    node: { name: "Node", note: "With the package openai.", code: `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: ${JSON.stringify(url + "/v1")}, apiKey: ${JSON.stringify(key)} });\nconst stream = await client.chat.completions.create({\n  model: ${JSON.stringify(model)},\n  messages: [{ role: "user", content: "Hello!" }],\n  stream: true,\n});\nfor await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");` },
    claude: { name: "Claude Code", note: "Variables of the shell that starts it.", code: `export ANTHROPIC_BASE_URL=${url}\nexport ANTHROPIC_AUTH_TOKEN=${key}\nexport ANTHROPIC_MODEL=${quoted(model)}\nexport ANTHROPIC_SMALL_FAST_MODEL=${quoted(model)}\nexport CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1\nclaude` },
    codex: { name: "Codex CLI", note: "A provider in", file: "~/.codex/config.toml", code: `model = ${JSON.stringify(model)}\nmodel_provider = "relayd"\n\n[model_providers.relayd]\nname = "relayd"\nbase_url = ${JSON.stringify(url + "/v1")}\nenv_key = "RELAYD_API_KEY"\nwire_api = "responses"\n\n# before it starts: export RELAYD_API_KEY=${key}` },
    openwebui: { name: "Open WebUI", note: "Settings → Connections → OpenAI API, or when it is started:", code: `docker run -d -p 3000:8080 --add-host=host.docker.internal:host-gateway \\\n  -e OPENAI_API_BASE_URL=${url.replace("127.0.0.1", "host.docker.internal").replace("localhost", "host.docker.internal")}/v1 \\\n  -e OPENAI_API_KEY=${key} \\\n  -v open-webui:/app/backend/data ghcr.io/open-webui/open-webui:main\n# relayd must listen where the container reaches it (server.listen, server.allowed_hosts)` },
    continue: { name: "Continue", note: "A model in", file: "~/.continue/config.yaml", code: `models:\n  - name: ${model}\n    provider: openai\n    model: ${model}\n    apiBase: ${url}/v1\n    apiKey: ${key}\n    roles: [chat, edit, apply]` },
    aider: { name: "aider", note: "Variables of the shell that starts it.", code: `export OPENAI_API_BASE=${url}/v1\nexport OPENAI_API_KEY=${key}\naider --model ${quoted("openai/" + model)}` },
    litellm: { name: "LiteLLM", note: "A model in", file: "config.yaml", code: `model_list:\n  - model_name: ${model}\n    litellm_params:\n      model: openai/${model}\n      api_base: ${url}/v1\n      api_key: ${key}` },
    homeassistant: { name: "Home Assistant", note: "relayd speaks Ollama's API: add the integration “Ollama” with this URL, and choose the model.", code: `${url}` },
  };
}
