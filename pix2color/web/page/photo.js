/** Photos in the worker: decoding by the browser in bands of rows, previews, encoding. */

import { grayOf } from "./color.js";
import { imageSize, readMetadata, withMetadata } from "./metadata.js";
import { HAMMING, resize } from "./resample.js";

/**
 * @typedef {import("./resample.js").Plane} Plane
 * @typedef {import("./compose.js").Composer} Composer
 * @typedef {{
 *   gray: Plane, alpha: Plane | null, preview: Plane, previewAlpha: Plane | null,
 *   metadata: import("./metadata.js").Metadata,
 * }} Photo
 * @typedef {(share: number) => Promise<void>} Step reports progress, lets messages in, and throws
 *   where the work was cancelled
 */

const BAND_PIXELS = 2 ** 20;
const PREVIEW_PIXELS = 2e6;
const MAX_MEGAPIXELS = 100;
const MAX_SIDE = 32767; // of a canvas
const JPEG_QUALITY = 0.95;
const WHITE = "#fff";
const OPAQUE = 0xff000000; // of a pixel's word

/** A failure that the page explains: the key of a text and its values. */
export class PhotoError extends Error {
  /** @param {string} key @param {Record<string, string | number>} [values] */
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

/** @param {number} width @param {number} height */
function checkSize(width, height) {
  const megapixels = (width * height) / 1e6;
  if (megapixels > MAX_MEGAPIXELS || Math.max(width, height) > MAX_SIDE) {
    const values = { width, height, megapixels: Math.round(megapixels), limit: MAX_MEGAPIXELS };
    throw new PhotoError("tooLarge", values);
  }
}

/** @param {number} width @param {number} height @returns {[number, number][]} tops and bottoms */
function bands(width, height) {
  const rows = Math.max(1, Math.floor(BAND_PIXELS / width));
  return Array.from({ length: Math.ceil(height / rows) }, (_, i) => [
    i * rows, Math.min(height, (i + 1) * rows),
  ]);
}

/** @param {number} width @param {number} height */
function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new PhotoError("memory");
  return { canvas, context };
}

/**
 * Read a photo; the size is checked before the browser decodes it.
 *
 * @param {Blob} file
 * @param {Step} step
 * @returns {Promise<Photo>}
 */
export async function readPhoto(file, step) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!bytes.length) throw new PhotoError("empty");
  const stated = imageSize(bytes);
  if (stated) checkSize(stated.width, stated.height);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new PhotoError(stated ? "broken" : "unknown");
  }
  try {
    checkSize(bitmap.width, bitmap.height);
    const { gray, alpha } = await planes(bitmap, step);
    const scale = Math.min(1, Math.sqrt(PREVIEW_PIXELS / (gray.width * gray.height)));
    /** @param {Plane} plane */
    const reduced = (plane) => {
      const [width, height] = [plane.width, plane.height].map((side) =>
        Math.max(1, Math.round(side * scale)),
      );
      return resize(plane, width, height, HAMMING);
    };
    const metadata = readMetadata(bytes);
    return { gray, alpha, preview: reduced(gray), previewAlpha: alpha && reduced(alpha), metadata };
  } finally {
    bitmap.close();
  }
}

/** @param {ImageBitmap} bitmap @param {Step} step */
async function planes(bitmap, step) {
  const { width, height } = bitmap;
  const gray = { width, height, data: new Uint8Array(width * height) };
  /** @type {Plane | null} */
  let alpha = null;
  const parts = bands(width, height);
  const { context } = canvasOf(width, parts[0][1]);
  for (const [top, bottom] of parts) {
    context.clearRect(0, 0, width, bottom - top);
    context.drawImage(bitmap, 0, -top);
    const rgba = context.getImageData(0, 0, width, bottom - top).data;
    grayOf(rgba, gray.data.subarray(top * width, bottom * width));
    for (let i = 3, at = top * width; i < rgba.length; i += 4, at++) {
      if (rgba[i] === 255) continue;
      alpha ??= { width, height, data: new Uint8Array(width * height).fill(255) };
      alpha.data[at] = rgba[i];
    }
    await step(bottom / height);
  }
  return { gray, alpha };
}

/**
 * A plane of grays in colors, as a canvas.
 *
 * @param {Composer | null} composer null: in gray
 * @param {Plane} gray
 * @param {Plane | null} alpha
 * @param {Step} step
 */
async function draw(composer, gray, alpha, step) {
  const { width, height } = gray;
  const { canvas, context } = canvasOf(width, height);
  for (const [top, bottom] of bands(width, height)) {
    const values = gray.data.subarray(top * width, bottom * width);
    const words = composer
      ? composer.band(gray.data, top, bottom)
      : Uint32Array.from(values, (value) => OPAQUE + value * 0x010101);
    const rgba = new Uint8ClampedArray(words.buffer);
    if (alpha) {
      for (let i = 3, at = top * width; i < rgba.length; i += 4, at++) rgba[i] = alpha.data[at];
    }
    context.putImageData(new ImageData(rgba, width, bottom - top), 0, top);
    await step(bottom / height);
  }
  return { canvas, context };
}

/**
 * A small picture to look at.
 *
 * @param {Photo} photo
 * @param {Composer | null} composer of the preview's size; null: in gray
 * @param {Step} step
 */
export async function previewOf(photo, composer, step) {
  const { canvas } = await draw(composer, photo.preview, photo.previewAlpha, step);
  const type = photo.alpha ? "image/png" : "image/jpeg";
  return canvas.convertToBlob({ type, quality: JPEG_QUALITY });
}

/**
 * The colored photo as a file.
 *
 * @param {Photo} photo
 * @param {Composer} composer of the photo's size
 * @param {string} type image/jpeg or image/png
 * @param {string} provenance
 * @param {Step} step
 */
export async function encode(photo, composer, type, provenance, step) {
  const { canvas, context } = await draw(composer, photo.gray, photo.alpha, step);
  if (photo.alpha && type === "image/jpeg") {
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = WHITE;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  const blob = await canvas.convertToBlob({ type, quality: JPEG_QUALITY });
  if (blob.type !== type) throw new PhotoError("memory");
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return new Blob([withMetadata(bytes, photo.metadata, provenance)], { type });
}
