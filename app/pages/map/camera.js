// @ts-check
// A camera over [-1, 1]²: centre and zoom. The aspect ratio does not depend on the canvas.

import { clamp } from "../../components/numbers.js";

export class Camera {
  constructor() {
    this.across = this.up = 1; // half of the points' extent
    this.width = this.height = 0; // of the canvas, in pixels
    this.x = this.y = 0; // its centre on the map
    this.zoom = 1;
  }

  /** @param {ArrayLike<number>} places x and y of each point */
  span(places) {
    this.across = this.up = 1e-3;
    for (let i = 0; i < places.length; i += 2) {
      this.across = Math.max(this.across, Math.abs(places[i]));
      this.up = Math.max(this.up, Math.abs(places[i + 1]));
    }
  }

  reset() {
    Object.assign(this, { x: 0, y: 0, zoom: 1 });
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  fit(width, height) {
    this.width = width;
    this.height = height;
  }

  // Pixels of one unit of the map.
  unit() {
    return (Math.min(this.width / this.across, this.height / this.up) / 2) * 0.94 * this.zoom;
  }

  transform() {
    const [scaleX, scaleY] = [(2 * this.unit()) / this.width, (2 * this.unit()) / this.height];
    return { scaleX, scaleY, offsetX: -this.x * scaleX, offsetY: -this.y * scaleY };
  }

  /**
   * @param {number} px
   * @param {number} py
   * @returns {[number, number]}
   */
  toMap(px, py) {
    return [(px - this.width / 2) / this.unit() + this.x, (this.height / 2 - py) / this.unit() + this.y];
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toPixels(x, y) {
    return [(x - this.x) * this.unit() + this.width / 2, this.height / 2 - (y - this.y) * this.unit()];
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.x = clamp(this.x - dx / this.unit(), -1.2, 1.2);
    this.y = clamp(this.y + dy / this.unit(), -1.2, 1.2);
  }

  /**
   * Zooms around a pixel.
   * @param {number} factor
   * @param {number} px
   * @param {number} py
   */
  zoomAt(factor, px, py) {
    const [x, y] = this.toMap(px, py);
    this.zoom = clamp(this.zoom * factor, 0.5, 400);
    const [left, top] = this.toPixels(x, y);
    this.pan(px - left, py - top);
  }
}
