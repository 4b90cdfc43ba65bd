// The points as flat arrays: fetching columns, colours, and finding points by place.

// Okabe–Ito; its black is drawn in the colour of text, so that it is seen on a dark ground too.
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"];
const OTHER = "#999999";
const VIRIDIS = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// A column: the header's length, the header, and an array of the header's type.
async function fetchColumn(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  const body = await answer.arrayBuffer();
  const length = new DataView(body).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
  const types = { float32: Float32Array, int32: Int32Array, int16: Int16Array, uint16: Uint16Array };
  return { ...header, values: new types[header.dtype](body, 4 + length) };
}

function alongScale(share) {
  const at = clamp(share, 0, 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [from, to] = [rgb(VIRIDIS[low]), rgb(VIRIDIS[low + 1])];
  return from.map((value, i) => Math.round(value + (to[i] - value) * (at - low)));
}

// Colour of each label: the commonest have one of their own; the nameless last one is always grey.
function labelColours(column, ink) {
  const palette = [...PALETTE, ink];
  const nameless = column.labels.at(-1) === "none";
  return column.labels.map((_, at) =>
    nameless && at === column.labels.length - 1 ? OTHER : (palette[at] ?? OTHER),
  );
}

// How a point is drawn, as the last of its four bytes: those of a higher rank lie above.
const FAINT = 0; // it steps back
const GREY = 128; // nothing is known of it
const COLOURED = 255;
const RANKS = [
  [FAINT, 0.12],
  [GREY, 0.5],
  [COLOURED, 0.88],
]; // and opacity

// Bytes r g b and rank of every point.
function paintPoints(column, ink, bright) {
  const count = column.values.length;
  const bytes = new Uint8Array(count * 4);
  const table = column.labels
    ? labelColours(column, ink).map(rgb)
    : Array.from({ length: 256 }, (_, level) => alongScale(level / 255));
  const span = column.high - column.low || 1;
  const grey = rgb(OTHER);
  for (let i = 0; i < count; i++) {
    const value = column.values[i];
    const at = column.labels ? value : Math.round(clamp((value - column.low) / span, 0, 1) * 255);
    const [r, g, b] = table[at] ?? grey; // NaN: not known
    const known = table[at] && !(column.labels && r === grey[0] && g === grey[1]);
    bytes[4 * i] = r;
    bytes[4 * i + 1] = g;
    bytes[4 * i + 2] = b;
    bytes[4 * i + 3] = bright(i) ? (known ? COLOURED : GREY) : FAINT;
  }
  return bytes;
}

// Points sorted into a grid of cells over [-1, 1]², so that the one under the pointer is found among few.
class Grid {
  constructor(places, side = 256) {
    this.places = places;
    this.side = side;
    const count = places.length / 2;
    const cell = new Int32Array(count);
    this.starts = new Int32Array(side * side + 1);
    for (let i = 0; i < count; i++) {
      cell[i] = this.row(places[2 * i + 1]) * side + this.row(places[2 * i]);
      this.starts[cell[i] + 1]++;
    }
    for (let at = 0; at < side * side; at++) this.starts[at + 1] += this.starts[at];
    const next = this.starts.slice();
    this.order = new Int32Array(count);
    for (let i = 0; i < count; i++) this.order[next[cell[i]]++] = i;
  }

  row(value) {
    return clamp(Math.floor(((value + 1) / 2) * this.side), 0, this.side - 1);
  }

  // Indices of the points in the cells that touch a rectangle.
  *within(left, bottom, right, top) {
    for (let row = this.row(bottom); row <= this.row(top); row++) {
      const from = this.starts[row * this.side + this.row(left)];
      const to = this.starts[row * this.side + this.row(right) + 1];
      for (let at = from; at < to; at++) yield this.order[at];
    }
  }

  nearest(x, y, radius, wanted) {
    let [best, least] = [-1, radius * radius];
    for (const i of this.within(x - radius, y - radius, x + radius, y + radius)) {
      const far = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
      if (far <= least && wanted(i)) [best, least] = [i, far];
    }
    return best;
  }

  // Points inside a closed line, given as [x, y] corners: those from which a ray to the right crosses it an odd number
  // of times.
  inside(corners, wanted) {
    const xs = corners.map(([x]) => x);
    const ys = corners.map(([, y]) => y);
    const found = [];
    for (const i of this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys))) {
      if (!wanted(i)) continue;
      const [x, y] = [this.places[2 * i], this.places[2 * i + 1]];
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [ax, ay] = corners[a];
        const [bx, by] = corners[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found.sort((a, b) => a - b);
  }
}
