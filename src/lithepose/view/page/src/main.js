// The page: reads the data, joins player, picture, stage, plots and controls.

import { bytesOf, csvOf, isPresent, jsonOf, readData } from "./data.js";
import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { Plots } from "./plots.js";
import { Stage } from "./scene.js";

const root = document.documentElement;
const $ = (id) => document.getElementById(id);

// What went wrong is counted where a test, or whoever reports a bug, can read it.
let errors = 0;
function countError() {
  root.dataset.errors = String(++errors);
}
root.dataset.errors = "0";
root.dataset.ready = "false";
window.addEventListener("error", countError);
window.addEventListener("unhandledrejection", countError);
document.addEventListener("securitypolicyviolation", countError);

const DARK = {
  left: "#f69a38", right: "#52a8f0", centre: "#ced3da", ink: { left: "#f69a38", right: "#52a8f0", centre: "#ced3da" },
  outline: "#0c0d10", grid: "#5a6170", quiet: "#969da8", rule: "#2c3038", shadow: 0.42,
  axes: ["#f0736a", "#71c55d", "#7d9bff"],
};
const LIGHT = {
  ...DARK,
  centre: "#c3c9d1", ink: { left: "#b45f06", right: "#0b69b7", centre: "#4a515c" },
  grid: "#a9b0ba", quiet: "#5f6773", rule: "#e3e6ea", shadow: 0.2,
  axes: ["#c0362c", "#2f7d1d", "#2f55d4"],
};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const coloursNow = () => (dark.matches ? DARK : LIGHT);

const data = readData($("data").textContent);
const video = $("video");
const state = { focus: data.people.length > 1 ? null : 0, observed: true, projected: false };
const times = data.time_s;
const last = data.frames - 1;

// ---- Parts ----

const picture = new Picture($("joints"), data);
let stage = null;
try {
  stage = new Stage({
    canvas: $("stage"), hud: $("hud"), backdrop: $("backdrop"), labels: $("labels"), data, still,
  });
} catch {
  // The rest of the page is of use without 3D.
  $("no-webgl").hidden = false;
}
const plots = new Plots({ chips: $("chips"), area: $("plots"), data, seek: scrub });
$("angles").hidden = plots.groups.size === 0;

const player = new Player(null, times, data.fps, showFrame);
player.changed = () => {
  const button = $("play");
  button.setAttribute("aria-label", player.playing ? "Pause" : "Play");
  button.dataset.playing = String(player.playing);
  if (document.activeElement !== $("speed")) $("speed").value = String(player.speed);
};

function drawPicture() {
  picture.draw(player.frame, { ...state, colours: DARK });
}

function showFrame(frame) {
  root.dataset.frame = String(frame);
  $("time").value = String(frame);
  $("time").setAttribute("aria-valuetext", `frame ${frame}, ${times[frame].toFixed(2)} seconds`);
  $("frame-now").textContent = String(frame);
  $("time-now").textContent = times[frame].toFixed(2);
  const absent = data.people.every((person) => !isPresent(person, frame));
  $("nobody").hidden = !absent;
  drawPicture();
  stage?.show(frame);
  plots.show(frame);
}

function scrub(frame) {
  player.seek(frame);
}

function step(frames) {
  player.pause();
  scrub(player.frame + frames);
}

// ---- Video ----

async function openVideo() {
  const embedded = $("video-data").textContent;
  if (!embedded && !data.video_url) {
    $("picture").classList.add("plain");
    video.remove();
    return;
  }
  const source = data.video_url ?? URL.createObjectURL(new Blob([bytesOf(embedded)], { type: "video/mp4" }));
  const opened = await new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(true), { once: true });
    video.addEventListener("error", () => resolve(false));
    video.addEventListener("error", () => {
      player.detach();
      $("picture").classList.add("plain");
      $("no-video").hidden = false;
      $("no-video").textContent = data.video_url
        ? `The video ${decodeURIComponent(data.video_url)} must lie beside this page.`
        : "This browser cannot play the video (H.264).";
    });
    video.src = source;
  });
  if (!opened) return;
  $("video-data").textContent = ""; // the text is as large as the video again
  player.attach(video);
  if (stage) {
    stage.video = video;
    for (const event of ["seeked", "loadeddata"]) {
      video.addEventListener(event, () => stage.invalidate());
    }
  }
}

// ---- Controls ----

function pressed(id, on) {
  $(id).setAttribute("aria-pressed", String(on));
}

function setView(view) {
  if (!stage) return;
  stage.setView(view);
  root.dataset.view = view;
  pressed("view-world", view === "world");
  pressed("view-camera", view === "camera");
  $("follow").disabled = view === "camera";
  $("reset").disabled = view === "camera";
}

function setFollow(follow) {
  if (!stage) return;
  stage.setFollow(follow);
  pressed("follow", follow);
}

function setFocus(focus) {
  if (data.people.length === 1) focus = 0;
  // A key or a link may name whom there is not.
  if (focus !== null && data.people[focus] === undefined) return;
  state.focus = focus;
  for (const button of $("people").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === String(focus ?? "all")));
  }
  stage?.setFocus(focus);
  plots.setFocus(focus);
  drawPicture();
  showFacts(data.people[focus ?? 0]);
}

function setSpeed(speed) {
  player.setSpeed(speed);
  $("speed").value = String(speed);
}

const SPEEDS = [...$("speed").options].map((option) => Number(option.value));
function faster(steps) {
  const at = SPEEDS.indexOf(player.speed) + steps;
  setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at))]);
}

function setLoop(loop) {
  player.loop = loop;
  pressed("loop", loop);
}

function toggleLayer(layer) {
  state[layer] = !state[layer];
  pressed(layer, state[layer]);
  drawPicture();
}

function offerPeople() {
  $("people").hidden = data.people.length === 1;
  const offer = (text, value, key) => {
    const button = document.createElement("button");
    button.type = "button";
    button.value = value;
    button.textContent = text;
    if (key < 10) button.title = `Key ${key}`;
    button.addEventListener("click", () => setFocus(value === "all" ? null : Number(value)));
    $("people").append(button);
  };
  offer("All", "all", "0");
  data.people.forEach(({ number }, index) => offer(`Person ${number}`, String(index), number));
}

function showFacts(person) {
  const several = data.people.length > 1;
  $("facts-title").textContent = several ? `Person ${person.number}` : "About this result";
  $("angles-title").textContent = several ? `Joint angles, person ${person.number}` : "Joint angles";
  const table = $("facts");
  table.replaceChildren();
  for (const [label, value] of person.facts) {
    const row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = label;
    row.append(head);
    row.insertCell().textContent = value;
  }
  $("notes").replaceChildren();
  const notes = [...person.warnings];
  if (!data.has_path) notes.unshift("The camera moved, so the way through the world is not known: people move on the spot.");
  for (const text of notes) {
    const note = document.createElement("li");
    note.textContent = text;
    $("notes").append(note);
  }
  $("notes").hidden = notes.length === 0;
}

function save(suffix, type, make) {
  const person = data.people[state.focus ?? 0];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([make(data, person)], { type }));
  link.download = `${data.title}${person.number > 1 ? `-${person.number}` : ""}${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const KEYS = {
  " ": () => player.toggle(),
  k: () => player.toggle(),
  ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
  Home: () => scrub(0),
  End: () => scrub(last),
  "+": () => faster(1),
  "=": () => faster(1),
  "-": () => faster(-1),
  c: () => setView(stage?.view === "camera" ? "world" : "camera"),
  f: () => setFollow(!stage?.follow),
  r: () => stage?.reset(),
  l: () => setLoop(!player.loop),
  "?": () => $("help").showModal(),
  0: () => setFocus(null),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const focused = event.target;
  if (focused instanceof HTMLSelectElement) return;
  // A focused button takes the space bar itself.
  if (event.key === " " && focused instanceof HTMLButtonElement) return;
  const digit = /^[1-9]$/.test(event.key);
  const act = digit ? () => setFocus(Number(event.key) - 1) : KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act(event);
}

function connect() {
  const slider = $("time");
  slider.max = String(last);
  slider.addEventListener("input", () => scrub(Number(slider.value)));
  $("frame-last").textContent = String(last);
  $("time-last").textContent = times[last].toFixed(2);
  const on = (id, act) => $(id).addEventListener("click", act);
  on("play", () => player.toggle());
  on("back", () => step(-1));
  on("next", () => step(1));
  on("loop", () => setLoop(!player.loop));
  on("view-world", () => setView("world"));
  on("view-camera", () => setView("camera"));
  on("follow", () => setFollow(!stage?.follow));
  on("reset", () => stage?.reset());
  on("observed", () => toggleLayer("observed"));
  on("projected", () => toggleLayer("projected"));
  on("help-open", () => $("help").showModal());
  on("help-close", () => $("help").close());
  on("save-json", () => save(".json", "application/json", jsonOf));
  on("save-csv", () => save(".csv", "text/csv", csvOf));
  $("joints").addEventListener("click", () => player.toggle());
  $("speed").addEventListener("change", () => setSpeed(Number($("speed").value)));
  document.addEventListener("keydown", onKey);
  // A button pressed with the mouse gives the space bar back to play and pause.
  document.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest("button")?.blur();
  });
  new ResizeObserver(drawPicture).observe($("joints"));
}

function paint() {
  stage?.paint(coloursNow());
  plots.paint(coloursNow());
}

// #frame=75&view=camera&person=2: what a link, or a test, wants to be shown.
async function obeyHash() {
  root.dataset.ready = "false";
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("person")) setFocus(wanted.get("person") === "all" ? null : Number(wanted.get("person")) - 1);
  if (wanted.has("view")) setView(wanted.get("view") === "camera" ? "camera" : "world");
  if (wanted.has("projected") && !state.projected) toggleLayer("projected");
  if (wanted.has("frame")) {
    player.pause();
    scrub(Number(wanted.get("frame")));
  }
  await player.whenSettled();
  stage?.invalidate();
  requestAnimationFrame(() => requestAnimationFrame(() => (root.dataset.ready = "true")));
}

async function start() {
  const rate = data.fps.toFixed(2).replace(/\.?0+$/, "");
  const count = data.people.length === 1 ? "1 person" : `${data.people.length} people`;
  $("subtitle").textContent = `${count} · ${data.frames} frames · ${rate} frames/s · ${data.image_size.join(" × ")}`;
  $("panes").style.setProperty("--aspect", String(data.image_size[0] / data.image_size[1]));
  offerPeople();
  connect();
  setView("world");
  setFocus(state.focus);
  setFollow(true);
  paint();
  dark.addEventListener("change", paint);
  await openVideo();
  showFrame(0);
  stage?.reset();
  player.changed();
  window.addEventListener("hashchange", obeyHash);
  await obeyHash();
}

start();
