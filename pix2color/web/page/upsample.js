/** Colors of cells at a finer grid, along edges. As pix2color/inference/upsample.py, borders.py. */

/** @typedef {import("./decode.js").Cells} Cells */

const RADIUS = 1.25; // cells: radius of the tent within which cells count
const RANGE_SIGMA = 5; // difference of L at which a cell's weight falls to 0.61
const MIN_WEIGHT = 1e-3; // of a cell whose lightness is far from the pixel's

/**
 * Each pixel takes the colors of near cells of similar lightness (joint bilateral upsampling, Kopf
 * et al. 2007, with a tent in place of the spatial Gaussian); none in the borders of a scan.
 *
 * @param {Cells} ab a and b
 * @param {Cells} lightness of the cells
 * @param {Cells} guide L at the size of the result
 * @returns {Cells} a and b
 */
export function upsample(ab, lightness, guide) {
  const { rows: height, columns: width } = guide;
  const content = contentBox(guide);
  const down = taps(height, ab.rows), across = taps(width, ab.columns);
  const cells = ab.rows * ab.columns, size = height * width;
  const data = new Float32Array(2 * size);
  const sharpness = -0.5 / RANGE_SIGMA ** 2;
  for (let y = content.top; y < content.bottom; y++) {
    for (let x = content.left; x < content.right; x++) {
      const pixel = y * width + x, own = guide.data[pixel];
      let sum = 0, a = 0, b = 0;
      for (let i = 0; i < down.length; i++) {
        const row = down[i].cell[y] * ab.columns, rowWeight = down[i].weight[y];
        for (let j = 0; j < across.length; j++) {
          const cell = row + across[j].cell[x], difference = own - lightness.data[cell];
          const weight =
            (Math.exp(difference * difference * sharpness) + MIN_WEIGHT) *
            rowWeight * across[j].weight[x];
          sum += weight;
          a += weight * ab.data[cell];
          b += weight * ab.data[cells + cell];
        }
      }
      data[pixel] = a / sum;
      data[size + pixel] = b / sum;
    }
  }
  return { rows: height, columns: width, data };
}

/** Along one axis: the near cells of each pixel. @param {number} size @param {number} cells */
function taps(size, cells) {
  return Array.from({ length: Math.ceil(2 * RADIUS) }, (_, step) => {
    const cell = new Int32Array(size), weight = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const center = ((i + 0.5) * cells) / size - 0.5;
      const near = Math.floor(center - RADIUS) + 1 + step;
      weight[i] = Math.max(0, 1 - Math.abs(near - center) / RADIUS);
      cell[i] = Math.min(cells - 1, Math.max(0, near));
    }
    return { cell, weight };
  });
}

const MAX_SHARE = 0.2; // of a side that a border takes
const MAX_STD = 3; // of L along a line of border
const BRIGHT = 80, DARK = 15; // L above and below which a flat line may be border
const MIN_STEP = 8; // change of mean L at the border's inner end; a plain sky fades instead
const EDGE_LINES = 3; // over which that change may be spread

/**
 * The part of a scan inside the paper or the black around the photo.
 *
 * @param {Cells} guide L
 */
function contentBox(guide) {
  const { rows, columns, data } = guide;
  const [top, bottom] = contentLines(rows, columns, (line, i) => data[line * columns + i]);
  const [left, right] = contentLines(
    columns, bottom - top, (line, i) => data[(top + i) * columns + line],
  );
  return { top, bottom, left, right };
}

/**
 * @param {number} lines
 * @param {number} length of a line
 * @param {(line: number, i: number) => number} lightness
 */
function contentLines(lines, length, lightness) {
  const first = borderLines(lines, length, lightness);
  const last = lines - borderLines(lines, length, (line, i) => lightness(lines - 1 - line, i));
  return last - first > Math.floor(lines / 2) ? [first, last] : [0, lines];
}

/**
 * Number of border lines, from the first on.
 *
 * @param {number} lines
 * @param {number} length
 * @param {(line: number, i: number) => number} lightness
 */
function borderLines(lines, length, lightness) {
  const limit = Math.floor(lines * MAX_SHARE), near = Math.min(lines, limit + EDGE_LINES + 1);
  const means = [];
  let count = -1;
  for (let line = 0; line < near; line++) {
    let sum = 0, squares = 0;
    for (let i = 0; i < length; i++) sum += lightness(line, i);
    const mean = sum / length;
    for (let i = 0; i < length; i++) squares += (lightness(line, i) - mean) ** 2;
    means.push(mean);
    const flat =
      Math.sqrt(squares / length) < MAX_STD &&
      (mean > BRIGHT || mean < DARK) &&
      Math.abs(mean - means[0]) < MAX_STD;
    if (!flat && count < 0) count = line;
    if (count >= 0 && line >= count + EDGE_LINES - 1) break;
  }
  if (count < 1 || count > limit) return 0;
  const inner = Math.min(count + EDGE_LINES - 1, near - 1);
  // Lines that hold both border and photo stay neutral too.
  return Math.abs(means[inner] - means[0]) > MIN_STEP ? inner : 0;
}
