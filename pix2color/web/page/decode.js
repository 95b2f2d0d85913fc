/** From the network's output to a color per cell. As pix2color/color/ab_bins_numpy.py. */

/**
 * @typedef {{temperature: number, vividness: number, saturation: number}} Settings
 * @typedef {{rows: number, columns: number, data: Float32Array}} Cells rows * columns, or two
 *   such planes (a, then b) behind one another
 */

/**
 * The mean color of softmax((logits - vividness * log p) / T), times the saturation.
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
    data[i] = (settings.saturation * a[i]) / sum[i];
    data[cells + i] = (settings.saturation * b[i]) / sum[i];
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
