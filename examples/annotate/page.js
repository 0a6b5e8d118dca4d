// The page of llama2-annotate. Everything that is shown comes as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const ratings = ["significantly_better", "better", "slightly_better", "negligibly_better"];
const ratingWords = ["significantly better", "better", "slightly better", "negligibly better, or unsure"];
const binWords = { chosen_safe: "only the chosen one safe", both_safe: "both safe", both_unsafe: "neither safe", other_safe: "only the other one safe" };

let state = null; // of the station and of this annotator
let item = null; // on the screen
let last = null; // the item that was chosen in last: a dialogue that can go on
let goingOn = false;
let stream = null;
let shownAt = 0; // when both responses were there

// --- asking the station

const lost = "The station does not answer. What you have sent is safe; trying again.";
const later = [429, 502, 503, 504]; // of the station, or of what stands before it

// The answer, or null where there was none: nothing is known then.
async function tryAsking(path, options) {
  let response, answer;
  try {
    response = await fetch(path, options);
    answer = await response.json();
  } catch {
    if (!response || response.ok) return null; // it ended in the middle of a word
  }
  if (later.includes(response.status)) return null;
  if (response.ok) return answer;
  throw new Error((answer && answer.error) || `The station says ${response.status}.`);
}

// Sends it until it arrives: everything here may be sent twice.
async function ask(path, body) {
  for (;;) {
    const options = body === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": state ? state.csrf : "" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    };
    const answer = await tryAsking(path, options);
    if (answer !== null) return answer;
    say(lost, true);
    await new Promise((wake) => setTimeout(wake, 1000));
  }
}

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

// Runs what a click began; what goes wrong is said.
async function act(work) {
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
}

// --- what is shown

function put(parent, tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  parent.append(element);
  return element;
}

function showState(next) {
  state = next;
  const { chosen, mine, waiting, target } = state.progress;
  for (const element of document.querySelectorAll(".owner")) element.hidden = !state.is_owner;
  $("who").textContent = state.name;
  $("progress-text").textContent = `${state.batch}: ${target ? `${chosen} of ${target}` : chosen} chosen, ${mine} by you${waiting ? `, ${waiting} prompts wait` : ""}`;
  $("progress-bar").hidden = !target;
  $("progress-bar").value = target ? Math.min(1, chosen / target) : 0;
  $("safety").hidden = !state.is_safety;
}

// The guideline's own form: paragraphs, and lines that begin with "- ".
function showGuideline() {
  const box = $("guideline-text");
  box.replaceChildren();
  $("guideline-title").textContent = `Guideline, version ${state.guideline.version}`;
  let list = null;
  for (const line of state.guideline.text.split("\n")) {
    if (line.startsWith("- ")) put((list = list || put(box, "ul")), "li", line.slice(2));
    else if (line.trim()) (list = null), put(box, "p", line);
  }
}

function showDialogue(messages) {
  $("dialogue").replaceChildren();
  for (const { role, content } of messages) {
    const said = put($("dialogue"), "div", undefined, `said ${role}`);
    put(said, "span", { user: "Asked: ", assistant: "Answered: " }[role] ?? "", "unseen"); // which the eye sees by its place
    said.append(content);
  }
}

function field(name) {
  const checked = document.querySelector(`input[name=${name}]:checked`);
  return checked ? checked.value : null;
}

function check(name, value) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === value;
  update();
}

function update() {
  const choice = field("choice");
  $("response-0").classList.toggle("chosen", choice === "first");
  $("response-1").classList.toggle("chosen", choice === "second");
  $("send").disabled = !ready() || !choice || !field("rating") || (state.is_safety && !field("safe"));
}

const ready = () => item !== null && shownAt > 0;

function binOf(choice) {
  const safe = field("safe");
  if (!state.is_safety) return null;
  if (safe === "both") return "both_safe";
  if (safe === "none") return "both_unsafe";
  return (safe === "0") === (choice === "first") ? "chosen_safe" : "other_safe";
}

function safeOf({ bin, choice }) {
  if (!bin) return null;
  if (bin === "both_safe") return "both";
  if (bin === "both_unsafe") return "none";
  return (bin === "chosen_safe") === (choice === "first") ? "0" : "1";
}

// --- a comparison

function showItem(next) {
  if (stream) stream.close();
  item = next;
  shownAt = 0;
  say("");
  $("write").hidden = item !== null;
  $("responses").hidden = $("choose").hidden = item === null;
  if (item === null) return write();
  $("work").focus({ preventScroll: true }); // what had the focus may be gone
  showDialogue(item.messages);
  check("choice", item.choice);
  check("rating", item.rating);
  check("safe", safeOf(item));
  item.responses.forEach((text, k) => {
    $(`text-${k}`).textContent = text ?? "";
    $(`response-${k}`).setAttribute("aria-busy", text === null);
  });
  if (item.responses.includes(null)) listen(item.id);
  else begun();
}

function begun() {
  shownAt = performance.now();
  say(item.choice ? "You may change what you said." : "Both answers are there.");
  update();
}

function listen(id) {
  const again = (why) => {
    stream.close();
    say(why, true);
    setTimeout(() => item && item.id === id && act(() => reopen(id)), 1000);
  };
  for (const k of [0, 1]) {
    $(`text-${k}`).textContent = ""; // both begin anew, also the one that was whole before the other was broken off
    $(`response-${k}`).setAttribute("aria-busy", "true");
  }
  stream = new EventSource(`/api/items/${id}/stream`);
  stream.onmessage = ({ data }) => {
    const { which, text, end, error } = JSON.parse(data);
    if (error) return again(`${error}; the answers begin anew.`);
    if (text) $(`text-${which}`).textContent += text;
    if (end) $(`response-${which}`).setAttribute("aria-busy", "false");
    if ([0, 1].some((k) => $(`response-${k}`).getAttribute("aria-busy") === "true")) return;
    stream.close();
    item.responses = [0, 1].map((k) => $(`text-${k}`).textContent.trimEnd());
    begun();
  };
  stream.onerror = () => again(lost);
}

async function reopen(id) {
  const { item: open } = await ask("/api/next", {});
  if (!item || item.id !== id) return;
  const said = ["choice", "rating", "safe"].map((name) => [name, field(name)]);
  showItem(open);
  if (open && open.id === id) for (const [name, value] of said) check(name, value);
}

function write() {
  const canGoOn = last !== null;
  $("go-on").hidden = !canGoOn || goingOn;
  $("fresh").hidden = !goingOn;
  $("write-label").textContent = goingOn ? "Go on" : "Write a prompt";
  if (goingOn) {
    const said = last.responses[last.choice === "second" ? 1 : 0];
    showDialogue([...last.messages, { role: "assistant", content: said }]);
  } else showDialogue([]);
  $("prompt").focus();
}

async function next() {
  showItem((await ask("/api/next", {})).item);
}

async function send() {
  if ($("send").disabled) return;
  const sent = item, choice = field("choice");
  const said = { choice, rating: field("rating"), seconds: (performance.now() - shownAt) / 1000 };
  if (state.is_safety) said.bin = binOf(choice);
  $("send").disabled = true;
  try {
    showState(await ask(`/api/items/${sent.id}/choice`, said));
  } finally {
    update();
  }
  last = { ...sent, choice };
  goingOn = false;
  await next();
}

async function askBoth() {
  const text = $("prompt").value.trim();
  if (!text) return say("The prompt is empty.", true);
  const { item: asked } = await ask("/api/prompt", goingOn ? { text, parent: last.id } : { text });
  $("prompt").value = "";
  showItem(asked);
}

async function skip(reason) {
  showState(await ask(`/api/items/${item.id}/skip`, { reason }));
  await next();
}

async function undo() {
  if (!state.progress.last) return say("There is nothing to take back.");
  const { item: back } = await ask("/api/undo", { item: state.progress.last });
  last = null;
  goingOn = false;
  showState(await ask("/api/state"));
  showItem(back);
}

// --- history, statistics

function summary({ choice, rating, bin, skipped }) {
  if (skipped) return `skipped: ${skipped}`;
  return [`the ${choice} one is ${ratingWords[ratings.indexOf(rating)] ?? "better"}`, binWords[bin]].filter(Boolean).join("; ");
}

async function showHistory() {
  const { items } = await ask("/api/history");
  const list = $("history-list");
  list.replaceChildren();
  if (!items.length) put(list, "li", "Nothing yet.");
  for (const one of items) {
    const row = put(list, "li");
    put(row, "div", one.messages.at(-1).content, "asked");
    put(row, "div", summary(one), "of");
    const change = put(row, "button", "Change");
    change.setAttribute("aria-label", `Change: ${one.messages.at(-1).content}`);
    change.onclick = () => act(async () => {
      location.hash = "compare";
      showItem(one);
    });
  }
}

async function showStatistics() {
  const { figures, charts } = await ask("/api/statistics");
  $("figures").replaceChildren();
  $("charts").replaceChildren();
  for (const { value, label } of figures) {
    const box = put($("figures"), "div");
    put(box, "b", value);
    put(box, "span", label);
  }
  for (const { name, title, note } of charts) {
    const figure = put($("charts"), "figure"), caption = put(figure, "figcaption", title), image = put(figure, "img");
    put(caption, "small", note);
    image.src = `/charts/${name}.svg`;
    image.alt = note;
  }
}

async function sendFile(input, path) {
  const [file] = input.files;
  input.value = "";
  if (!file) return;
  try {
    const { added } = await ask(path, await file.text());
    $("files-message").textContent = `${added} added.`;
    showState(await ask("/api/state"));
    await showStatistics();
  } catch (error) {
    $("files-message").textContent = error.message;
  }
}

function showView() {
  const name = ["history", "statistics"].includes(location.hash.slice(1)) ? location.hash.slice(1) : "compare";
  for (const view of ["compare", "history", "statistics"]) $(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (name === "history") act(showHistory);
  if (name === "statistics") act(showStatistics);
}

// --- keys

const keys = {
  ArrowLeft: () => check("choice", "first"),
  ArrowRight: () => check("choice", "second"),
  1: () => check("rating", ratings[0]),
  2: () => check("rating", ratings[1]),
  3: () => check("rating", ratings[2]),
  4: () => check("rating", ratings[3]),
  Enter: () => act(send),
  s: () => $("skip").click(),
};
const safetyKeys = { b: () => check("safe", "both"), f: () => check("safe", "0"), g: () => check("safe", "1"), x: () => check("safe", "none") };

function onKey(event) {
  if (event.repeat) return; // a key that is held says one thing
  const inText = ["TEXTAREA", "INPUT"].includes(event.target.tagName) && event.target.type !== "radio";
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && event.target === $("prompt")) return act(askBoth);
  if (event.key === "Escape" && event.target === $("prompt")) return event.target.blur(); // to the keys below
  if (event.ctrlKey || event.metaKey || event.altKey || inText || $("compare").hidden || !state) return;
  if ($("skip-dialog").open) {
    const reasons = document.querySelectorAll(".reasons button");
    if (reasons[event.key - 1]) reasons[event.key - 1].click();
    return;
  }
  if (event.key.toLowerCase() === "u") return act(undo);
  if (!item && event.key.toLowerCase() === "g" && !$("go-on").hidden) return event.preventDefault(), $("go-on").click();
  if (event.key.startsWith("Arrow") && event.target.matches("input:focus-visible")) return; // who walks through the form by keyboard
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const work = (item && keys[key]) || (item && state.is_safety && safetyKeys[key]);
  if (!work || (key === "Enter" && event.target.closest("a, button, summary, label"))) return;
  event.preventDefault();
  work();
}

// --- the beginning

async function enter() {
  $("join").hidden = true;
  $("app").hidden = false;
  showGuideline();
  $("guideline").open = matchMedia("(min-width: 60rem)").matches; // beside the answers, not before them
  showView();
  await act(next);
}

async function begin() {
  const token = location.hash.slice(1);
  const known = await ask("/api/state");
  if (known.name) return showState(known), enter();
  $("join").hidden = false;
  $("name").focus();
  $("join-form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      showState(await ask("/api/join", { token, name: $("name").value }));
      window.history.replaceState(null, "", "#compare"); // the token is spent; it need not stay in the address
      await enter();
    } catch (error) {
      $("join-error").textContent = error.message;
    }
  };
}

$("write").onsubmit = (event) => (event.preventDefault(), act(askBoth));
$("choose").onsubmit = (event) => (event.preventDefault(), act(send));
$("choose").onchange = update;
$("skip").onclick = () => (($("skip-dialog").returnValue = ""), $("skip-dialog").showModal());
$("skip-dialog").onclose = () => $("skip-dialog").returnValue && act(() => skip($("skip-dialog").returnValue));
$("undo").onclick = () => act(undo);
$("go-on").onclick = () => ((goingOn = true), write());
$("fresh").onclick = () => ((goingOn = false), write());
$("import").onchange = () => sendFile($("import"), "/api/import");
$("queue").onchange = () => sendFile($("queue"), "/api/queue");
$("invite").onclick = () => act(async () => {
  const { token } = await ask("/api/invite", {});
  $("files-message").textContent = `${location.origin}/#${token}`;
});
addEventListener("hashchange", showView);
addEventListener("keydown", onKey);
act(begin);
