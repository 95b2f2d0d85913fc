/**
 * From the network's output to a color per cell. As pix2color/color/ab_bins_numpy.py and
 * chroma_calibration.py.
 */

/**
 * @typedef {{temperature: number, vividness: number, saturation: number, calibration: number}}
 *   Settings
 * @typedef {{shift: string}} Calibration change of chroma by lightness, hue and chroma: float32,
 *   BANDS,SECTORS,KNOTS, as base64
 * @typedef {{rows: number, columns: number, data: Float32Array}} Cells rows * columns, or two
 *   such planes (a, then b) behind one another
 */

const BANDS = 20; // of L
const SECTORS = 24; // of hue
const KNOTS = 60, KNOT_STEP = 2; // of chroma, Lab units

/**
 * The mean color of softmax((logits - vividness * log p) / T).
 *
 * @param {Float32Array} logits bins,rows,columns
 * @param {number} rows
 * @param {number} columns
 * @param {number[]} logPrior of the bins
 * @param {[number, number][]} bins a and b
 * @param {Settings} settings
 * @returns {Cells} a and b
 */
export function annealedMean(logits, rows, columns, logPrior, bins, settings) {
  const cells = rows * columns, count = bins.length;
  const highest = new Float32Array(cells).fill(-Infinity);
  for (let k = 0; k < count; k++) {
    const shift = settings.vividness * logPrior[k];
    for (let i = 0, at = k * cells; i < cells; i++, at++) {
      if (logits[at] - shift > highest[i]) highest[i] = logits[at] - shift;
    }
  }
  const sum = new Float64Array(cells), a = new Float64Array(cells), b = new Float64Array(cells);
  for (let k = 0; k < count; k++) {
    const shift = settings.vividness * logPrior[k];
    const [binA, binB] = bins[k];
    for (let i = 0, at = k * cells; i < cells; i++, at++) {
      const share = Math.exp((logits[at] - shift - highest[i]) / settings.temperature);
      sum[i] += share;
      a[i] += share * binA;
      b[i] += share * binB;
    }
  }
  const data = new Float32Array(2 * cells);
  for (let i = 0; i < cells; i++) {
    data[i] = a[i] / sum[i];
    data[cells + i] = b[i] / sum[i];
  }
  return { rows, columns, data };
}

/**
 * The mean L of each cell.
 *
 * @param {Float32Array} lightness of the network's input
 * @param {number} rows
 * @param {number} columns
 * @param {number} stride pixels per cell along each axis
 * @returns {Cells}
 */
export function cellLightness(lightness, rows, columns, stride) {
  const data = new Float32Array(rows * columns), width = columns * stride;
  for (let i = 0; i < data.length; i++) {
    const top = Math.floor(i / columns) * stride, left = (i % columns) * stride;
    let sum = 0;
    for (let y = top; y < top + stride; y++) {
      for (let x = left; x < left + stride; x++) sum += lightness[y * width + x];
    }
    data[i] = sum / (stride * stride);
  }
  return { rows, columns, data };
}

/**
 * Colors with the chroma that photos have; hues stay.
 *
 * @param {Cells} ab changed in place
 * @param {Cells} lightness
 * @param {Calibration} calibration
 * @param {number} share of the change
 */
export function calibrate(ab, lightness, calibration, share) {
  const bytes = Uint8Array.from(atob(calibration.shift), (letter) => letter.charCodeAt(0));
  const shift = new Float32Array(bytes.buffer);
  /** @param {number} band @param {number} sector @param {number} knot */
  const along = (band, sector, knot) => {
    const row = (band * SECTORS + ((sector + SECTORS) % SECTORS)) * KNOTS, whole = Math.floor(knot);
    const below = whole ? shift[row + whole - 1] : 0; // no chroma stays none
    return below + (knot - whole) * (shift[row + Math.min(whole, KNOTS - 1)] - below);
  };
  const cells = ab.rows * ab.columns;
  for (let i = 0; i < cells; i++) {
    const a = ab.data[i], b = ab.data[cells + i];
    const chroma = Math.min(KNOTS * KNOT_STEP, Math.max(1e-6, Math.hypot(a, b)));
    const band = Math.min(BANDS - 1, Math.max(0, (lightness.data[i] * BANDS) / 100 - 0.5));
    const sector = (Math.atan2(b, a) * SECTORS) / (2 * Math.PI) - 0.5;
    const b0 = Math.floor(band), s0 = Math.floor(sector);
    const [lower, upper] = [b0, Math.min(b0 + 1, BANDS - 1)].map((each) => {
      const first = along(each, s0, chroma / KNOT_STEP);
      return first + (sector - s0) * (along(each, s0 + 1, chroma / KNOT_STEP) - first);
    });
    const gain = Math.max(0, 1 + (share * (lower + (band - b0) * (upper - lower))) / chroma);
    ab.data[i] *= gain;
    ab.data[cells + i] *= gain;
  }
}
