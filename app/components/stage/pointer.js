// @ts-check
// Mouse and pen on the stage: hover, click, zoom with the wheel, pan by dragging, double-click.
//
// Boxes overlap, so they are found by arithmetic instead of the browser's hit test: the smallest box under the
// pointer wins, paired boxes count as smaller than they are, and another click selects the next box below.

import { boxesAt } from "./geometry.js";

/** @import { BoxRecord, Side } from "./side.js" */
/** @import { Stage } from "./stage.js" */

/** @typedef {{ x: number, y: number, side: Side | undefined }} Place */

const DRAG_FROM = 4; // smallest movement of a drag, in pixels

/** @param {Stage} stage */
export function attachPointer(stage) {
  const { view, svg: surface } = stage;
  /** @type {(Place & { dragging: boolean }) | null} */
  let press = null;
  /** @type {(Place & { record: BoxRecord }) | null} */
  let lastClick = null;

  /**
   * @param {MouseEvent} event
   * @returns {Place}
   */
  const locate = (event) => {
    const bounds = surface.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    return { x, y, side: stage.sides().find((side) => side.contains(x, y)) };
  };

  /** @param {Place} place */
  const recordsAt = ({ x, y, side }) => {
    if (!side) return [];
    const { layers } = view;
    const [px, py] = side.toPhoto(x, y);
    const slack = (3 / side.frame.width / side.view.zoom) * side.size().width;
    const shown = side.records.filter(({ kind }) => (kind === "rejected" ? layers.rejected : layers.boxes));
    return boxesAt(shown, px, py, slack);
  };

  /** @param {MouseEvent} event */
  const pairUnder = (event) => {
    const node = /** @type {SVGElement} */ (event.target).closest?.("[data-pair]");
    return node ? view.drawn().find((pair) => pair.number === Number(node.getAttribute("data-pair"))) : null;
  };

  /** @param {MouseEvent} event */
  const click = (event) => {
    const pair = pairUnder(event);
    if (pair) return view.select(pair);
    const place = locate(event);
    const found = recordsAt(place);
    if (!found.length) return view.clear();
    const again = lastClick && Math.hypot(place.x - lastClick.x, place.y - lastClick.y) < DRAG_FROM;
    const next = again ? (found.indexOf(lastClick.record) + 1) % found.length : 0;
    lastClick = { ...place, record: found[next] };
    return view.choose(found[next]);
  };

  surface.onpointerdown = (event) => {
    if (event.button !== 0) return;
    const { x, y, side } = locate(event);
    press = { x, y, side, dragging: false };
  };

  surface.onpointermove = (event) => {
    const { x, y, side } = locate(event);
    if (press && event.buttons & 1) {
      if (!press.dragging && Math.hypot(x - press.x, y - press.y) >= DRAG_FROM) {
        press.dragging = true;
        surface.setPointerCapture(event.pointerId);
        view.root.classList.add("dragging");
      }
      if (press.dragging && press.side) {
        const { frame } = press.side;
        stage.panBy((x - press.x) / frame.width, (y - press.y) / frame.height);
        Object.assign(press, { x, y });
      }
      return;
    }
    const pair = pairUnder(event);
    const record = pair ? null : recordsAt({ x, y, side })[0];
    surface.classList.toggle("over-mark", Boolean(pair || record));
    view.hover(pair ? [pair] : record ? view.pairsOf(record) : [], record ? [record] : []);
  };

  surface.onclick = (event) => {
    const wasDrag = press?.dragging;
    press = null;
    if (!wasDrag && event.detail < 2) click(event);
  };

  surface.onpointerup = () => view.root.classList.remove("dragging");

  surface.onpointercancel = () => {
    press = null;
    view.root.classList.remove("dragging");
  };

  surface.onpointerleave = () => view.hover([], []);

  surface.ondblclick = (event) => {
    event.preventDefault();
    stage.resetZoom();
  };

  // If the stage cannot zoom out further, the wheel scrolls the page: the stage must not trap it.
  surface.addEventListener(
    "wheel",
    (event) => {
      const { x, y, side } = locate(event);
      if (!side || (event.deltaY > 0 && !stage.zoomed())) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      const { frame } = side;
      stage.zoomBy(Math.exp(-pixels * 0.0022), (x - frame.x) / frame.width, (y - frame.y) / frame.height);
    },
    { passive: false },
  );
}
