/** The large files of the page: loaded once, checked, kept for use without a network. */

/**
 * @typedef {{path: string, bytes: number, sha256: string}} Part
 * @typedef {{
 *   version: string, model: import("./chain.js").Model, parts: Record<string, Part>,
 *   external: string[],
 * }} Manifest of network.json
 */

export const CACHE = "pix2color-large";

/** A file of the page that is missing or damaged; the message is its name. */
export class PartError extends Error {}

/**
 * The content of a file, decompressed.
 *
 * @param {Part} part
 * @param {string} base address of the page's folder
 * @param {(bytes: number) => void} loaded called with the bytes of each piece
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function loadPart(part, base, loaded) {
  const url = new URL(part.path, base).href;
  const cache = "caches" in globalThis ? await caches.open(CACHE).catch(() => null) : null;
  const kept = await cache?.match(url);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if (await isIntact(bytes, part)) {
      loaded(bytes.length);
      return inflate(bytes);
    }
  }
  const bytes = await download(url, part, loaded);
  if (!(await isIntact(bytes, part))) throw new PartError(part.path);
  const type = part.path.endsWith(".js") ? "text/javascript" : "application/octet-stream";
  const copy = new Response(bytes, { headers: { "content-type": type } });
  // A browser that is out of space keeps nothing, and loads the file again next time.
  await cache?.put(url, copy).catch(() => {});
  return inflate(bytes);
}

/** @param {string} url @param {Part} part @param {(bytes: number) => void} loaded */
async function download(url, part, loaded) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok || !response.body) throw new PartError(part.path);
  const bytes = new Uint8Array(part.bytes), reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > bytes.length) throw new PartError(part.path);
    bytes.set(value, at);
    at += value.length;
    loaded(value.length);
  }
  return bytes.subarray(0, at);
}

/**
 * The content of base64.
 *
 * @param {string} text
 * @param {Part} part
 */
export async function decodePart(text, part) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (!(await isIntact(bytes, part))) throw new PartError(part.path);
  return inflate(bytes);
}

/** Browsers offer digests only on https and on the own machine. */
/** @param {Uint8Array<ArrayBuffer>} bytes @param {Part} part */
async function isIntact(bytes, part) {
  if (bytes.length !== part.bytes) return false;
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex === part.sha256;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function inflate(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
