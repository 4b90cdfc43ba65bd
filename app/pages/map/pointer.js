// @ts-check
// Mouse and pen on the map: hover, click, zoom with the wheel; drag to move, or to draw a lasso or a box.

/** @import { MapView } from "./view.js" */

/** @typedef {{ x: number, y: number, from: number[], tool: string, line: number[][], moved: boolean }} Press */

const NEAR = 9; // largest distance of the pointer from a point, in pixels
const CLICK = 4; // largest movement of a click, in pixels

/**
 * Returns the four corners of a box from two opposite ones.
 * @param {number[]} a
 * @param {number[]} b
 */
const box = ([ax, ay], [bx, by]) => [
  [ax, ay],
  [bx, ay],
  [bx, by],
  [ax, by],
];

/** @param {MapView} view */
export function attachPointer(view) {
  const { surface, camera } = view;
  /** @type {Press | null} */
  let press = null;

  /**
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  const locate = (event) => {
    const bounds = surface.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  /** @type {(px: number, py: number) => number} */
  const pointAt = (px, py) =>
    view.grid ? view.grid.nearest(...camera.toMap(px, py), NEAR / camera.unit(), (i) => view.isBright(i, true)) : -1;

  surface.onpointerdown = (event) => {
    if (event.button !== 0) return;
    const [x, y] = locate(event);
    const tool = event.shiftKey ? "lasso" : view.tool;
    press = { x, y, from: [x, y], tool, line: [[x, y]], moved: false };
    surface.setPointerCapture(event.pointerId);
  };

  surface.onpointermove = (event) => {
    const [x, y] = locate(event);
    if (!press) return view.hover(pointAt(x, y), x, y);
    if (!press.moved && Math.hypot(x - press.from[0], y - press.from[1]) < CLICK) return undefined;
    press.moved = true;
    view.hover(-1);
    if (press.tool === "move") camera.pan(x - press.x, y - press.y);
    else if (press.tool === "lasso") press.line.push([x, y]);
    else press.line = box(press.from, [x, y]);
    Object.assign(press, { x, y });
    view.outline = press.tool === "move" ? null : press.line;
    return view.redraw();
  };

  /** @param {number[][]} line in pixels */
  const inside = (line) => {
    const corners = line.map(([x, y]) => camera.toMap(x, y));
    return view.grid.inside(corners, (i) => view.isBright(i, false));
  };

  surface.onpointerup = (event) => {
    if (!press) return;
    const done = press;
    press = view.outline = null;
    if (!done.moved) {
      const found = pointAt(...locate(event));
      if (found >= 0) view.open(found);
      else if (view.chosen) view.choose(null);
    } else if (done.tool === "move") view.rest();
    else view.choose(inside(done.line));
    view.redraw();
  };

  surface.onpointercancel = () => {
    press = view.outline = null;
    view.redraw();
  };

  surface.onpointerleave = () => view.hover(-1);

  surface.ondblclick = () => view.showAll();

  // If the map cannot zoom out further, the wheel scrolls the page: the map must not trap it.
  surface.addEventListener(
    "wheel",
    (event) => {
      if (event.deltaY > 0 && camera.zoom <= 0.5) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      camera.zoomAt(Math.exp(-pixels * 0.002), ...locate(event));
      view.redraw();
      view.rest();
    },
    { passive: false },
  );
}
