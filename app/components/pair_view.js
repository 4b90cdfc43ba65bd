// The view itself: state, actions, keys, and the entry point that Streamlit calls with new data.

const THROTTLE = 140; // ms between repeats of a held arrow key; faster triggers would be lost

const TYPING = "input, textarea, select, [role=textbox], [role=combobox]";
const ARROW_ROLES = new Set(["slider", "listbox", "menu", "tablist", "radiogroup", "grid", "tree"]);

const views = new WeakMap(); // parentElement → PairView
const mounted = new Set();
let keysGoTo = null; // with several views on a page, the one used last
let counter = 0; // makes equal events distinguishable

// What the stage and the table are built from. A selection or a verdict that comes back from the server
// leaves it as it is, and then the rows, with their focus and hover, stay in place.
function fingerprint({ query, neighbor, pairs, can_judge, crop_url }) {
  return JSON.stringify([query, neighbor, pairs.map(({ verdict, ...pair }) => pair), can_judge, crop_url]);
}

class PairView {
  constructor(root) {
    this.root = root;
    this.data = null;
    this.pairs = [];
    this.layers = { boxes: true, links: true, rejected: false, attention: false };
    this.opacity = 0.6;
    this.threshold = null; // null: every pair
    this.selected = null;
    this.hoverPairs = [];
    this.hoverRecord = null;
    this.focusRecord = null; // a clicked box whose explanation is open
    this.prefetched = new Set();
    this.stage = new Stage(this);
    this.filmstrip = new Filmstrip(this);
    this.toolbar = new Toolbar(this);
    this.table = new PairTable(this);
    this.help = new HelpSheet();
    const main = el("div", { class: "main" }, this.stage.root, this.table.root);
    root.replaceChildren(this.filmstrip.root, this.toolbar.root, main, this.help.root);
    root.onpointerenter = () => (keysGoTo = this);
    root.addEventListener("focusin", () => (keysGoTo = this));
    // After a mouse click the next key would put a focus ring on what was clicked; keyboard focus stays.
    root.onclick = (event) => event.detail > 0 && root.getRootNode().activeElement?.blur();
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(root);
    this.listeners = { keydown: (event) => this.keyDown(event), keyup: (event) => this.keyUp(event) };
    // Capturing, so that a key used here does not reach Streamlit's own shortcuts (R would rerun the page).
    for (const [name, listener] of Object.entries(this.listeners)) document.addEventListener(name, listener, true);
    mounted.add(this);
  }

  destroy() {
    this.resizer.disconnect();
    this.stage.stopTween();
    for (const [name, listener] of Object.entries(this.listeners)) document.removeEventListener(name, listener, true);
    mounted.delete(this);
    if (keysGoTo === this) keysGoTo = null;
  }

  width() {
    return this.root.clientWidth;
  }

  resize() {
    this.root.classList.toggle("wide", this.width() >= 1100);
    this.stage.layout();
  }

  // -- data ------------------------------------------------------------------------------------------

  setData(data) {
    if (!data || data === this.data) return; // a theme change runs the entry point again
    const drawing = fingerprint(data);
    const redraw = drawing !== this.drawing;
    const samePhotos = data.query.id === this.data?.query.id && data.neighbor?.id === this.data?.neighbor?.id;
    this.drawing = drawing;
    this.data = data;
    if (redraw) {
      const paint = (index) => PALETTE[index % PALETTE.length];
      this.pairs = data.pairs.map((pair, index) => ({ ...pair, ...paint(index), number: index + 1 }));
      this.hoverPairs = [];
      this.hoverRecord = this.focusRecord = null;
    }
    data.pairs.forEach((pair, index) => (this.pairs[index].verdict = pair.verdict));
    const { selected } = data;
    this.selected = this.pairs.find((pair) => pair.q === selected?.q && pair.k === selected?.k) ?? null;
    if (!samePhotos) this.table.root.scrollTop = 0;
    this.root.classList.toggle("wide", this.width() >= 1100);
    if (redraw) {
      this.stage.setData(data);
      this.table.setData(data);
    }
    this.filmstrip.setData(data);
    this.toolbar.setData(data);
    this.paint();
    if (this.selected) this.table.reveal(this.selected);
    for (const url of data.prefetch ?? []) {
      if (this.prefetched.has(url)) continue;
      this.prefetched.add(url);
      new Image().src = url;
    }
  }

  isVisible(pair) {
    return this.threshold === null || pair.similarity >= this.threshold;
  }

  visiblePairs() {
    return this.pairs.filter((pair) => this.isVisible(pair));
  }

  pairsOf(record) {
    if (record.kind === "rejected") return [];
    const index = record.side === "query" ? "q" : "k";
    return this.visiblePairs().filter((pair) => pair[index] === record.index);
  }

  // What is lit: the pointer speaks first, then a clicked box, then the selection.
  hotPairs() {
    if (this.hoverPairs.length || this.hoverRecord) return this.hoverPairs;
    if (this.focusRecord) return this.pairsOf(this.focusRecord);
    return this.selected && this.isVisible(this.selected) ? [this.selected] : [];
  }

  hotRecord() {
    return this.hoverPairs.length || this.hoverRecord ? this.hoverRecord : this.focusRecord;
  }

  somethingHot() {
    return this.hotPairs().length > 0 || Boolean(this.hotRecord());
  }

  emptySentence() {
    if (!this.data.neighbor) return "This query has no neighbour to compare with.";
    if (!this.pairs.length) return "No pair between these two photos passes the current settings.";
    if (this.visiblePairs().length) return "";
    return `No pair reaches this similarity: the best is ${this.pairs[0].similarity.toFixed(3)}.`;
  }

  // -- painting --------------------------------------------------------------------------------------

  paint() {
    for (const [name, on] of Object.entries(this.layers)) this.root.classList.toggle(`no-${name}`, !on);
    this.root.style.setProperty("--attention-opacity", this.opacity);
    // Heat maps are computed on the server: ask for them only when they are looked at.
    this.stage.setAttention(this.layers.attention ? this.data.attention : null);
    this.stage.paint();
    this.table.paint();
    this.toolbar.paint();
  }

  highlight() {
    this.stage.paint();
    this.table.paint();
  }

  // -- actions ---------------------------------------------------------------------------------------

  hover(pairs, record) {
    const same = pairs.length === this.hoverPairs.length && pairs.every((pair, i) => pair === this.hoverPairs[i]);
    if (same && record === this.hoverRecord) return;
    this.hoverPairs = pairs;
    this.hoverRecord = record;
    this.highlight();
  }

  choose(record) {
    const pairs = this.pairsOf(record);
    if (pairs.length === 1) return this.select(pairs[0], record.side);
    this.focusRecord = record;
    return this.highlight();
  }

  select(pair, side) {
    this.focusRecord = null;
    this.selected = pair;
    this.highlight();
    if (pair) this.table.reveal(pair);
    this.send("pick", { q: pair?.q ?? null, k: pair?.k ?? null, side, n: ++counter });
  }

  clear() {
    if (this.focusRecord) {
      this.focusRecord = null;
      this.highlight();
    } else if (this.selected) this.select(null, null);
  }

  pickBy(offset) {
    const pairs = this.visiblePairs();
    if (!pairs.length) return;
    const at = pairs.indexOf(this.selected);
    this.select(pairs[at < 0 ? 0 : clamp(at + offset, 0, pairs.length - 1)], null);
  }

  judge(pair, verdict) {
    pair.verdict = pair.verdict === verdict ? null : verdict; // shown at once; new data has the last word
    this.highlight();
    const { rank, q, k } = pair;
    this.send("verdict", { rank, q, k, verdict: pair.verdict, n: ++counter });
  }

  goTo(rank) {
    if (rank !== this.data.neighbor?.rank) this.send("neighbor", rank);
  }

  goBy(offset) {
    const ranks = this.data.neighbors.map((neighbor) => neighbor.rank);
    const next = ranks[ranks.indexOf(this.data.neighbor?.rank) + offset];
    if (next !== undefined) this.goTo(next);
  }

  toggleLayer(name) {
    if (this.toolbar.toggles[name].disabled || this.toolbar.toggles[name].hidden) return;
    this.layers[name] = !this.layers[name];
    if (name === "rejected" && this.focusRecord?.kind === "rejected") this.focusRecord = null;
    this.paint();
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.root.style.setProperty("--attention-opacity", opacity);
  }

  setThreshold(value) {
    this.threshold = value === null || value <= Number(this.toolbar.range.min) ? null : value;
    this.paint();
  }

  zoomToPair() {
    const pair = this.selected ?? this.visiblePairs()[0];
    if (pair) this.stage.zoomToPair(pair);
  }

  // -- keys ------------------------------------------------------------------------------------------

  ownsKeys() {
    if (!this.root.getClientRects().length) return false; // in a tab that is not shown
    return keysGoTo ? keysGoTo === this : [...mounted].find((view) => view.root.getClientRects().length) === this;
  }

  // Streamlit's own widgets and dialogs take keys too; event.composedPath sees into shadow roots.
  takenByOthers(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
    const arrow = event.key.startsWith("Arrow");
    const host = this.root.getRootNode().host ?? this.root;
    return event.composedPath().some((node) => {
      if (!(node instanceof Element)) return false;
      if (node.matches(TYPING) || node.isContentEditable) return true;
      if (node.getAttribute("role") === "dialog") return node !== this.help.root && !node.contains(host);
      return arrow && ARROW_ROLES.has(node.getAttribute("role"));
    });
  }

  keyDown(event) {
    if (!this.data || !this.ownsKeys() || this.takenByOthers(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = this.actionOf(key);
    if (!action) return;
    const arrow = key.startsWith("Arrow");
    if (arrow) event.preventDefault(); // the page must not scroll
    event.stopPropagation();
    if (event.repeat && (!arrow || event.timeStamp - this.lastArrow < THROTTLE)) return;
    if (arrow) this.lastArrow = event.timeStamp;
    action();
  }

  actionOf(key) {
    const judge = (verdict) => () => this.selected && this.data.can_judge && this.judge(this.selected, verdict);
    const actions = {
      ArrowLeft: () => this.send("step", -1),
      ArrowRight: () => this.send("step", 1),
      ArrowUp: () => this.goBy(-1),
      ArrowDown: () => this.goBy(1),
      j: () => this.pickBy(1),
      k: () => this.pickBy(-1),
      h: () => this.root.classList.add("peek"),
      a: () => this.toggleLayer("attention"),
      l: () => this.toggleLayer("links"),
      r: () => this.toggleLayer("rejected"),
      z: () => this.zoomToPair(),
      0: () => this.stage.resetZoom(),
      g: judge("good"),
      x: judge("wrong"),
      i: judge("interesting"),
      "?": () => this.help.toggle(),
      Escape: () => (this.help.root.hidden ? this.clear() : this.help.toggle(false)),
    };
    if (/^[1-9]$/.test(key)) {
      const pair = this.visiblePairs().find((candidate) => candidate.number === Number(key));
      return pair && (() => this.select(pair, null));
    }
    return actions[key];
  }

  keyUp(event) {
    if (event.key === "h" || event.key === "H") this.root.classList.remove("peek");
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".pair-view");
  if (!root) return undefined;
  let view = views.get(parentElement);
  if (view?.root !== root) {
    view?.destroy();
    view = new PairView(root);
    views.set(parentElement, view);
  }
  view.send = setTriggerValue;
  const run = (view.run = Symbol("run"));
  view.setData(data);
  // Streamlit may call the cleanup of an overtaken run after the next one has drawn.
  return () => {
    if (view.run !== run) return;
    view.destroy();
    views.delete(parentElement);
  };
}
