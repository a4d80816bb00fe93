// The page of /demo: asks for offers over the edge, draws them, reports what was seen, and shows why.
"use strict";

const config = JSON.parse(document.querySelector("#config").textContent);
const $ = (selector) => document.querySelector(selector);
const isHttps = location.protocol === "https:" && ["", "443"].includes(location.port);
const TONES = ["#145c4c", "#e8724c", "#3b6ea8", "#9a4f86", "#a07c1c", "#6b7a74"];
const STAGES = ["status", "placement", "calendar", "criterion", "eligibility", "capping", "dedup", "content", "ranked"];
const WORDS = {
  status: "approved", placement: "has content", calendar: "within dates", criterion: "criterion", eligibility: "rules hold",
  capping: "not capped", dedup: "no duplicate", content: "can be shown", ranked: "ranked",
};
const customers = [...config.customers, { name: "Guest", about: "Not signed in: only the browser has an identity.", id: null }];
let customer = customers[0];
let answers = [];
let open = 0;

/** An element with what is in it; texts are texts, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Two ways to the edge: alloy, where it can run, and the same request by hand.

function startAlloy() {
  window.__alloyNS = ["alloy"];
  window.alloy = (...call) => new Promise((...settle) => window.alloy.q.push([...settle, call]));
  window.alloy.q = [];
  document.head.append(make("script", { src: "/demo/alloy.min.js" }));
  window.alloy("configure", {
    datastreamId: config.datastream,
    orgId: config.organisation,
    edgeDomain: location.hostname,
    thirdPartyCookiesEnabled: false,
    clickCollectionEnabled: false,
    context: ["web", "device", "environment", "placeContext"],
  });
  return {
    send: (event) => window.alloy("sendEvent", event),
    ecid: async () => (await window.alloy("getIdentity")).identity.ECID,
  };
}

function byHand() {
  const kept = () => JSON.parse(localStorage.getItem("proffer-state") ?? "[]");
  const told = { ecid: "" };
  const send = async ({ xdm = {}, data, personalization }) => {
    const query = personalization && { personalization };
    const body = {
      events: [{ xdm: { ...xdm, timestamp: new Date().toISOString() }, data, query }],
      query: { identity: { fetch: ["ECID"] } },
      meta: { state: { domain: "", cookiesEnabled: true, entries: kept() } },
    };
    const answer = await fetch(`/ee/v1/interact?configId=${config.datastream}&requestId=${crypto.randomUUID()}`, {
      method: "POST",
      headers: { "Content-Type": "text/plain; charset=UTF-8" },
      body: JSON.stringify(body),
    });
    const document = await answer.json();
    if (!answer.ok) throw new Error(document.detail);
    const payload = (type) => document.handle.filter((one) => one.type === type).flatMap((one) => one.payload);
    const entries = payload("state:store").map(({ key, value }) => ({ key, value }));
    localStorage.setItem("proffer-state", JSON.stringify(entries));
    told.ecid = payload("identity:result")[0]?.id ?? told.ecid;
    return { propositions: payload("personalization:decisions") };
  };
  return { send, ecid: async () => told.ecid };
}

const edge = config.alloy && isHttps ? startAlloy() : byHand();

async function sent(what, event) {
  const begun = performance.now();
  try {
    const result = await edge.send(event);
    note(what, `${Math.round(performance.now() - begun)} ms`);
    return result;
  } catch (error) {
    note(`${what}: ${error.message}`.slice(0, 160), "failed", true);
    throw error;
  }
}

function note(what, took, failed = false) {
  $("#log").prepend(make("li", { class: failed ? "failed" : null }, make("b", {}, what), took));
  while ($("#log").children.length > 5) $("#log").lastChild.remove();
}

function identity() {
  if (customer.id === null) return {};
  const entry = { id: customer.id, primary: true, authenticatedState: "authenticated" };
  return { identityMap: { [customer.namespace]: [entry] } };
}

// Ask, draw, report.

async function ask() {
  const places = document.querySelectorAll(".place");
  places.forEach((place) => place.classList.add("is-waiting"));
  const scopes = config.places.map((one) => one.scope);
  const data = { __proffer: { explain: true }, __adobe: { ajo: { dryRun: $("#dry").checked } } };
  try {
    const { propositions = [] } = await sent("interact · fetch", {
      xdm: { eventType: "decisioning.propositionFetch", ...identity() },
      data,
      personalization: { decisionScopes: scopes, defaultPersonalizationEnabled: false },
    });
    answers = scopes.map((scope) => propositions.find((one) => one.scope === scope));
    answers.forEach((answer, index) => draw(index, answer));
    await report("display", answers.filter(Boolean));
  } finally {
    places.forEach((place) => place.classList.remove("is-waiting"));
    show();
    $("#ecid").textContent = (await edge.ecid().catch(() => "")) || "–";
  }
}

async function report(mark, propositions, item) {
  if ($("#dry").checked || propositions.length === 0) return;
  const listed = propositions.map(({ id, scope, scopeDetails, items }) => ({
    id, scope, scopeDetails, items: (item ? [item] : items).map((one) => ({ id: one.id })),
  }));
  await sent(`interact · ${mark}`, {
    xdm: {
      eventType: { display: "decisioning.propositionDisplay", interact: "decisioning.propositionInteract" }[mark],
      ...identity(),
      _experience: { decisioning: { propositions: listed, propositionEventType: { [mark]: 1 } } },
    },
  });
}

/** Nothing but the id tells a fallback offer. */
function isFallback(item) {
  return item.id.includes(":fallback-offer:");
}

function draw(index, answer) {
  const place = document.querySelector(`[data-place="${index}"]`);
  const item = answer?.items?.[0];
  place.replaceChildren(...(item ? [content(item, index === 1 && !isFallback(item) ? "Picked for you" : ""), tag(index, answer)] : [make("p", { class: "nothing" }, "Nothing here yet.")]));
  place.querySelectorAll(".button").forEach((button) =>
    button.addEventListener("click", (event) => {
      event.preventDefault();
      report("interact", [answer], item).catch(() => {});
    }),
  );
}

function tag(index, answer) {
  return make("button", { class: "tag", type: "button", onclick: () => select(index) }, isFallback(answer.items[0]) ? "fallback offer · why?" : "why this offer?");
}

function content(item, kicker = "") {
  const { data } = item;
  if (item.schema.endsWith("-html")) {
    const drawn = make("div", { class: "drawn" });
    drawn.innerHTML = data.content; // what the library's editors wrote
    return drawn;
  }
  if (data.deliveryURL) return make("div", { class: "drawn" }, make("img", { src: data.deliveryURL, alt: item.name ?? "" }));
  if (!item.schema.endsWith("-json")) return make("div", { class: "drawn" }, make("p", {}, data.content));
  let said = {};
  try {
    said = JSON.parse(data.content);
  } catch {
    said = { text: data.content };
  }
  if (!said.headline) return make("div", { class: "drawn" }, make("pre", {}, JSON.stringify(said, null, 2)));
  return make("div", { class: "drawn" },
    kicker ? make("p", { class: "kicker" }, kicker) : null,
    make("h3", {}, said.headline),
    make("p", {}, said.text ?? ""),
    make("div", { class: "foot" },
      said.price ? make("span", { class: "price" }, said.price) : null,
      said.action ? make("a", { class: "button", href: "#" }, said.action.label) : null,
    ),
  );
}

// Why.

function select(index) {
  open = index;
  show();
}

function show() {
  $("#tabs").replaceChildren(...config.places.map((place, index) =>
    make("button", { type: "button", role: "tab", "aria-selected": String(index === open), title: place.placement, onclick: () => select(index) }, place.placement),
  ));
  const answer = answers[open];
  if (!answer) {
    $("#trace").replaceChildren(make("p", { class: "mode" }, config.places.length ? "No answer for this placement." : "This library has no live decision yet."));
    return;
  }
  const trace = answer.trace ?? [];
  $("#trace").replaceChildren(given(answer, trace), funnel(trace), candidates(trace));
}

function given(answer, trace) {
  const item = answer.items[0];
  const reason = isFallback(item)
    ? `None of ${trace.length} candidates was selected; this is the fallback offer.`
    : trace.find((one) => one.id === item.id)?.reason ?? "";
  return make("div", { class: `given${isFallback(item) ? " is-fallback" : ""}` },
    make("small", {}, `${answer.activity.name ?? ""}`), make("b", {}, item.name ?? item.id), make("p", {}, reason));
}

function funnel(trace) {
  const drawn = make("div", { class: "funnel" });
  let left = trace.length;
  const row = (name, count) => {
    const bar = make("i");
    bar.style.setProperty("--share", `${trace.length ? (100 * count) / trace.length : 0}%`);
    drawn.append(make("div", {}, name, bar, make("b", {}, String(count))));
  };
  row("candidates", left);
  for (const stage of STAGES.slice(0, -1)) {
    const gone = trace.filter((one) => one.stage === stage).length;
    if (gone === 0) continue;
    left -= gone;
    row(WORDS[stage], left);
  }
  return drawn;
}

function candidates(trace, all = false) {
  const order = (one) => (one.stage === "ranked" ? one.rank : 1000 - STAGES.indexOf(one.stage));
  const sorted = [...trace].sort((a, b) => order(a) - order(b));
  const shown = all ? sorted : sorted.slice(0, 12);
  const list = make("ul", { class: "list" }, ...shown.map((one) =>
    make("li", {},
      make("span", { class: `stage ${one.stage}` }, one.stage === "ranked" ? `rank ${one.rank}` : one.stage),
      make("span", { class: "name" }, one.name),
      make("span", { class: "reason" }, one.reason),
    ),
  ));
  if (shown.length === sorted.length) return list;
  const more = make("button", { class: "more", type: "button" }, `and ${sorted.length - shown.length} more`);
  more.addEventListener("click", () => {
    more.remove();
    list.replaceWith(candidates(trace, true));
  });
  return make("div", {}, list, more);
}

// Who.

function choose(one) {
  customer = one;
  sessionStorage.setItem("proffer-customer", one.name);
  [...$("#customers").children].forEach((chip) => chip.setAttribute("aria-checked", String(chip.dataset.name === one.name)));
  $("#about").textContent = one.about;
  $("#greeting").replaceChildren(...(one.id === null ? ["Sign in"] : ["Hello, ", make("b", {}, one.name)]));
  ask().catch(() => {});
}

function forget() {
  localStorage.removeItem("proffer-state");
  for (const cookie of document.cookie.split("; ")) {
    const [name] = cookie.split("=");
    if (name.startsWith("kndctr_")) document.cookie = `${name}=; Max-Age=0; Path=/`;
  }
  location.reload();
}

function explainMode() {
  const mode = $("#mode");
  if (config.alloy && isHttps) {
    mode.replaceChildren("Fetched by the unchanged ", make("b", {}, "@adobe/alloy"), " from this server's edge.");
    return;
  }
  mode.classList.add("is-missing");
  const why = config.alloy
    ? ["alloy supports only https on port 443, so this page sends the request itself. To use alloy, run ",
       make("code", {}, "sudo proffer demo --tls --port 443"), " and open ", make("code", {}, "https://localhost/demo"), "."]
    : ["alloy is not installed; the build downloads it from npm (", make("code", {}, "make web"),
       "). This page sends the same request itself."];
  mode.replaceChildren(...why);
}

explainMode();
$("#customers").append(...customers.map((one, index) => {
  const face = make("i", {}, one.name[0]);
  face.style.setProperty("--tone", TONES[index % TONES.length]);
  return make("button", { class: "chip", type: "button", role: "radio", "data-name": one.name, onclick: () => choose(one) }, face, one.name);
}));
$("#again").addEventListener("click", () => ask().catch(() => {}));
$("#forget").addEventListener("click", forget);
choose(customers.find((one) => one.name === sessionStorage.getItem("proffer-customer")) ?? customers[0]);
