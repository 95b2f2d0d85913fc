/** Keeps the page for use without a network. files.js is written by the export. */

importScripts("files.js");

/** @type {{version: string, small: string[], large: string[]}} */
const files = /** @type {any} */ (self).FILES;
const SMALL = `pix2color-${files.version}`, LARGE = "pix2color-large"; // LARGE: as in parts.js
const worker = /** @type {any} */ (self);

worker.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(keepSmall().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
  event.waitUntil(removeOld().then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

/** @param {Request} request */
async function answer(request) {
  const options = { ignoreSearch: true };
  const small = await (await caches.open(SMALL)).match(request, options);
  return small ?? (await (await caches.open(LARGE)).match(request, options)) ?? fetch(request);
}

async function keepSmall() {
  const cache = await caches.open(SMALL);
  // The browser's own cache may hold files of an earlier export.
  await cache.addAll(files.small.map((path) => new Request(path, { cache: "no-cache" })));
}

async function removeOld() {
  const names = (await caches.keys()).filter((name) => name.startsWith("pix2color-"));
  const old = names.filter((name) => ![SMALL, LARGE].includes(name));
  await Promise.all(old.map((name) => caches.delete(name)));
  const cache = await caches.open(LARGE);
  const kept = files.large.map((path) => new URL(path, worker.registration.scope).href);
  const unused = (await cache.keys()).filter(({ url }) => !kept.includes(url));
  await Promise.all(unused.map((request) => cache.delete(request)));
}
