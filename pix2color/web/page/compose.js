/** Grays at full size and colors at a smaller one -> pixels. As pix2color/inference/compose.py. */

import { pixelsOfColor, rint } from "./color.js";
import { BILINEAR, resize } from "./resample.js";

/** @typedef {import("./decode.js").Cells} Cells */

const AB_STEP = 0.5; // Lab units to which colors are rounded

/** Colors a photo in bands of rows: a table per color that occurs, one look-up per pixel. */
export class Composer {
  /**
   * @param {Cells} ab a and b at any smaller size
   * @param {number} width of the photo
   * @param {number} height
   */
  constructor(ab, width, height) {
    const size = ab.rows * ab.columns;
    const planes = [ab.data.subarray(0, size), ab.data.subarray(size)];
    this.width = width;
    this.height = height;
    this.rows = ab.rows;
    this.low = planes.map((plane) => Math.floor(plane.reduce((x, y) => Math.min(x, y), Infinity)));
    const span = planes.map(
      (plane, i) => plane.reduce((x, y) => Math.max(x, y), -Infinity) - this.low[i],
    );
    this.step = Math.max(AB_STEP, Math.max(...span) / 255);
    this.wide = planes.map((plane, i) => {
      const data = Uint8Array.from(plane, (value) => rint((value - this.low[i]) / this.step));
      return resize({ width: ab.columns, height: ab.rows, data }, width, ab.rows, BILINEAR).data;
    });
    /** @type {(Uint32Array | undefined)[]} */
    this.tables = new Array(65536);
  }

  /**
   * Some rows of the photo.
   *
   * @param {Uint8Array} gray of the whole photo
   * @param {number} top
   * @param {number} bottom
   * @returns {Uint32Array<ArrayBuffer>} RGBA in memory order
   */
  band(gray, top, bottom) {
    const { width } = this;
    const out = new Uint32Array((bottom - top) * width);
    for (let y = top, at = 0; y < bottom; y++) {
      const position = Math.min(
        this.rows - 1, Math.max(0, ((y + 0.5) * this.rows) / this.height - 0.5),
      );
      const above = Math.floor(position), below = Math.min(above + 1, this.rows - 1);
      const share = rint((position - above) * 256);
      let color = -1;
      /** @type {Uint32Array} */
      let table = NONE;
      for (let x = 0; x < width; x++, at++) {
        const a = this.mix(0, above * width + x, below * width + x, share);
        const next = (a << 8) | this.mix(1, above * width + x, below * width + x, share);
        if (next !== color) {
          color = next;
          table = this.tables[color] ??= pixelsOfColor(
            (color >> 8) * this.step + this.low[0], (color & 255) * this.step + this.low[1],
          );
        }
        out[at] = table[gray[y * width + x]];
      }
    }
    return out;
  }

  /** @param {number} plane @param {number} above @param {number} below @param {number} share */
  mix(plane, above, below, share) {
    const wide = this.wide[plane];
    return (wide[above] * (256 - share) + wide[below] * share + 128) >> 8;
  }
}

const NONE = new Uint32Array(256);
