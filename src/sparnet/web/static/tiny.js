// One tiny face, enlarged.

import * as api from "./api.js";
import { $, clearMaps, forget, isShown, loadMaps, offer, takeFiles, urlFor, withdraw } from "./ui.js";

let file = null;
let running = new AbortController(); // ends when another face is chosen

export function startTiny() {
  const take = (files) => enlarge(files[0]);
  takeFiles($("panel-tiny"), [$("tiny-file")], take);
  $("tiny-attention").addEventListener("toggle", showAttention);
  return take;
}

async function enlarge(chosen) {
  file = chosen;
  running.abort();
  const { signal } = (running = new AbortController());
  forget("tiny");
  withdraw($("tiny-download"));
  $("tiny-error").hidden = true;
  $("tiny-attention").open = false;
  clearMaps($("tiny-maps"), $("tiny-attention-status"));
  $("tiny-status").textContent = "Enlarging…";
  try {
    const made = await api.upscale(chosen, {
      signal,
      onWait: (seconds) => { $("tiny-status").textContent = `The server is busy; it is asked again in ${seconds} s…`; },
    });
    const bicubic = api.blobOf(made.bicubic);
    const before = (await isShown(chosen)) ? chosen : bicubic;
    if (signal.aborted) return;
    $("tiny-before").src = urlFor("tiny-before", before);
    $("tiny-bicubic").src = urlFor("tiny-bicubic", bicubic);
    $("tiny-after").src = urlFor("tiny-after", api.blobOf(made.picture));
    $("tiny-notes").textContent = made.notes.map(api.sentence).join(" ");
    offer($("tiny-download"), "tiny-download", api.blobOf(made.picture), `${api.stemOf(chosen.name)}_enlarged${made.picture.suffix}`);
    $("tiny-result").hidden = false;
    $("tiny-status").textContent = "";
  } catch (error) {
    if (signal.aborted) return;
    $("tiny-result").hidden = true;
    $("tiny-status").textContent = "";
    $("tiny-error").hidden = false;
    $("tiny-error-text").textContent = error.message;
    if (!(error instanceof api.Problem)) throw error;
  }
}

function showAttention() {
  if (!$("tiny-attention").open) return;
  loadMaps($("tiny-maps"), $("tiny-attention-status"), () => api.attention(file, { task: "upscale" }), [file]);
}
