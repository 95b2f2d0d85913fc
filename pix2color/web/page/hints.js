/**
 * Colors that a user pins to places, spread over the parts of a photo that are alike.
 * As pix2color/guidance/hints.py (points) and propagation.py.
 */

/**
 * @typedef {import("./decode.js").Cells} Cells
 * @typedef {{x: number, y: number, color: string}} Hint pixels of the upright photo
 */

import { abOfHex } from "./color.js";

const LIGHTNESS_SIGMA = 8; // difference of L between neighbors at which their tie falls to 0.61
const FEATURE_SIGMA = 0.35; // distance of features at which it does
const REGULARIZATION = 0.001; // pull of every cell towards no change
const RECALL_WEIGHT = 0.1; // pull of a cell that looks like a hint towards the hint's change
const RECALL_SIGMA = 0.25; // distance of features at which that pull falls to 0.61
const SPATIAL_SIGMA = 0.2; // distance at which it does, as a share of the longer side
const HINT_WEIGHT = 100; // pull of a hint
const MAX_STEPS = 600;
const TOLERANCE = 1e-4;

/**
 * The colors of cells with hints spread over them: the change is pinned at the hints, smooth
 * between cells that look alike, and fades elsewhere (a screened Poisson equation).
 *
 * @param {Cells} ab a and b as decoded
 * @param {Cells} lightness of the cells
 * @param {Float32Array} features F,rows,columns: the network's last
 * @param {Hint[]} hints
 * @param {{width: number, height: number}} photo
 * @returns {Cells} a and b
 */
export function propagate(ab, lightness, features, hints, photo) {
  const cells = ab.rows * ab.columns;
  const pinned = rasterize(hints, photo, ab);
  if (!pinned.size) return ab;
  const look = normalize(features, cells);
  const changes = [...pinned].map(([cell, color]) => ({
    cell, change: color.map((value, c) => value - ab.data[c * cells + cell]),
  }));
  const { strength, recalled } = recall(look, changes, ab);
  const pull = strength.map((value) => value + REGULARIZATION);
  for (const { cell } of changes) pull[cell] += HINT_WEIGHT;
  const graph = edges(look, lightness);
  const data = ab.data.slice();
  for (let c = 0; c < 2; c++) {
    const right = strength.map((value, i) => value * recalled[c][i]);
    for (const { cell, change } of changes) right[cell] += HINT_WEIGHT * change[c];
    const solution = solve(graph, pull, right);
    for (let i = 0; i < cells; i++) data[c * cells + i] += solution[i];
  }
  return { rows: ab.rows, columns: ab.columns, data };
}

/**
 * The cells that are hinted and the mean color of their hints.
 *
 * @param {Hint[]} hints
 * @param {{width: number, height: number}} photo
 * @param {Cells} grid
 */
function rasterize(hints, photo, grid) {
  /** @type {Map<number, number[][]>} */
  const found = new Map();
  for (const hint of hints) {
    const row = Math.floor(((hint.y + 0.5) * grid.rows) / photo.height);
    const column = Math.floor(((hint.x + 0.5) * grid.columns) / photo.width);
    const cell =
      Math.min(grid.rows - 1, Math.max(0, row)) * grid.columns +
      Math.min(grid.columns - 1, Math.max(0, column));
    found.set(cell, [...(found.get(cell) ?? []), abOfHex(hint.color)]);
  }
  return new Map(
    [...found].map(([cell, colors]) => [
      cell,
      [0, 1].map((c) => colors.reduce((sum, color) => sum + color[c], 0) / colors.length),
    ]),
  );
}

/** Features standardized over the photo, then of length 1: cells,F. */
/** @param {Float32Array} features @param {number} cells */
function normalize(features, cells) {
  const count = features.length / cells;
  const look = new Float32Array(features.length);
  for (let f = 0; f < count; f++) {
    let sum = 0, squares = 0;
    for (let i = 0; i < cells; i++) sum += features[f * cells + i];
    const mean = sum / cells;
    for (let i = 0; i < cells; i++) squares += (features[f * cells + i] - mean) ** 2;
    const deviation = Math.max(Math.sqrt(squares / cells), 1e-6);
    for (let i = 0; i < cells; i++) {
      look[i * count + f] = (features[f * cells + i] - mean) / deviation;
    }
  }
  for (let i = 0; i < cells; i++) {
    const own = look.subarray(i * count, (i + 1) * count);
    const length = Math.max(Math.hypot(...own), 1e-6);
    for (let f = 0; f < count; f++) own[f] /= length;
  }
  return { data: look, count };
}

/**
 * For every cell: its pull towards hints elsewhere, and their change.
 *
 * @param {{data: Float32Array, count: number}} look
 * @param {{cell: number, change: number[]}[]} changes
 * @param {Cells} grid
 */
function recall(look, changes, grid) {
  const cells = grid.rows * grid.columns, reach = SPATIAL_SIGMA * Math.max(grid.rows, grid.columns);
  const strength = new Float64Array(cells);
  const recalled = [new Float64Array(cells), new Float64Array(cells)];
  for (let i = 0; i < cells; i++) {
    let sum = 0, strongest = 0, a = 0, b = 0;
    for (const { cell, change } of changes) {
      const squared = Math.max(2 - 2 * dot(look, i, cell), 0) / RECALL_SIGMA ** 2;
      const down = Math.floor(i / grid.columns) - Math.floor(cell / grid.columns);
      const across = (i % grid.columns) - (cell % grid.columns);
      const tie = Math.exp(-0.5 * (squared + (down ** 2 + across ** 2) / reach ** 2));
      sum += tie;
      strongest = Math.max(strongest, tie);
      a += tie * change[0];
      b += tie * change[1];
    }
    strength[i] = RECALL_WEIGHT * strongest;
    recalled[0][i] = a / Math.max(sum, 1e-9);
    recalled[1][i] = b / Math.max(sum, 1e-9);
  }
  return { strength, recalled };
}

/** @param {{data: Float32Array, count: number}} look @param {number} i @param {number} j */
function dot(look, i, j) {
  let sum = 0;
  for (let f = 0; f < look.count; f++) {
    sum += look.data[i * look.count + f] * look.data[j * look.count + f];
  }
  return sum;
}

/**
 * Ties of each cell with its eight neighbors.
 *
 * @param {{data: Float32Array, count: number}} look
 * @param {Cells} lightness
 */
function edges(look, lightness) {
  const { rows, columns, data } = lightness;
  const from = [], to = [], weight = [];
  for (const [dy, dx] of [[0, 1], [1, 0], [1, 1], [1, -1]]) {
    for (let y = 0; y < rows - dy; y++) {
      for (let x = Math.max(0, -dx); x < columns - Math.max(0, dx); x++) {
        const i = y * columns + x, j = i + dy * columns + dx;
        const light = (data[i] - data[j]) / LIGHTNESS_SIGMA;
        const lengths = dot(look, i, i) + dot(look, j, j); // 1 each, or 0
        const apart = Math.max(0, lengths - 2 * dot(look, i, j));
        const tie = Math.exp(-0.5 * (light ** 2 + apart / FEATURE_SIGMA ** 2));
        from.push(i);
        to.push(j);
        weight.push(dx && dy ? tie / Math.SQRT2 : tie);
      }
    }
  }
  return {
    from: Int32Array.from(from), to: Int32Array.from(to), weight: Float64Array.from(weight),
  };
}

/**
 * Solve (Laplacian of the graph + pull) x = right by conjugate gradients with the diagonal as the
 * preconditioner.
 *
 * @param {{from: Int32Array, to: Int32Array, weight: Float64Array}} graph
 * @param {Float64Array} pull
 * @param {Float64Array} right
 */
function solve(graph, pull, right) {
  const { from, to, weight } = graph, size = right.length;
  const diagonal = pull.slice();
  for (let e = 0; e < weight.length; e++) {
    diagonal[from[e]] += weight[e];
    diagonal[to[e]] += weight[e];
  }
  /** @param {Float64Array} u @param {Float64Array} v */
  const product = (u, v) => u.reduce((sum, value, i) => sum + value * v[i], 0);
  const x = new Float64Array(size), rest = right.slice(), q = new Float64Array(size);
  const limit = TOLERANCE * Math.sqrt(product(right, right));
  let direction = new Float64Array(size), before = 0;
  for (let step = 0; step < MAX_STEPS && Math.sqrt(product(rest, rest)) > limit; step++) {
    const z = rest.map((value, i) => value / diagonal[i]);
    const rho = product(rest, z);
    const beta = step ? rho / before : 0;
    direction = z.map((value, i) => value + beta * direction[i]);
    for (let i = 0; i < size; i++) q[i] = diagonal[i] * direction[i];
    for (let e = 0; e < weight.length; e++) {
      q[from[e]] -= weight[e] * direction[to[e]];
      q[to[e]] -= weight[e] * direction[from[e]];
    }
    const alpha = rho / product(direction, q);
    for (let i = 0; i < size; i++) {
      x[i] += alpha * direction[i];
      rest[i] -= alpha * q[i];
    }
    before = rho;
  }
  return x;
}
