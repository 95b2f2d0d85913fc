/**
 * sRGB and CIE Lab: the tables of 8-bit photos. As pix2color/color and inference/preprocess.py.
 *
 * Ranges: code values 0..255, linear light 0..1, L 0..100, a and b in Lab units.
 */

/** Y of linear R, G and B (scikit-image's sRGB under D65, 2 degrees). */
const LUMINANCE = [0.212671, 0.71516, 0.072169];
const RGB_TO_Z_AND_X = { x: [0.412453, 0.35758, 0.180423], z: [0.019334, 0.119193, 0.950227] };
const XYZ_TO_RGB = [
  [3.24048134, -1.53715152, -0.49853633],
  [-0.96925495, 1.87599, 0.04155593],
  [0.05564664, -0.20404134, 1.05731107],
];
const WHITE = [0.95047, 1.0, 1.08883];
const CODE_STEPS = 65535; // of the tables from linear light to code values
const EPSILON = 1e-9; // linear light: a difference from gray that needs no gamut mapping

/** Round half to even, as numpy. @param {number} value */
export function rint(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/** @param {number} gamma 0..1 */
function srgbToLinear(gamma) {
  return gamma > 0.04045 ? ((gamma + 0.055) / 1.055) ** 2.4 : gamma / 12.92;
}

/** @param {number} linear 0..1 */
function linearToSrgb(linear) {
  return linear > 0.0031308 ? 1.055 * linear ** (1 / 2.4) - 0.055 : 12.92 * linear;
}

/** CIE's f. @param {number} t */
function labF(t) {
  return t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116;
}

/** @param {number} f */
function labFInverse(f) {
  return f > 0.2068966 ? f * f * f : (f - 16 / 116) / 7.787;
}

const LINEAR = Float64Array.from({ length: 256 }, (_, code) => srgbToLinear(code / 255));
const GRAY_F = LINEAR.map(labF);

/** L of every 8-bit gray. */
export const LIGHTNESS = Float32Array.from(GRAY_F, (f) => 116 * f - 16);

const CODES = Uint8Array.from({ length: CODE_STEPS + 1 }, (_, step) =>
  rint(linearToSrgb(step / CODE_STEPS) * 255),
);
const LIGHT_OF_RED = Float32Array.from(LINEAR, (v) => v * LUMINANCE[0]);
const LIGHT_OF_GREEN = Float32Array.from(LINEAR, (v) => v * LUMINANCE[1]);
const LIGHT_OF_BLUE = Float32Array.from(LINEAR, (v) => v * LUMINANCE[2]);

/**
 * The grays that have the lightness of pixels; R = G = B keeps its value.
 *
 * @param {Uint8ClampedArray} rgba 4 n values
 * @param {Uint8Array} gray n values, written
 */
export function grayOf(rgba, gray) {
  for (let i = 0, p = 0; i < gray.length; i++, p += 4) {
    const red = rgba[p], green = rgba[p + 1], blue = rgba[p + 2];
    if (red === green && green === blue) {
      gray[i] = red;
      continue;
    }
    const two = Math.fround(LIGHT_OF_RED[red] + LIGHT_OF_GREEN[green]);
    const light = Math.fround(two + LIGHT_OF_BLUE[blue]);
    gray[i] = CODES[Math.min(CODE_STEPS, (light * CODE_STEPS + 0.5) | 0)];
  }
}

/** The a and b of a color such as #2040ff. @param {string} hex @returns {[number, number]} */
export function abOfHex(hex) {
  const rgb = [1, 3, 5].map((at) => LINEAR[parseInt(hex.slice(at, at + 2), 16)]);
  /** @param {number[]} row @param {number} white */
  const f = (row, white) => labF((row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2]) / white);
  const fy = f(LUMINANCE, WHITE[1]);
  const fx = f(RGB_TO_Z_AND_X.x, WHITE[0]);
  return [500 * (fx - fy), 200 * (fy - f(RGB_TO_Z_AND_X.z, WHITE[2]))];
}

// Lab -> linear sRGB. The published matrix and white agree to 1e-5; made exact: gray stays gray.
const MATRIX = XYZ_TO_RGB.map((row) => {
  const scaled = row.map((value, i) => value * WHITE[i]);
  const sum = scaled[0] + scaled[1] + scaled[2];
  return scaled.map((value) => value / sum);
});

/**
 * The pixels of one a, b at every 8-bit gray, inside sRGB: a color that sRGB lacks is mixed, in
 * linear light, with the gray of its luminance, which keeps L.
 *
 * @param {number} a
 * @param {number} b
 * @returns {Uint32Array} 256 words of R, G, B, 255 in memory order
 */
export function pixelsOfColor(a, b) {
  const bytes = new Uint8ClampedArray(1024);
  const linear = [0, 0, 0];
  for (let gray = 0; gray < 256; gray++) {
    const y = LINEAR[gray];
    const x = labFInverse(GRAY_F[gray] + a / 500);
    const z = labFInverse(Math.max(GRAY_F[gray] - b / 200, 0));
    for (let c = 0; c < 3; c++) linear[c] = MATRIX[c][0] * x + MATRIX[c][1] * y + MATRIX[c][2] * z;
    const high = Math.max(linear[0], linear[1], linear[2]);
    const low = Math.min(linear[0], linear[1], linear[2]);
    const up = (1 - y) / Math.max(high - y, EPSILON);
    const share = Math.min(up, y / Math.max(y - low, EPSILON), 1);
    for (let c = 0; c < 3; c++) {
      const value = Math.min(1, Math.max(0, y + share * (linear[c] - y)));
      bytes[4 * gray + c] = CODES[(value * CODE_STEPS + 0.5) | 0];
    }
    bytes[4 * gray + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}
