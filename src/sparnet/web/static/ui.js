// Small things that all three tabs use.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  zoom: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5M11 8v6M8 11h6",
  save: "M12 4v11M7.5 11l4.5 4.5L16.5 11M5 20h14",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

// Object URLs of pictures on the page, given back when others take their place.
const urls = new Map();
export function urlFor(place, blob) {
  if (urls.has(place)) URL.revokeObjectURL(urls.get(place));
  const url = URL.createObjectURL(blob);
  urls.set(place, url);
  return url;
}
export function forget(prefix) {
  for (const [place, url] of urls) {
    if (place.startsWith(prefix)) {
      URL.revokeObjectURL(url);
      urls.delete(place);
    }
  }
}

export function offer(link, place, blob, name) {
  link.href = urlFor(place, blob);
  link.download = name;
  link.removeAttribute("aria-disabled");
}
export function withdraw(link) {
  link.removeAttribute("href");
  link.setAttribute("aria-disabled", "true");
}

// Files dropped on a place, or chosen in a field. Folders are walked.
export function takeFiles(place, inputs, onFiles) {
  let depth = 0;
  const over = (on) => place.classList.toggle("is-over", on);
  place.addEventListener("dragenter", (event) => { event.preventDefault(); depth++; over(true); });
  place.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); over(depth > 0); });
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    const walked = entries.some((entry) => entry.isDirectory) ? await walk(entries) : plain;
    if (walked.length) onFiles(walked);
  });
  for (const input of inputs) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) onFiles(files);
    });
  }
}

// Names of files and folders that a file manager does not show, and of what macOS puts beside pictures.
export const HIDDEN = /(^|\/)(\.|__MACOSX\/)/;

const paths = new WeakMap();
// A file's place below the folder that was chosen or dropped, that folder included.
export const pathOf = (file) => paths.get(file) || file.webkitRelativePath || file.name;

async function walk(entries) {
  const files = [];
  for (const entry of entries) {
    if (HIDDEN.test(`${entry.name}/`)) continue;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      paths.set(file, entry.fullPath.replace(/^\//, ""));
      files.push(file);
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        files.push(...(await walk(some)));
      }
    }
  }
  return files;
}

export async function isShown(blob) {
  try {
    (await createImageBitmap(blob)).close();
    return true;
  } catch {
    return false;
  }
}

const MOST_THUMBNAILS = 3; // read at one time: each is a whole photo in memory
const THUMBNAIL_PX = 128;
const waiting = [];
let reading = 0;

// A small copy of a picture; null if the browser cannot read it.
export async function thumbnailOf(blob) {
  if (reading >= MOST_THUMBNAILS) await new Promise((resolve) => waiting.push(resolve));
  else reading++;
  try {
    const bitmap = await createImageBitmap(blob, { resizeWidth: THUMBNAIL_PX, resizeQuality: "medium" });
    const canvas = element("canvas", { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return await new Promise((resolve) => canvas.toBlob(resolve));
  } catch {
    return null;
  } finally {
    if (waiting.length) waiting.shift()(); // its place is taken over
    else reading--;
  }
}

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// Attention maps: what each place shows or waits for. An answer for what was there before is dropped.
const keys = new WeakMap();

export function clearMaps(place, status) {
  keys.delete(place);
  place.replaceChildren();
  status.textContent = "";
}

export async function loadMaps(place, status, load, key) {
  if (keys.get(place)?.every((part, index) => part === key[index])) return;
  keys.set(place, key);
  status.textContent = "Drawing…";
  try {
    const { maps } = await load();
    if (keys.get(place) !== key) return;
    place.replaceChildren(...maps.map((map, index) => element("figure", {},
      element("img", {
        src: `data:${map.media_type};base64,${map.base64}`,
        alt: `Attention map of unit ${index + 1} of ${maps.length}`, width: map.width, height: map.height,
      }),
      element("figcaption", {}, `${index + 1}`))));
    status.textContent = "";
  } catch (error) {
    if (keys.get(place) !== key) return;
    keys.delete(place);
    place.replaceChildren();
    status.textContent = error.message;
  }
}
