/** Colors photos beside the page. One photo at a time; the last one is kept for other settings. */

import { Composer } from "./compose.js";
import { colors, predict } from "./chain.js";
import { openNetwork } from "./network.js";
import { PartError, decodePart, loadPart } from "./parts.js";
import { PhotoError, encode, previewOf, readPhoto } from "./photo.js";

/**
 * @typedef {import("./chain.js").Prediction} Prediction
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./parts.js").Manifest} Manifest
 * @typedef {{manifest: Manifest, texts: Record<string, string>}} Inline files inside the page
 * @typedef {{
 *   job: number, key: number, file: Blob, settings: import("./decode.js").Settings,
 *   hints: import("./hints.js").Hint[], type: string,
 * }} Task type: image/jpeg, image/png, or "preview"
 */

class Cancelled extends Error {}

/** @type {Promise<{network: import("./chain.js").Network, manifest: Manifest}> | null} */
let opened = null;
/**
 * @typedef {{key: number, photo: Photo, before: Blob | null, prediction: Prediction | null}} Last
 */
/** @type {Last | null} */
let last = null;
/** @type {Promise<void>} */
let queue = Promise.resolve();
const cancelled = new Set();

/** @param {Record<string, unknown>} message */
const send = (message) => self.postMessage(message);

self.onmessage = ({ data }) => {
  if (data.open) {
    opened = open(data.inline, data.base);
    queue = opened.then(warmUp, (error) => send({ broken: failure(error) }));
  } else if (data.cancel) cancelled.add(data.cancel);
  else queue = queue.then(() => work(data));
};

/**
 * Load the network, from the page itself or from beside it.
 *
 * @param {Inline | null} inline
 * @param {string} base address of the page's folder
 */
async function open(inline, base) {
  /** @type {Manifest} */
  const manifest = inline?.manifest ?? (await (await fetch(new URL("network.json", base))).json());
  const total = Object.values(manifest.parts).reduce((sum, part) => sum + part.bytes, 0);
  let done = 0;
  /** @param {number} bytes */
  const loaded = (bytes) => send({ loading: (done += bytes) / total, bytes: total });
  /** @param {string} name */
  const load = (name) =>
    inline
      ? decodePart(inline.texts[name], manifest.parts[name])
      : loadPart(manifest.parts[name], base, loaded);
  const [script, wasm, graph, ...data] = await Promise.all(
    ["script", "wasm", "graph", ...manifest.external].map(load),
  );
  const external = manifest.external.map((path, i) => ({ path, data: data[i] }));
  const url = inline
    ? URL.createObjectURL(new Blob([script], { type: "text/javascript" }))
    : new URL(manifest.parts.script.path, base).href;
  const network = await openNetwork(await import(url), wasm, graph, external);
  send({ ready: manifest });
  return { network, manifest };
}

/**
 * Color nothing once, while a photo is chosen: browsers compile code for speed as it is used.
 *
 * @param {{network: import("./chain.js").Network, manifest: Manifest}} ready
 */
async function warmUp({ network, manifest: { model } }) {
  const side = 2 * model.decode.input_size;
  const gray = { width: side, height: side, data: new Uint8Array(side * side) };
  const ab = colors(await predict(gray, model, network, false), model, model.decode, []);
  new Composer(ab, side, side).band(gray.data, 0, side);
}

/** @param {Task} task */
async function work(task) {
  const { job } = task;
  try {
    send({ job, ...(await color(task)) });
  } catch (error) {
    if (!(error instanceof Cancelled)) last = null;
    send({ job, ...failure(error) });
  }
  cancelled.delete(job);
}

/** @param {unknown} error */
function failure(error) {
  if (error instanceof Cancelled) return { cancelled: true };
  if (error instanceof PhotoError) return { failed: error.key, values: error.values };
  if (error instanceof PartError) return { failed: "part", values: { name: error.message } };
  const reason = String(error).slice(0, 200);
  if (error instanceof RangeError || /memory|alloc/i.test(reason)) return { failed: "memory" };
  return { failed: "other", values: { reason } };
}

/** @param {Task} task */
async function color(task) {
  const { job, settings, hints } = task;
  /** @param {number} from @param {number} to @returns {import("./photo.js").Step} */
  const steps = (from, to) => async (share) => {
    send({ job, progress: from + (to - from) * share });
    await letMessagesIn();
    if (cancelled.has(job)) throw new Cancelled();
  };
  await steps(0, 0)(0);
  if (!opened) throw new PartError("network.json");
  const { network, manifest } = await opened;
  if (last?.key !== task.key) {
    last = null;
    const photo = await readPhoto(task.file, steps(0, 0.3));
    last = { key: task.key, photo, before: null, prediction: null };
  }
  const { photo } = last;
  if (!last.prediction || (hints.length && !last.prediction.features)) {
    last.prediction = await predict(photo.gray, manifest.model, network, hints.length > 0);
  }
  await steps(0, 0.6)(1);
  const ab = colors(last.prediction, manifest.model, settings, hints);
  await steps(0, 0.7)(1);
  const { width, height } = photo.gray;
  if (task.type === "preview") {
    last.before ??= await previewOf(photo, null, steps(0.7, 0.8));
    const composer = new Composer(ab, photo.preview.width, photo.preview.height);
    const after = await previewOf(photo, composer, steps(0.8, 1));
    return { before: last.before, after, width, height };
  }
  const words = Object.entries({ ...settings, input_size: manifest.model.decode.input_size });
  const options = words.map(([name, value]) => `${name} ${value}`).join(" ");
  const { version, model } = manifest;
  const provenance = `${version}, weights ${model.digest}, ${options} in a browser`;
  const composer = new Composer(ab, width, height);
  return { blob: await encode(photo, composer, task.type, provenance, steps(0.7, 1)) };
}

/** Messages such as a cancellation are handled between tasks of the browser. */
function letMessagesIn() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve(undefined);
    };
    channel.port2.postMessage(null);
  });
}
