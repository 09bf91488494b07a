// One photo: its faces on and off, before and after, zoom, attention, downloads.

import * as api from "./api.js";
import { $, clearMaps, element, forget, icon, isShown, loadMaps, offer, plural, takeFiles, urlFor, withdraw } from "./ui.js";

const SETTLES_MS = 250; // between a change and the work it asks for
const SMALL_BOX = 0.055; // of the photo's width: its number is written above it
const ROOM = 2.1; // sides of a face that a zoom shows
const UNREADABLE = 422; // the answer to what is no picture

let about; // promise: whether the server restores
let file = null;
let faces = []; // as found; `off` holds the numbers switched off
let off = new Set();
let result = null;
let opened = new AbortController(); // ends when another photo is opened
let running = null;
let timer = 0;
let zoomed = 0;
let picture = null; // width and height, upright
let isRefused = false; // no picture to the server nor to the browser: there is nothing to choose

export function startPhoto(serverSays) {
  about = serverSays;
  const fields = [$("photo-file"), ...document.querySelectorAll("[data-photo-file]")];
  takeFiles($("panel-photo"), fields, (files) => open(files[0]));
  $("photo-retry").addEventListener("click", work);
  $("strength").addEventListener("input", () => {
    $("strength-value").textContent = `${$("strength").value} %`;
    workSoon();
  });
  for (const choice of document.querySelectorAll("input[name=scale]")) choice.addEventListener("change", workSoon);
  $("format").addEventListener("change", workSoon);
  startCompare();
  startKeys();
  $("show-boxes").addEventListener("change", () => { $("boxes").hidden = !$("show-boxes").checked; });
  $("unzoom").addEventListener("click", () => zoomTo(0));
  $("attention").addEventListener("toggle", showAttention);
  $("attention-face").addEventListener("change", showAttention);
  addEventListener("resize", () => zoomed && zoomTo(zoomed));
  return open;
}

function show(state) {
  const focused = document.activeElement?.closest("#photo-drop, #photo-error, #photo-desk");
  $("panel-photo").dataset.state = state;
  $("photo-drop").hidden = state !== "empty";
  $("photo-desk").hidden = state === "empty" || (state === "error" && isRefused);
  $("stage").hidden = state === "error" && !picture;
  $("photo-error").hidden = state !== "error";
  if (state !== "working") $("photo-progress").hidden = true;
  // What had the focus is gone: it goes to what took its place, not to the top of the page.
  if (focused?.hidden) $($("photo-desk").hidden ? "photo-error" : "photo-desk").focus({ preventScroll: true });
}

function say(text, share = null) {
  $("photo-status").textContent = text;
  const bar = $("photo-progress");
  bar.hidden = share === null;
  if (share === -1) bar.removeAttribute("value");
  else if (share !== null) bar.value = share;
}

function fail(error) {
  if (error.name === "AbortError") return;
  $("photo-error-text").textContent = error.message;
  isRefused = error.status === UNREADABLE && !faces.length && !picture;
  show("error");
  say("");
  $("photo-error").scrollIntoView({ block: "nearest" });
  if (!(error instanceof api.Problem)) throw error;
}

async function open(chosen) {
  running?.abort();
  opened.abort();
  const { signal } = (opened = new AbortController());
  forget("photo");
  file = chosen;
  [faces, off, result, picture] = [[], new Set(), null, null];
  zoomTo(0);
  $("after").hidden = $("divider").hidden = $("badge-before").hidden = $("badge-after").hidden = true;
  $("before").hidden = true;
  $("split").disabled = true;
  $("attention").open = false;
  clearMaps($("attention-maps"), $("attention-status"));
  withdraw($("download"));
  drawFaces();
  $("face-count").textContent = "";
  $("no-faces").hidden = true;
  show("working");
  work();
  if (!(await isShown(chosen)) || signal.aborted) return;
  if (!(await showPicture("before", chosen, signal))) return;
  isRefused = false;
  show($("panel-photo").dataset.state);
  drawFaces();
}

// Gives an <img> a picture and the stage its shape; false if the signal came first.
async function showPicture(id, blob, signal) {
  const image = $(id);
  image.src = urlFor(`photo-${id}`, blob);
  await image.decode().catch(() => {});
  if (signal.aborted) return false;
  if (id === "before" && image.naturalWidth) {
    picture ??= { width: image.naturalWidth, height: image.naturalHeight };
    $("viewport").style.setProperty("--aspect", image.naturalWidth / image.naturalHeight);
  }
  image.hidden = false;
  return true;
}

function workSoon() {
  clearTimeout(timer);
  timer = setTimeout(work, SETTLES_MS);
}

function chosenFields() {
  const fields = { crops: true, shown: true, format: $("format").value };
  fields.fidelity = ((100 - Number($("strength").value)) / 100).toFixed(2);
  fields.upscale_factor = document.querySelector("input[name=scale]:checked").value;
  const on = faces.filter((face) => !off.has(face.number)).map((face) => face.number);
  if (off.size) fields.faces = on.join(",");
  return fields;
}

async function work() {
  clearTimeout(timer);
  if (!file) return;
  running?.abort();
  const mine = (running = new AbortController());
  withdraw($("download"));
  show("working");
  say("Looking for faces…", -1);
  try {
    const { restores } = await about;
    if (mine.signal.aborted) return;
    if (!restores) {
      const found = await api.findFaces(file, { signal: mine.signal });
      if (mine.signal.aborted) return;
      picture = { width: found.width, height: found.height };
      foundFaces(found.faces);
      show("done");
      say(`${plural(found.faces.length, "face")} found. No model here restores them yet.`);
      return;
    }
    if (faces.length && off.size === faces.length) {
      $("after").hidden = $("divider").hidden = true;
      show("done");
      say("All faces are switched off: the photo is as it was.");
      return;
    }
    const fields = chosenFields();
    const made = await api.restore(file, fields, {
      signal: mine.signal,
      onWait: (seconds) => say(`The server is busy; it is asked again in ${seconds} s…`, -1),
      onEvent: (event) => {
        if (mine.signal.aborted) return;
        if (event.faces) {
          foundFaces(event.faces);
          const wanted = event.faces.length - off.size;
          say(wanted ? `Restoring ${plural(wanted, "face")}…` : "Finishing…", wanted ? 0.04 : -1);
        } else if (event.face) {
          const wanted = Math.max(1, faces.length - off.size);
          say(event.face < wanted ? `Restoring face ${event.face + 1} of ${wanted}…` : "Putting the faces back…", event.face / wanted);
        }
      },
    });
    if (mine.signal.aborted) return;
    await finish(made, Number(fields.upscale_factor), mine.signal);
  } catch (error) {
    if (running === mine) fail(error);
  }
}

async function finish(made, scale, signal) {
  result = made;
  picture = { width: made.picture.width / scale, height: made.picture.height / scale }; // `shown` may be smaller
  const blob = api.blobOf(made.picture);
  if (made.shown && !(await showPicture("before", api.blobOf(made.shown.before), signal))) return;
  if (!(await showPicture("after", made.shown ? api.blobOf(made.shown.after) : blob, signal))) return;
  const compared = made.is_changed;
  $("after").hidden = $("divider").hidden = $("badge-before").hidden = $("badge-after").hidden = !compared;
  $("split").disabled = !compared;
  offer($("download"), "photo-download", blob, `${api.stemOf(file.name)}_restored${made.picture.suffix}`);
  drawFaces();
  show("done");
  const restored = made.faces.filter((face) => face.skipped === null).length;
  const notes = made.notes.map(api.sentence).join(" ");
  const size = `${made.picture.width} × ${made.picture.height} px`;
  say(made.faces.length
    ? `${restored === made.faces.length ? "" : `${restored} of `}${plural(made.faces.length, "face")} restored, ${size}. ${notes}`
    : `${notes || "No face found."} ${size}.`);
  if ($("attention").open) showAttention();
}

// Faces

function foundFaces(found) {
  const same = JSON.stringify(found) === JSON.stringify(faces);
  faces = found;
  if (!same || !$("boxes").childElementCount) drawFaces();
  $("face-count").textContent = found.length || "";
  $("no-faces").hidden = found.length > 0;
}

function switchFace(number) {
  if (off.has(number)) off.delete(number);
  else off.add(number);
  drawFaces();
  workSoon();
}

function drawFaces() {
  const focused = document.activeElement?.dataset?.face && document.activeElement.dataset;
  const key = focused ? `[data-part="${focused.part}"][data-face="${focused.face}"]` : null;
  drawBoxes();
  $("faces").replaceChildren(...faces.map(card));
  const which = $("attention-face");
  const chosen = which.value;
  which.replaceChildren(...faces.map((face) => element("option", { value: face.number }, `${face.number}`)));
  if (faces.some((face) => `${face.number}` === chosen)) which.value = chosen;
  $("attention").hidden = !faces.length;
  $("attention-which").hidden = faces.length < 2;
  if (key) document.querySelector(key)?.focus({ preventScroll: true });
}

function drawBoxes() {
  const size = picture;
  if (!size) return $("boxes").replaceChildren(); // until the photo has a shape on the page
  $("boxes").replaceChildren(...faces.map((face) => {
    const [left, top, right, bottom] = face.box;
    const on = !off.has(face.number);
    const box = element("button", {
      type: "button", class: "box", "aria-pressed": on, "data-face": face.number, "data-part": "box",
      "aria-label": `Face ${face.number}`, title: `Face ${face.number}: click to switch it ${on ? "off" : "on"}`,
    }, element("span", {}, `${face.number}`));
    box.classList.toggle("is-small", (right - left) / size.width < SMALL_BOX);
    box.classList.toggle("is-top", top / size.height < 0.05);
    box.style.left = `${(100 * left) / size.width}%`;
    box.style.top = `${(100 * top) / size.height}%`;
    box.style.width = `${(100 * (right - left)) / size.width}%`;
    box.style.height = `${(100 * (bottom - top)) / size.height}%`;
    box.addEventListener("click", () => switchFace(face.number));
    return box;
  }));
}

function card(face) {
  const on = !off.has(face.number);
  const made = result?.faces.find((other) => other.number === face.number && other.after);
  const canvas = element("canvas", { width: 120, height: 120 });
  drawCrop(canvas, face);
  const zoom = element("button", {
    type: "button", class: "thumb", "data-face": face.number, "data-part": "zoom",
    "aria-label": `Zoom to face ${face.number}`, title: "Zoom to this face",
  }, canvas);
  zoom.addEventListener("click", () => zoomTo(zoomed === face.number ? 0 : face.number));
  const box = element("input", { type: "checkbox", checked: on, "data-face": face.number, "data-part": "switch" });
  box.setAttribute("role", "switch");
  box.setAttribute("aria-label", `Restore face ${face.number}`);
  box.addEventListener("change", () => switchFace(face.number));
  const skipped = result?.faces.find((other) => other.number === face.number)?.skipped;
  const words = !on ? "left as it was" : skipped ? "left as it was" : `${Math.round(face.size_px)} px`;
  const save = element("a", { class: "icon", "aria-label": `Download face ${face.number}`, title: "Download this face" }, icon("save"));
  if (made && on) offer(save, `photo-face-${face.number}`, api.blobOf(made.after), `${api.stemOf(file.name)}_${String(face.number).padStart(2, "0")}${made.after.suffix}`);
  else withdraw(save);
  return element("li", { class: on ? "face" : "face is-off" }, zoom,
    element("div", { class: "name" }, element("b", {}, `Face ${face.number}`),
      element("span", { class: "fine", title: skipped ?? "" }, words)),
    element("label", { class: "switch", title: on ? "Switch it off" : "Switch it on" }, box), save);
}

function drawCrop(canvas, face) {
  const image = $("after").hidden || off.has(face.number) ? $("before") : $("after");
  if (!image.naturalWidth || !picture) return;
  const share = image.naturalWidth / picture.width;
  const [left, top, right, bottom] = face.box.map((edge) => edge * share);
  const side = 1.35 * Math.max(right - left, bottom - top);
  const [x, y] = [(left + right - side) / 2, (top + bottom - side) / 2];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
}

// Before and after

function startCompare() {
  const viewport = $("viewport");
  const range = $("split");
  const set = (percent) => {
    const held = Math.min(100, Math.max(0, percent));
    $("layer").style.setProperty("--split", `${held}%`);
    range.value = held;
    range.setAttribute("aria-valuetext", `${Math.round(held)} % before, ${100 - Math.round(held)} % after`);
  };
  range.addEventListener("input", () => set(Number(range.value)));
  const follow = (event) => {
    if (range.disabled) return;
    const frame = $("layer").getBoundingClientRect();
    set((100 * (event.clientX - frame.left)) / frame.width);
  };
  viewport.addEventListener("pointermove", follow); // a mouse by hovering, a finger by dragging
  viewport.addEventListener("pointerdown", (event) => { if (!event.target.closest(".box")) follow(event); });
  set(50);
}

function zoomTo(number) {
  const layer = $("layer");
  const face = faces.find((other) => other.number === number);
  zoomed = face ? number : 0;
  $("unzoom").hidden = !face;
  layer.classList.toggle("is-zoomed", Boolean(face));
  $("viewport").classList.toggle("is-zoomed", Boolean(face));
  if (!face || !picture) {
    layer.style.transform = "";
    layer.style.setProperty("--zoom", 1);
    return;
  }
  const [width, height] = [layer.offsetWidth, layer.offsetHeight];
  const [left, top, right, bottom] = face.box.map((edge) => (edge * width) / picture.width);
  const view = $("viewport");
  const room = view.clientHeight;
  const wanted = Math.min(room, view.clientWidth) / (ROOM * Math.max(right - left, bottom - top));
  const zoom = Math.max(1, room / height, wanted);
  const hold = (offset, length, shown) => Math.min(0, Math.max(shown - zoom * length, offset));
  const x = hold(width / 2 - (zoom * (left + right)) / 2, width, width);
  const y = hold(room / 2 - (zoom * (top + bottom)) / 2, height, room);
  layer.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
  layer.style.setProperty("--zoom", zoom);
  const middle = (50 * (face.box[0] + face.box[2])) / picture.width;
  layer.style.setProperty("--split", `${middle}%`);
  $("split").value = middle;
  view.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    if ($("panel-photo").hidden || $("photo-desk").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("select, input[type=password]")) return;
    if (event.key === "Escape") zoomTo(0);
    else if (event.key.toLowerCase() === "b") $("show-boxes").click();
    else if (faces.some((face) => `${face.number}` === event.key)) switchFace(Number(event.key));
  });
}

function showAttention() {
  const number = $("attention-face").value;
  if (!$("attention").open || !file || !number) return;
  const load = () => api.attention(file, { task: "restore", face: number });
  loadMaps($("attention-maps"), $("attention-status"), load, [file, number]);
}
