// Many photos, from files, a folder or a zip: a queue worked off one after another.

import * as api from "./api.js";
import { $, HIDDEN, element, forget, offer, pathOf, plural, takeFiles, thumbnailOf, urlFor, withdraw } from "./ui.js";

const PICTURES = /\.(jpe?g|jfif|png|webp|tiff?|bmp|gif|avif|hei[cf])$/i;
const MOST_FILES = 2000;
const MOST_BYTES = 2e9; // of a zip, unpacked: all of it is in the browser's memory

const jobs = [];
let isRunning = false;
let stopping = null;
let counter = 0;
let leftOut = 0;
let packing = 0; // the number of the last packing: an earlier one is not offered

export function startMany() {
  takeFiles($("panel-many"), [$("many-files"), $("many-folder")], add);
  $("many-stop").addEventListener("click", () => (isRunning ? stop() : run()));
  $("many-strength").addEventListener("input", () => { $("many-strength-value").textContent = `${$("many-strength").value} %`; });
  return add;
}

async function add(files) {
  $("many-desk").hidden = false;
  for (const file of files.filter((one) => !HIDDEN.test(pathOf(one)))) {
    try {
      if (/\.zip$/i.test(file.name)) (await unpack(file)).forEach(enqueue);
      else if (PICTURES.test(file.name) || file.type.startsWith("image/")) enqueue(file);
      else leftOut++;
    } catch (error) {
      const job = enqueue(file);
      settle(job, "bad", api.sentence(`${file.name}: ${error.message ?? "cannot be unpacked"}`));
    }
  }
  tell();
  run();
}

// Unpacks the pictures of a zip; sizes are checked before anything is unpacked.
async function unpack(file) {
  let bytes = 0;
  let count = 0;
  let others = 0;
  let tooMuch = false;
  const unpacked = fflate.unzipSync(new Uint8Array(await file.arrayBuffer()), {
    filter: ({ name, originalSize }) => {
      if (name.endsWith("/") || HIDDEN.test(name)) return false;
      if (!PICTURES.test(name)) {
        others += 1;
        return false;
      }
      bytes += originalSize;
      count += 1;
      tooMuch ||= bytes > MOST_BYTES || count > MOST_FILES;
      return !tooMuch;
    },
  });
  if (tooMuch) throw new Error("holds too much; unpack it, and drop its folder");
  const names = Object.keys(unpacked);
  if (!names.length) throw new Error("holds no pictures");
  leftOut += others;
  return names.map((name) => new File([unpacked[name]], name));
}

function enqueue(file) {
  const number = ++counter;
  const image = element("img", { alt: "", width: 64, height: 64, hidden: true });
  const blank = element("span", { class: "blank" });
  const words = element("span", { class: "fine" }, "waits");
  const bar = element("progress", { max: 1, hidden: true, "aria-label": `Progress of ${file.name}` });
  const save = element("a", { class: "button small", "aria-label": `Download ${file.name}, restored` }, "Download");
  withdraw(save);
  const row = element("li", { class: "job" }, element("div", {}, image, blank),
    element("div", {}, element("b", { title: file.name }, file.name), words, bar), save);
  $("queue").append(row);
  const job = { number, file, state: "waits", words, bar, save, row, image, blank, made: null };
  jobs.push(job);
  preview(job, file, "before");
  return job;
}

async function preview(job, blob, which) {
  job.previewed = which;
  const small = await thumbnailOf(blob);
  if (!small || job.previewed !== which) return;
  job.image.src = urlFor(`many-${job.number}`, small);
  job.image.hidden = false;
  job.blank.hidden = true;
  job.image.alt = which === "after" ? "restored" : "";
}

function settle(job, state, words) {
  job.state = state;
  job.words.textContent = words;
  job.bar.hidden = true;
  job.row.classList.toggle("is-bad", state === "bad");
}

function tell() {
  const done = jobs.filter((job) => job.state === "done").length;
  const bad = jobs.filter((job) => job.state === "bad").length;
  const waiting = jobs.length - done - bad;
  $("many-progress").value = jobs.length ? (done + bad) / jobs.length : 0;
  const failed = bad ? `, ${bad} failed` : "";
  const others = leftOut ? ` ${plural(leftOut, "file")} that ${leftOut === 1 ? "is no picture" : "are no pictures"} left out.` : "";
  $("many-status").textContent = `${done} of ${plural(jobs.length, "photo")} done${failed}${waiting && !isRunning ? `, ${waiting} wait` : ""}.${others}`;
  $("many-stop").textContent = isRunning ? "Stop" : "Go on";
  $("many-stop").hidden = !waiting;
  const mine = ++packing;
  if (done && !isRunning) pack(mine);
  else withdraw($("many-download"));
}

function stop() {
  isRunning = false;
  stopping?.abort();
}

async function run() {
  if (isRunning) return;
  isRunning = true;
  for (let job; isRunning && (job = jobs.find((one) => one.state === "waits"));) {
    tell();
    await work(job);
  }
  isRunning = false;
  tell();
}

async function work(job) {
  stopping = new AbortController();
  job.state = "works";
  job.words.textContent = "looking for faces…";
  job.bar.hidden = false;
  job.bar.removeAttribute("value");
  let found = 0;
  try {
    const fidelity = ((100 - Number($("many-strength").value)) / 100).toFixed(2);
    const made = await api.restore(job.file, { fidelity, shown: true }, {
      signal: stopping.signal,
      onWait: (seconds) => { job.words.textContent = `the server is busy; again in ${seconds} s…`; },
      onEvent: (event) => {
        if (event.faces) found = event.faces.length;
        job.words.textContent = `restoring ${plural(found, "face")}…`;
        if (found) job.bar.value = (event.face ?? 0) / found;
      },
    });
    const restored = made.faces.filter((face) => face.skipped === null).length;
    job.made = { blob: api.blobOf(made.picture), suffix: made.picture.suffix };
    offer(job.save, `many-save-${job.number}`, job.made.blob, `${api.stemOf(job.file.name)}_restored${job.made.suffix}`);
    settle(job, "done", made.faces.length ? `${plural(restored, "face")} restored` : "no face found; as it was");
    preview(job, made.shown ? api.blobOf(made.shown.after) : job.made.blob, "after");
  } catch (error) {
    if (error.name === "AbortError") settle(job, "waits", "waits");
    else settle(job, "bad", error.message);
    if (error.name !== "AbortError" && !(error instanceof api.Problem)) throw error;
  }
}

// Puts all results into one zip, under their own names, kept apart where two are the same.
async function pack(mine) {
  const content = {};
  for (const job of jobs.filter((one) => one.state === "done")) {
    const stem = pathOf(job.file).split("/").filter((part) => part && part !== "..").join("/").replace(/\.[^./]+$/, "");
    let name = `${stem}${job.made.suffix}`;
    for (let copy = 2; name in content; copy++) name = `${stem} (${copy})${job.made.suffix}`;
    content[name] = [new Uint8Array(await job.made.blob.arrayBuffer()), { level: 0 }];
    if (mine !== packing) return;
  }
  offer($("many-download"), "many-download", new Blob([fflate.zipSync(content)], { type: "application/zip" }), "restored.zip");
}

addEventListener("pagehide", () => forget("many"));
