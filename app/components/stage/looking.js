// What is looked at: which pairs are visible, which boxes and links are lit. The pair view has one such state,
// the comparison one for each of its two sets; a stage draws it.

const LAYERS_AT_FIRST = { boxes: true, links: true, rejected: false, attention: false, matrix: true };

class Looking {
  constructor(root) {
    this.root = root;
    this.data = null;
    this.pairs = [];
    this.outside = null; // a selected pair that is not among them
    this.layers = { ...LAYERS_AT_FIRST };
    this.threshold = null; // null: every pair
    this.selected = null;
    this.hoverPairs = [];
    this.hoverRecords = [];
    this.focusRecord = null; // a clicked box whose explanation is open
  }

  width() {
    return this.root.clientWidth;
  }

  // How much of the window's height the photos may take.
  share() {
    return 0.7;
  }

  drawn() {
    return this.outside ? [this.outside, ...this.pairs] : this.pairs;
  }

  isVisible(pair) {
    return pair === this.outside || this.threshold === null || pair.similarity >= this.threshold;
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
    if (this.hovering()) return this.hoverPairs;
    if (this.focusRecord) return this.pairsOf(this.focusRecord);
    return this.selected && this.isVisible(this.selected) ? [this.selected] : [];
  }

  hotRecords() {
    if (this.hovering()) return this.hoverRecords;
    return this.focusRecord ? [this.focusRecord, this.blockerOf(this.focusRecord)].filter(Boolean) : [];
  }

  hovering() {
    return this.hoverPairs.length > 0 || this.hoverRecords.length > 0;
  }

  somethingHot() {
    return this.hotPairs().length > 0 || this.hotRecords().length > 0;
  }

  // The kept box that stood in a rejected one's way.
  blockerOf(record) {
    const blocker = record.kind === "rejected" ? record.why.blocker : null;
    return blocker === null ? null : this.stage[record.side].kept[blocker];
  }

  hover(pairs, records) {
    const same = (a, b) => a.length === b.length && a.every((item, i) => item === b[i]);
    if (same(pairs, this.hoverPairs) && same(records, this.hoverRecords)) return;
    this.hoverPairs = pairs;
    this.hoverRecords = records;
    this.highlight();
  }

  // Two boxes, one on each side: their pair where there is one.
  hoverBoxes(q, k) {
    const pair = this.drawn().find((candidate) => candidate.q === q && candidate.k === k);
    if (pair) return this.hover([pair], []);
    return this.hover([], [this.stage.query.kept[q], this.stage.neighbor.kept[k]].filter(Boolean));
  }
}
