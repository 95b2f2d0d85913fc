/** One photo's grays -> its colors: what infer.py does between reading a file and writing it. */

import { LIGHTNESS } from "./color.js";
import { annealedMean, calibrate, cellLightness } from "./decode.js";
import { propagate } from "./hints.js";
import { HAMMING, LANCZOS, guideSize, networkSize, resize } from "./resample.js";
import { upsample } from "./upsample.js";

/**
 * @typedef {import("./decode.js").Cells} Cells
 * @typedef {import("./decode.js").Settings} Settings
 * @typedef {import("./hints.js").Hint} Hint
 * @typedef {import("./resample.js").Plane} Plane
 * @typedef {{
 *   digest: string, stride: number, log_prior: number[],
 *   bins: [number, number][], decode: Settings & {input_size: number},
 *   calibration: import("./decode.js").Calibration | null,
 * }} Model what a release file says of its network
 * @typedef {(lightness: Float32Array, height: number, width: number, features: boolean) =>
 *   Promise<{raw: Float32Array, features: Float32Array | null}>} Network one pass
 * @typedef {{
 *   rows: number, columns: number, raw: Float32Array, features: Float32Array | null,
 *   lightness: Cells, guide: Cells, width: number, height: number,
 * }} Prediction the network's output for one photo
 */

const REDUCING_GAP = 3;

/**
 * One pass of the network over a photo.
 *
 * @param {Plane} gray of the photo
 * @param {Model} model
 * @param {Network} network
 * @param {boolean} features keep those that hints need
 * @returns {Promise<Prediction>}
 */
export async function predict(gray, model, network, features) {
  const { width, height } = gray, size = model.decode.input_size;
  const input = networkSize(height, width, size, model.stride);
  const small = lightnessAt(gray, input, LANCZOS);
  const output = await network(small, input.height, input.width, features);
  const rows = input.height / model.stride, columns = input.width / model.stride;
  const guide = guideSize(height, width, size);
  return {
    rows, columns, ...output, width, height,
    lightness: cellLightness(small, rows, columns, model.stride),
    guide: { rows: guide.height, columns: guide.width, data: lightnessAt(gray, guide, HAMMING) },
  };
}

/**
 * The colors of a photo at the guide's size.
 *
 * @param {Prediction} prediction with features where there are hints
 * @param {Model} model
 * @param {Settings} settings
 * @param {Hint[]} hints
 * @returns {Cells} a and b
 */
export function colors(prediction, model, settings, hints) {
  const { rows, columns, raw, features, lightness, guide } = prediction;
  let ab = annealedMean(raw, rows, columns, model.log_prior, model.bins, settings);
  if (model.calibration && settings.calibration) {
    calibrate(ab, lightness, model.calibration, settings.calibration);
  }
  for (let i = 0; i < ab.data.length; i++) ab.data[i] *= settings.saturation;
  if (hints.length && features) ab = propagate(ab, lightness, features, hints, prediction);
  return upsample(ab, lightness, guide);
}

/**
 * @param {Plane} gray
 * @param {{width: number, height: number}} size
 * @param {import("./resample.js").Filter} filter
 */
function lightnessAt(gray, size, filter) {
  const small = resize(gray, size.width, size.height, filter, REDUCING_GAP);
  return Float32Array.from(small.data, (value) => LIGHTNESS[value]);
}
