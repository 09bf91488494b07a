// The server: requests, its errors as one line each, and the token if it asks for one.

const TOKEN = "sparnet-token";

export class Problem extends Error {}

// Whether a header can carry it; fetch throws at others.
const canBeSent = (token) => /^[\x20-\x7e\xa0-\xff]+$/.test(token);

function takeTokenFromAddress() {
  const given = /^#token=(.+)$/.exec(location.hash)?.[1]; // as it stands: a plus is a plus
  if (!given) return;
  history.replaceState(null, "", location.pathname);
  try {
    const token = decodeURIComponent(given).trim();
    if (canBeSent(token)) sessionStorage.setItem(TOKEN, token);
  } catch { /* a percent sign with no number behind it: it is asked for */ }
}
takeTokenFromAddress();

let asked = null; // promise: all who wait for a token wait for the same answer

function askForToken() {
  return (asked ??= showTokenForm().finally(() => { asked = null; }));
}

function showTokenForm() {
  const dialog = document.getElementById("token-dialog");
  const field = document.getElementById("token");
  document.getElementById("token-wrong").textContent = sessionStorage.getItem(TOKEN) ? "It is another one." : "";
  return new Promise((resolve) => {
    document.getElementById("token-form").onsubmit = (event) => {
      event.preventDefault();
      const token = field.value.trim();
      if (!token) return;
      if (!canBeSent(token)) {
        document.getElementById("token-wrong").textContent = "It is another one: tokens are of plain letters, digits and signs.";
        return;
      }
      sessionStorage.setItem(TOKEN, token);
      dialog.close();
    };
    dialog.onclose = () => resolve(sessionStorage.getItem(TOKEN));
    if (!dialog.open) dialog.showModal();
    field.focus();
  });
}

async function call(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The server does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      if (sessionStorage.getItem(TOKEN) === token) await askForToken(); // else another has come meanwhile
      continue;
    }
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }
}

async function problemOf(answer) {
  let detail = `the server answered ${answer.status}`;
  try {
    detail = (await answer.json()).detail ?? detail;
  } catch { /* not JSON: the status says enough */ }
  const problem = new Problem(sentence(detail));
  problem.status = answer.status;
  problem.retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  return problem;
}

export function sentence(line) {
  return line.charAt(0).toUpperCase() + line.slice(1) + (/[.!?)]$/.test(line) ? "" : ".");
}

function formOf(file, fields) {
  const form = new FormData();
  form.append("picture", file, "picture"); // its name stays here
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(new DOMException("stopped", "AbortError"));
  });
});

// A busy server is asked again, as it says when; everything else is told.
async function post(path, file, fields, { signal, onWait = () => {} } = {}) {
  for (;;) {
    try {
      return await call(path, { method: "POST", body: formOf(file, fields), signal });
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 429) throw error;
      onWait(error.retryAfter || 2);
      await pause(error.retryAfter || 2, signal);
    }
  }
}

export const models = async () => (await call("/v1/models")).json();
export const findFaces = async (file, options) => (await post("/v1/faces", file, {}, options)).json();
export const upscale = async (file, options) => (await post("/v1/upscale", file, { output: "json" }, options)).json();
export const attention = async (file, fields) => (await post("/v1/attention", file, fields)).json();

// Restores; `onEvent` is given each line as it comes. Resolves with the result.
export async function restore(file, fields, { signal, onEvent = () => {}, onWait } = {}) {
  const answer = await post("/v1/restore", file, { ...fields, output: "progress" }, { signal, onWait });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = value.split("\n");
    parts.push(lines[0]);
    for (const next of lines.slice(1)) {
      const event = JSON.parse(parts.join(""));
      parts = [next];
      if (event.error) throw new Problem(sentence(event.error));
      if (event.result) return event.result;
      onEvent(event);
    }
  }
  throw new Problem("The answer broke off. Is the server still running?");
}

export function blobOf(picture) {
  const text = atob(picture.base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return new Blob([bytes], { type: picture.media_type });
}

export const stemOf = (name) => name.replace(/^.*[/\\]/, "").replace(/\.[^.]+$/, "") || "photo";
