/** The page: photos, settings, hints and downloads. */

import { Cancelled, Client, WorkerFailure } from "./client.js";
import { Stage, byId } from "./stage.js";
import { fillIn, text } from "./texts.js";
import { zip } from "./zip.js";

/**
 * @typedef {import("./decode.js").Settings} Settings
 * @typedef {{
 *   key: number, file: File, settings: Settings, hints: import("./hints.js").Hint[],
 *   state: "waiting" | "done" | "failedShort", reason: string, width: number, height: number,
 *   before: Blob | null, after: Blob | null, isFresh: boolean, thumb: HTMLButtonElement,
 * }} Entry one photo; isFresh: its preview shows its settings
 */

/** @type {(keyof Settings)[]} */
const SLIDERS = ["temperature", "vividness", "saturation", "calibration"];
/** @type {Settings} */
const FAITHFUL = { temperature: 1, vividness: 0, saturation: 1, calibration: 0 };
const THUMB_HEIGHT = 128; // pixels
const PNG_SOURCES = ["image/png", "image/webp"];

/** @type {Entry[]} */
const entries = [];
/** @type {Settings} */
let natural = FAITHFUL;
/** @type {Settings} */
let chosen = natural;
/** @type {Entry | null} */
let shown = null;
/** @type {AbortController | null} */
let work = null;
let keys = 0;
let isReady = false;

fillIn();
const stage = new Stage(addHint);
const client = new Client({
  loading(share, bytes) {
    const size = (bytes / 1e6).toFixed(0), percent = `${Math.floor(100 * share)} %`;
    say(share < 1 ? text("loading", { percent, size }) : text("preparing"), share);
  },
  ready(manifest) {
    const { temperature, vividness, saturation, calibration } = manifest.model.decode;
    natural = { temperature, vividness, saturation, calibration };
    chosen = natural;
    isReady = true;
    for (const entry of entries) entry.settings = natural;
    byId("temperature").max = Math.max(1.5, temperature);
    byId("vividness").max = Math.max(1, vividness);
    byId("version").textContent = text("version", {
      version: manifest.version, digest: manifest.model.digest,
    });
    byId("calibrated").hidden = !manifest.model.calibration;
    showSettings();
    say(text("readyHere"));
    void navigator.serviceWorker?.ready.then(() => !entries.length && say(text("ready")));
    document.body.dataset.state = "ready";
    void run();
  },
  broken(failure) {
    document.body.dataset.state = "broken";
    say(text(failure.failed, failure.values), null, true);
  },
});
connect();
if ("serviceWorker" in navigator && location.protocol.startsWith("http") && !byId("network")) {
  navigator.serviceWorker.register("sw.js").catch(() => {}); // no offline use, and all else works
}

/** Connect the controls to their functions. */
function connect() {
  byId("files").addEventListener("change", () => {
    add([...byId("files").files]);
    byId("files").value = "";
  });
  for (const id of ["choose", "add"]) {
    byId(id).addEventListener("click", () => byId("files").click());
  }
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    add([...(event.dataTransfer?.files ?? [])]);
  });
  document.addEventListener("paste", (event) => add([...(event.clipboardData?.files ?? [])]));
  for (const name of SLIDERS) byId(name).addEventListener("input", () => changeSettings(sliders()));
  byId("natural").addEventListener("change", () => changeSettings(natural));
  byId("faithful").addEventListener("change", () => changeSettings(FAITHFUL));
  byId("to-all").addEventListener("click", () => {
    for (const entry of entries) change(entry, { settings: chosen });
  });
  byId("place").addEventListener("change", () => placeHints(byId("place").checked));
  byId("undo").addEventListener("click", () => setHints(shown?.hints.slice(0, -1) ?? []));
  byId("remove").addEventListener("click", () => setHints([]));
  byId("download").addEventListener("click", () => shown && save([shown]));
  byId("download-all").addEventListener("click", () => save(entries.filter(isColored)));
  byId("cancel").addEventListener("click", () => work?.abort());
  byId("clear").addEventListener("click", clear);
}

/** @param {Entry} entry */
const isColored = (entry) => entry.state === "done";
/** @param {Entry} entry */
const isFailed = (entry) => entry.state === "failedShort";

/** @param {File[]} files */
function add(files) {
  for (const file of files) {
    const thumb = document.createElement("button");
    thumb.type = "button";
    /** @type {Entry} */
    const entry = {
      key: ++keys, file, settings: chosen, hints: [], state: "waiting", reason: "", width: 0,
      height: 0, before: null, after: null, isFresh: false, thumb,
    };
    thumb.addEventListener("click", () => (isFailed(entry) ? retry(entry) : show(entry)));
    const item = document.createElement("li");
    item.append(thumb);
    byId("thumbs").append(item);
    entries.push(entry);
    label(entry);
  }
  refresh();
  void run();
}

/** Color what is not yet: first the photo that is shown. */
async function run() {
  if (work || !isReady) return;
  const controller = (work = new AbortController());
  let failures = 0, done = 0;
  refresh();
  for (let entry = next(); entry && !controller.signal.aborted; entry = next()) {
    const left = entries.filter((each) => !each.isFresh).length;
    const values = { name: entry.file.name, done: done + 1, total: done + left };
    const words = text(done + left > 1 ? "coloringSome" : "coloring", values);
    failures += Number(!(await color(entry, words, controller.signal)));
    done++;
  }
  work = null;
  if (controller.signal.aborted) {
    for (const entry of entries.filter((each) => !each.isFresh)) {
      entry.isFresh = true;
      if (!entry.after) fail(entry, text("cancelled"));
    }
    say(text("cancelled"));
  } else if (failures && done > 1) {
    say(text("someFailed", { colored: done - failures, failed: failures }), null, true);
  } else if (done && !failures && shown) {
    const { width, height } = shown;
    say(text("colored", { name: shown.file.name, width, height }));
  }
  refresh();
}

/** @returns {Entry | undefined} */
function next() {
  return shown && !shown.isFresh ? shown : entries.find((entry) => !entry.isFresh);
}

/**
 * @param {Entry} entry
 * @param {string} words
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether it is colored, or was cancelled
 */
async function color(entry, words, signal) {
  entry.isFresh = true; // settings that change from now on make it stale again
  const { key, file, settings, hints } = entry;
  say(words, 0);
  try {
    const task = { key, file, settings, hints, type: "preview" };
    const result = await client.request(task, (share) => say(words, share), signal);
    Object.assign(entry, {
      state: "done", before: result.before, after: result.after, width: result.width,
      height: result.height, reason: "",
    });
    if (!entries.includes(entry)) return true; // all were removed meanwhile
    await picture(entry);
    if (!shown || shown === entry || !isColored(shown)) await show(entry);
    return true;
  } catch (error) {
    if (error instanceof Cancelled) {
      entry.isFresh = entry.after !== null;
      return true;
    }
    fail(entry, reasonOf(error));
    say(text("failed", { name: file.name, reason: entry.reason }), null, true);
    return false;
  } finally {
    label(entry);
  }
}

/** Color a photo that failed or was cancelled once more. @param {Entry} entry */
function retry(entry) {
  Object.assign(entry, { state: "waiting", reason: "", isFresh: false });
  label(entry);
  void run();
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof WorkerFailure) return text(error.key, error.values);
  return text("other", { reason: String(error) });
}

/** @param {Entry} entry @param {string} reason */
function fail(entry, reason) {
  entry.state = "failedShort";
  entry.reason = reason;
  label(entry);
}

/** The small picture of a photo. @param {Entry} entry */
async function picture(entry) {
  if (!entry.after) return;
  const bitmap = await createImageBitmap(entry.after, {
    resizeHeight: THUMB_HEIGHT, resizeQuality: "medium",
  });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  entry.thumb.replaceChildren(canvas);
}

/** @param {Entry} entry */
function label(entry) {
  const { thumb, file, state, reason } = entry;
  if (state !== "done") {
    const words = document.createElement("span");
    words.textContent = state === "waiting" ? file.name : `${file.name}: ${reason}`;
    thumb.replaceChildren(words);
  }
  thumb.dataset.state = state;
  thumb.title = file.name;
  thumb.setAttribute("aria-label", text("show", { name: file.name, state: reason || text(state) }));
  thumb.setAttribute("aria-pressed", String(entry === shown));
}

/** @param {Entry} entry */
async function show(entry) {
  const before = shown;
  shown = entry;
  if (before) label(before);
  label(entry);
  if (entry.before && entry.after) await stage.show(entry.file.name, entry.before, entry.after);
  chosen = entry.settings;
  if (before !== entry) {
    byId("format").value = PNG_SOURCES.includes(entry.file.type) ? "image/png" : "image/jpeg";
  }
  showSettings();
  refresh();
}

/** @returns {Settings} */
function sliders() {
  const [temperature, vividness, saturation, calibration] = SLIDERS.map((name) =>
    Number(byId(name).value),
  );
  return { temperature, vividness, saturation, calibration };
}

/** @param {Settings} settings */
function changeSettings(settings) {
  chosen = settings;
  showSettings();
  if (shown) change(shown, { settings });
}

/** @param {Entry} entry @param {Partial<Entry>} values */
function change(entry, values) {
  if (isFailed(entry)) return;
  Object.assign(entry, values, { isFresh: false });
  void run();
}

/** Move the sliders and presets to the settings. */
function showSettings() {
  /** @param {Settings} other */
  const equals = (other) => SLIDERS.every((name) => other[name] === chosen[name]);
  byId("natural").checked = equals(natural);
  byId("faithful").checked = !equals(natural) && equals(FAITHFUL);
  for (const name of SLIDERS) {
    byId(name).value = chosen[name];
    byId(`${name}-value`).textContent = chosen[name].toFixed(2);
  }
}

/** @param {boolean} on */
function placeHints(on) {
  byId("place").checked = on;
  byId("keys").hidden = !on;
  stage.placeHints(on);
}

/** @param {number} x @param {number} y shares of width and height */
function addHint(x, y) {
  if (!shown?.width) return;
  const hint = {
    x: Math.min(shown.width - 1, Math.floor(x * shown.width)),
    y: Math.min(shown.height - 1, Math.floor(y * shown.height)),
    color: byId("hint-color").value,
  };
  setHints([...shown.hints, hint]);
}

/** @param {import("./hints.js").Hint[]} hints */
function setHints(hints) {
  if (!shown) return;
  change(shown, { hints });
  refresh();
}

/** @param {Entry[]} list */
async function save(list) {
  if (work || !list.length) return;
  const controller = (work = new AbortController());
  refresh();
  const type = byId("format").value, files = [];
  let name = "";
  try {
    for (const [i, { key, file, settings, hints }] of list.entries()) {
      name = `${file.name.replace(/\.[^.]*$/, "")}-colored.${type === "image/png" ? "png" : "jpg"}`;
      const values = { name, done: i + 1, total: list.length };
      const words = text(list.length > 1 ? "savingSome" : "saving", values);
      say(words, i / list.length);
      const task = { key, file, settings, hints, type };
      const result = await client.request(
        task, (share) => say(words, (i + share) / list.length), controller.signal,
      );
      files.push({ name, blob: result.blob });
    }
    const isZip = list.length > 1;
    const blob = isZip ? await zip(files, new Date()) : files[0].blob;
    if (isZip) name = "pix2color.zip";
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(blob), download: name,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(text("saved", { name }));
  } catch (error) {
    if (error instanceof Cancelled) say(text("cancelled"));
    else {
      const reason = error instanceof RangeError ? text("zipTooLarge") : reasonOf(error);
      say(text("failed", { name, reason }), null, true);
    }
  }
  work = null;
  refresh();
  void run();
}

/** Forget all photos. */
function clear() {
  work?.abort();
  entries.length = 0;
  shown = null;
  byId("thumbs").replaceChildren();
  placeHints(false);
  chosen = natural;
  showSettings();
  say("");
  refresh();
}

/** Show what there is, and allow what can be done. */
function refresh() {
  const colored = entries.filter(isColored).length;
  document.body.classList.toggle("empty", !entries.length);
  document.body.classList.toggle("several", entries.length > 1);
  document.body.dataset.work = work ? "busy" : "idle";
  byId("compare").hidden = !shown?.after;
  byId("panel").hidden = !shown?.after;
  byId("saving").hidden = !shown?.after;
  byId("cancel").hidden = !work;
  byId("download").disabled = !!work || !shown || !isColored(shown);
  byId("download-all").disabled = !!work || colored < 2;
  const hints = shown?.hints ?? [], { width = 1, height = 1 } = shown ?? {};
  for (const id of ["undo", "remove"]) byId(id).disabled = !hints.length;
  byId("hint-count").textContent = text("hintCount", { count: hints.length });
  stage.mark(
    hints.map(({ x, y, color: own }) => ({
      x: (x + 0.5) / width, y: (y + 0.5) / height, color: own,
    })),
  );
}

/**
 * @param {string} words
 * @param {number | null} [share] of the work that is done; null: no work
 * @param {boolean} [isError]
 */
function say(words, share = null, isError = false) {
  if (byId("status").textContent !== words) byId("status").textContent = words;
  byId("status").classList.toggle("error", isError);
  byId("progress").hidden = share === null;
  if (share !== null) byId("progress").value = share;
}
