// Reads openapi.json and makes a form of each endpoint. The key stays in this page.
"use strict";
let key = "";
const at = (id) => document.getElementById(id);
const headers = () => (key ? { "X-API-Key": key } : {});

function element(name, attributes, ...inside) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...inside);
  return made;
}

// Text with `code` in it.
function words(text) {
  return text.split("`").map((part, place) => (place % 2 ? element("code", {}, part) : part));
}

function field(param, id) {
  const { schema } = param;
  const type = { integer: "number", number: "number" }[schema.type] || (schema.format === "date" ? "date" : "text");
  const choices = schema.enum || (schema.type === "boolean" ? ["true", "false"] : null);
  const input = choices
    ? element("select", { id, name: param.name }, element("option", { value: "" }, ""), ...choices.map((choice) => element("option", {}, choice)))
    : element("input", { id, name: param.name, type, ...(type === "number" ? { step: schema.type === "integer" ? 1 : "any" } : {}) });
  if (param.required) input.required = true;
  if (schema.default !== undefined && !choices) input.placeholder = schema.default;
  if (type === "number" && schema.maximum < 1e15) Object.assign(input, { min: schema.minimum, max: schema.maximum });
  const hint = [param.required ? "required" : "", param.description].filter(Boolean).join(" · ");
  return element("div", {}, element("label", { for: id }, param.name), input, element("p", { class: "hint" }, ...words(hint)));
}

function endpoint(path, get) {
  const name = get.operationId || path.slice(1);
  const form = element("form", {}, element("div", { class: "fields" }, ...(get.parameters || []).map((param) => field(param, `${name}-${param.name}`))), element("button", {}, "Ask"));
  const answer = element("div", { "aria-live": "polite" });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const address = `${path.slice(1)}${query.size ? "?" : ""}${query}`;
    const curl = `curl -H "X-API-Key: $KEY" '${new URL(address, document.baseURI)}'`;
    const began = performance.now();
    let said;
    try {
      const response = await fetch(address, { headers: headers() });
      const is_text = /json|csv/.test(response.headers.get("content-type") || "");
      let text = is_text ? await response.text() : `${(await response.arrayBuffer()).byteLength} bytes`;
      if (/json/.test(response.headers.get("content-type") || "")) text = JSON.stringify(JSON.parse(text), null, 2);
      said = `${response.status} after ${Math.round(performance.now() - began)} ms\n${text.slice(0, 20000)}`;
    } catch (error) {
      said = `no answer: ${error.message}`;
    }
    answer.replaceChildren(element("pre", { tabindex: 0 }, curl), element("pre", { tabindex: 0 }, said));
  });
  return element("details", {}, element("summary", {}, element("b", {}, `GET ${path}`), element("span", {}, get.summary || "")), element("p", { class: "hint" }, ...words(get.description || "")), form, answer);
}

async function show() {
  const response = await fetch("openapi.json", { headers: headers() });
  at("login").hidden = response.status !== 401;
  at("problem").textContent = "";
  if (!response.ok) {
    if (response.status !== 401 || key) at("problem").textContent = (await response.json()).detail;
    return;
  }
  const api = await response.json();
  at("about").replaceChildren(...words(api.info.description));
  at("endpoints").replaceChildren(...Object.entries(api.paths).map(([path, { get }]) => endpoint(path, get)));
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  show();
});
show().catch((error) => (at("problem").textContent = error.message));
