// The page: tabs, colours, and what the server says of itself.

import * as api from "./api.js";
import { startMany } from "./many.js";
import { startPhoto } from "./photo.js";
import { startTiny } from "./tiny.js";
import { $ } from "./ui.js";

const THEMES = ["auto", "light", "dark"];
const tabs = [...document.querySelectorAll("[role=tab]")];

function showTab(tab) {
  for (const other of tabs) {
    const is = other === tab;
    other.setAttribute("aria-selected", is);
    other.tabIndex = is ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !is;
  }
}

function startTabs() {
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => showTab(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const to = step ? tabs[(index + step + tabs.length) % tabs.length]
        : { Home: tabs[0], End: tabs.at(-1) }[event.key];
      if (!to) return;
      event.preventDefault();
      showTab(to);
      to.focus();
    });
  });
}

function startTheme() {
  const button = $("theme");
  const use = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.querySelector("span").textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system" : theme}. Change.`);
  };
  use(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    localStorage.setItem("theme", next);
    use(next);
  });
}

function startPaste(byTab) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    byTab[tabs.find((tab) => tab.ariaSelected === "true" || tab.getAttribute("aria-selected") === "true").id](files);
  });
  // A picture dropped beside a field would take the page's place.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
}

const NAMES = { jpeg: "JPEG", png: "PNG", webp: "WebP", tiff: "TIFF", heic: "HEIC", avif: "AVIF", gif: "GIF", bmp: "BMP" };

function describe({ models, limits, formats }) {
  const readable = Object.keys(NAMES).filter((name) => formats.includes(`image/${name}`)).map((name) => NAMES[name]).join(", ");
  const megabytes = (limits.max_bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
  const megapixels = (limits.max_pixels / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
  for (const place of document.querySelectorAll("[data-limits]")) {
    place.textContent = `${readable} · up to ${megabytes} MB and ${megapixels} megapixels`;
  }
  const loaded = models.filter((model) => model.is_loaded);
  $("models").textContent = loaded.map((model) => `Model ${model.name}: ${model.license}.`).join(" ");
  const tiny = loaded.find((model) => model.task === "upscale");
  if (tiny) {
    const from = tiny.image_size / (tiny.upscale_factor ?? 8);
    for (const place of document.querySelectorAll("[data-tiny-size]")) place.textContent = from;
    for (const place of document.querySelectorAll("[data-made-size]")) place.textContent = tiny.image_size;
  }
  return { restores: loaded.some((model) => model.task === "restore") };
}

async function start() {
  startTabs();
  startTheme();
  if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
    $("privacy").textContent = `Pictures go only to the program at ${location.host}. They are worked on in its memory and are gone when they are answered, their faces within two minutes unless it was started otherwise.`;
  }
  const about = api.models().then(describe).catch(() => ({ restores: true }));
  const photo = startPhoto(about);
  startPaste({ "tab-photo": (files) => photo(files[0]), "tab-tiny": startTiny(), "tab-many": startMany() });
  const { restores } = await about;
  $("no-model").hidden = restores;
  document.documentElement.dataset.ready = "true";
}

start();
