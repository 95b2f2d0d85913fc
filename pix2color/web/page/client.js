/** The page's side of the worker: requests that report progress and can be cancelled. */

/**
 * @typedef {import("./parts.js").Manifest} Manifest
 * @typedef {{failed: string, values?: Record<string, string | number>}} Failure
 * @typedef {{
 *   loading: (share: number, bytes: number) => void, ready: (manifest: Manifest) => void,
 *   broken: (failure: Failure) => void,
 * }} Observer
 * @typedef {{
 *   resolve: (result: any) => void, reject: (reason: unknown) => void,
 *   progress: (share: number) => void,
 * }} Waiting
 */

/** What the worker could not do; the key of a text and its values. */
export class WorkerFailure extends Error {
  /** @param {Failure} failure */
  constructor({ failed, values = {} }) {
    super(failed);
    this.key = failed;
    this.values = values;
  }
}

/** A request that was cancelled. */
export class Cancelled extends Error {}

export class Client {
  /** @param {Observer} observer of the network's loading */
  constructor(observer) {
    /** @type {Map<number, Waiting>} */
    this.waiting = new Map();
    this.jobs = 0;
    this.observer = observer;
    this.worker = startWorker();
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = () => observer.broken({ failed: "worker" });
    this.worker.postMessage({ open: true, inline: inlineFiles(), base: document.baseURI });
  }

  /** @param {any} data */
  receive(data) {
    if (data.ready) return this.observer.ready(data.ready);
    if (data.broken) return this.observer.broken(data.broken);
    if (data.loading !== undefined) return this.observer.loading(data.loading, data.bytes);
    const waiting = this.waiting.get(data.job);
    if (!waiting) return undefined;
    if (data.progress !== undefined) return waiting.progress(data.progress);
    this.waiting.delete(data.job);
    if (data.cancelled) return waiting.reject(new Cancelled());
    return data.failed ? waiting.reject(new WorkerFailure(data)) : waiting.resolve(data);
  }

  /**
   * @param {Record<string, unknown>} task worker.js, Task, but for its number
   * @param {(share: number) => void} progress
   * @param {AbortSignal} [signal]
   */
  request(task, progress, signal) {
    const job = ++this.jobs;
    signal?.addEventListener("abort", () => this.worker.postMessage({ cancel: job }));
    return new Promise((resolve, reject) => {
      this.waiting.set(job, { resolve, reject, progress });
      this.worker.postMessage({ ...task, job });
      if (signal?.aborted) this.worker.postMessage({ cancel: job });
    });
  }
}

/** Where the page is one file, its worker is inside it. */
function startWorker() {
  const inline = document.getElementById("worker");
  if (!inline) return new Worker(new URL("worker.js", document.baseURI), { type: "module" });
  const source = new Blob([inline.textContent ?? ""], { type: "text/javascript" });
  // A module would not load from a page that is opened as a file.
  return new Worker(URL.createObjectURL(source));
}

/** @returns {import("./worker.js").Inline | null} */
function inlineFiles() {
  const manifest = document.getElementById("network");
  if (!manifest) return null;
  /** @type {Record<string, string>} */
  const texts = {};
  for (const part of document.querySelectorAll('script[id^="part-"]')) {
    texts[part.id.slice("part-".length)] = part.textContent ?? "";
    part.remove();
  }
  return { manifest: JSON.parse(manifest.textContent ?? ""), texts };
}
