/**
 * Reduction and enlargement of 8-bit planes with Pillow's arithmetic, to the bit.
 *
 * The network was trained on photos that Pillow reduced; other filters would change its colors.
 */

import { rint } from "./color.js";

/**
 * @typedef {{width: number, height: number, data: Uint8Array}} Plane 8-bit values, rows first
 * @typedef {{support: number, weight: (x: number) => number}} Filter
 * @typedef {{first: Int32Array, count: Int32Array, weights: Int32Array, size: number}} Taps
 */

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** @type {Filter} */
export const LANCZOS = {
  support: 3,
  weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};
/** @type {Filter} */
export const HAMMING = {
  support: 1,
  weight: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0),
};
/** @type {Filter} */
export const BILINEAR = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

const BITS = 22; // of the fraction of a weight

/**
 * A plane at another size.
 *
 * @param {Plane} plane
 * @param {number} width
 * @param {number} height
 * @param {Filter} filter as wide as the reduction needs
 * @param {number} [gap] means of whole blocks come first where the reduction is this many times 2
 *   or more (Pillow's reducing_gap)
 * @returns {Plane}
 */
export function resize(plane, width, height, filter, gap) {
  let spanX = plane.width, spanY = plane.height;
  if (gap) {
    const x = Math.floor(spanX / width / gap) || 1, y = Math.floor(spanY / height / gap) || 1;
    plane = reduce(plane, x, y);
    spanX /= x;
    spanY /= y;
  }
  let result = plane;
  if (width !== plane.width || spanX !== width) {
    result = resizeRows(result, taps(plane.width, spanX, width, filter), width);
  }
  if (height !== plane.height || spanY !== height) {
    result = resizeColumns(result, taps(plane.height, spanY, height, filter), height);
  }
  return result;
}

/** Means of blocks of x * y pixels. @param {Plane} plane @param {number} x @param {number} y */
function reduce(plane, x, y) {
  if (x === 1 && y === 1) return plane;
  const width = Math.ceil(plane.width / x), height = Math.ceil(plane.height / y);
  const data = new Uint8Array(width * height);
  const sums = new Float64Array(width);
  for (let row = 0; row < height; row++) {
    const bottom = Math.min((row + 1) * y, plane.height);
    sums.fill(0);
    for (let from = row * y; from < bottom; from++) {
      let at = from * plane.width;
      for (let column = 0; column < width; column++) {
        const end = Math.min(at + x, (from + 1) * plane.width);
        let sum = 0;
        while (at < end) sum += plane.data[at++];
        sums[column] += sum;
      }
    }
    for (let column = 0; column < width; column++) {
      const count = (bottom - row * y) * (Math.min((column + 1) * x, plane.width) - column * x);
      const factor = Math.floor(Math.fround(2 ** 32 / (256 * count)));
      const sum = sums[column] + Math.floor(count / 2);
      data[row * width + column] = Math.floor((sum * factor) / 2 ** 24);
    }
  }
  return { width, height, data };
}

/**
 * The pixels that each result takes along one axis, and their weights.
 *
 * @param {number} size of the source
 * @param {number} span the part of it that is taken, from 0 on
 * @param {number} target size of the result
 * @param {Filter} filter
 * @returns {Taps}
 */
function taps(size, span, target, filter) {
  const scale = span / target, wide = Math.max(1, scale), reach = filter.support * wide;
  const longest = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(target), count = new Int32Array(target);
  const weights = new Int32Array(target * longest), raw = new Float64Array(longest);
  for (let i = 0; i < target; i++) {
    const center = (i + 0.5) * scale;
    first[i] = Math.max(0, Math.trunc(center - reach + 0.5));
    count[i] = Math.min(size, Math.trunc(center + reach + 0.5)) - first[i];
    let sum = 0;
    for (let k = 0; k < count[i]; k++) {
      raw[k] = filter.weight((k + first[i] - center + 0.5) / wide);
      sum += raw[k];
    }
    for (let k = 0; k < count[i]; k++) {
      const weight = (sum === 0 ? raw[k] : raw[k] / sum) * 2 ** BITS;
      weights[i * longest + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return { first, count, weights, size: longest };
}

/** @param {Plane} plane @param {Taps} each @param {number} width @returns {Plane} */
function resizeRows(plane, each, width) {
  const data = new Uint8ClampedArray(width * plane.height);
  for (let y = 0; y < plane.height; y++) {
    for (let x = 0; x < width; x++) {
      const from = y * plane.width + each.first[x], weight = x * each.size, count = each.count[x];
      let sum = 1 << (BITS - 1);
      for (let k = 0; k < count; k++) {
        sum = (sum + Math.imul(plane.data[from + k], each.weights[weight + k])) | 0;
      }
      data[y * width + x] = sum >> BITS;
    }
  }
  return { width, height: plane.height, data: new Uint8Array(data.buffer) };
}

/** @param {Plane} plane @param {Taps} each @param {number} height @returns {Plane} */
function resizeColumns(plane, each, height) {
  const width = plane.width;
  const data = new Uint8ClampedArray(width * height), sums = new Int32Array(width);
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (BITS - 1));
    for (let k = 0; k < each.count[y]; k++) {
      const from = (each.first[y] + k) * width, weight = each.weights[y * each.size + k];
      for (let x = 0; x < width; x++) sums[x] += Math.imul(plane.data[from + x], weight);
    }
    for (let x = 0; x < width; x++) data[y * width + x] = sums[x] >> BITS;
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}

const GUIDE_SCALE = 8 / 3; // shorter side of the guide over that of the network's input

/**
 * Height and width at which the network sees a photo: inference/preprocess.py, network_size.
 *
 * @param {number} height
 * @param {number} width
 * @param {number} size shorter side
 * @param {number} multiple of both sides
 */
export function networkSize(height, width, size, multiple) {
  let scale = size / Math.min(height, width);
  scale *= Math.min(1, Math.sqrt((8 * size * size) / (height * width * scale * scale)));
  const longest = Math.floor((16 * size) / multiple);
  /** @param {number} side */
  const fit = (side) =>
    Math.min(longest, Math.max(1, rint((side * scale) / multiple))) * multiple;
  return { height: fit(height), width: fit(width) };
}

/**
 * The size to which colors are upsampled along edges: inference/preprocess.py, guide_size.
 *
 * @param {number} height
 * @param {number} width
 * @param {number} size shorter side of the network's input
 */
export function guideSize(height, width, size) {
  const side = GUIDE_SCALE * size;
  const scale = Math.min(1, side / Math.min(height, width), side * Math.sqrt(8 / (height * width)));
  return { height: Math.max(1, rint(height * scale)), width: Math.max(1, rint(width * scale)) };
}
