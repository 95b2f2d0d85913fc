/** The photo before and after, with a divider, and the places of hints on it. */

import { text } from "./texts.js";

const STEP = 0.01, LONG_STEP = 0.1; // of the photo, that an arrow key moves the cross

/**
 * @param {string} id
 * @returns {any} the element, which index.html has
 */
export const byId = (id) => document.getElementById(id);

export class Stage {
  /** @param {(x: number, y: number) => void} onHint called with shares of width and height */
  constructor(onHint) {
    this.onHint = onHint;
    this.cross = { x: 0.5, y: 0.5 };
    /** @type {string[]} */
    this.urls = [];
    this.turn = 0;
    /** @type {HTMLButtonElement} */
    const pad = byId("pad");
    pad.addEventListener("click", (event) => this.press(event));
    pad.addEventListener("keydown", (event) => this.key(event));
    byId("divider").addEventListener("input", () => this.divide());
    this.divide();
  }

  divide() {
    byId("frame").style.setProperty("--divider", `${byId("divider").value}%`);
  }

  /**
   * @param {string} name
   * @param {Blob} before
   * @param {Blob} after
   */
  async show(name, before, after) {
    const turn = ++this.turn;
    const urls = [before, after].map((blob) => URL.createObjectURL(blob));
    const images = urls.map((url) => Object.assign(new Image(), { src: url }));
    await Promise.all(images.map((image) => image.decode()));
    if (turn !== this.turn) return urls.forEach((url) => URL.revokeObjectURL(url));
    Object.assign(byId("before"), { src: urls[0], alt: text("beforeAlt", { name }) });
    Object.assign(byId("after"), { src: urls[1], alt: text("afterAlt", { name }) });
    byId("frame").style.setProperty("--ratio", String(images[0].width / images[0].height));
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = urls;
  }

  /** @param {boolean} on */
  placeHints(on) {
    byId("frame").classList.toggle("placing", on);
    byId("pad").hidden = !on;
    if (on) this.moveCross(0, 0);
  }

  /** @param {{x: number, y: number, color: string}[]} hints in shares of width and height */
  mark(hints) {
    byId("marks").replaceChildren(
      ...hints.map(({ x, y, color }) => {
        const mark = document.createElement("i");
        Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%`, background: color });
        return mark;
      }),
    );
  }

  /** @param {MouseEvent} event */
  press(event) {
    if (!event.detail) return; // Enter and Space are handled as keys
    const box = byId("pad").getBoundingClientRect();
    this.onHint((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = event.shiftKey ? LONG_STEP : STEP;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (move) this.moveCross(move[0] * step, move[1] * step);
    else if (event.key === "Enter" || event.key === " ") this.onHint(this.cross.x, this.cross.y);
    else return;
    event.preventDefault();
  }

  /** @param {number} across @param {number} down */
  moveCross(across, down) {
    this.cross.x = Math.min(1, Math.max(0, this.cross.x + across));
    this.cross.y = Math.min(1, Math.max(0, this.cross.y + down));
    Object.assign(byId("cross").style, {
      left: `${100 * this.cross.x}%`, top: `${100 * this.cross.y}%`,
    });
  }
}
