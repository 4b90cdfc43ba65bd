// The grid of matches: cards with one tab stop and arrow-key movement; G, X and I judge the focused one.

const VERDICTS = [
  ["good", "G", "Good"],
  ["wrong", "X", "Wrong"],
  ["interesting", "I", "Interesting"],
];

const cropOf = (side) => {
  const image = el("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  const frame = el("span", { class: "crop", title: side.name }, image);
  image.onerror = () => frame.replaceChildren(icon("photo"));
  image.src = side.crop;
  return frame;
};

const wayBack = (cycle) => {
  if (cycle === null) return null;
  const text = cycle ? "↺ consistent" : "↺ leads elsewhere";
  const title = cycle
    ? "The key RoI's best match in the query photo is this query RoI"
    : "The key RoI's best match in the query photo is another RoI";
  return el("span", { class: `badge ${cycle ? "" : "broken"}`, text, title });
};

function describe(card) {
  const back = card.cycle === null ? "" : card.cycle ? "consistent" : "its way back leads elsewhere";
  const margin = card.margin === null ? "" : `margin ${card.margin.toFixed(3)}`;
  const facts = [`cosine ${card.similarity.toFixed(3)}`, margin, back, card.verdict ?? "", ...card.tags];
  return `${card.query.name} and ${card.key.name}: ${facts.filter(Boolean).join(", ")}`;
}

function verdictButtons(card, grid, canJudge) {
  if (!canJudge && !card.verdict) return null;
  const buttons = VERDICTS.map(([verdict, letter, title]) =>
    el(
      "button",
      {
        type: "button",
        class: `verdict ${verdict}`,
        tabindex: "-1",
        title: `${title} (${letter})`,
        "aria-label": title,
        "aria-pressed": String(card.verdict === verdict),
        disabled: !canJudge,
        onclick: () => grid.judge(card.id, verdict),
      },
      icon(verdict),
    ),
  );
  return el("span", { class: "verdicts" }, ...buttons);
}

function cardNode(card, grid, canJudge) {
  const margin = card.margin === null ? "no margin" : `+${card.margin.toFixed(3)}`;
  const opener = el(
    "button",
    {
      type: "button",
      class: "match",
      tabindex: "-1",
      "data-id": card.id,
      "aria-label": describe(card),
      onclick: () => grid.open(card.id),
    },
    el("span", { class: "crops" }, cropOf(card.query), cropOf(card.key)),
    el(
      "span",
      { class: "facts" },
      el("span", { class: "cosine", text: card.similarity.toFixed(3), title: "Cosine of the two RoIs" }),
      el("span", { class: "margin", text: margin, title: "Ahead of the query RoI's second best in this neighbour" }),
      wayBack(card.cycle),
      ...card.tags.map((text) => el("span", { class: "badge tag", text })),
    ),
    el("span", { class: "names", text: `${card.query.name} → ${card.key.name}`, title: `Neighbour ${card.neighbor_rank}` }),
  );
  return el("div", { class: `card ${card.verdict ?? ""}` }, opener, verdictButtons(card, grid, canJudge));
}

// Rows are found by their position on screen: the number of columns belongs to the style sheet.
function moved(nodes, index, keyName) {
  const last = nodes.length - 1;
  const top = (node) => node.getBoundingClientRect().top;
  const columns = nodes.findIndex((node) => Math.abs(top(node) - top(nodes[0])) > 4);
  const row = columns < 0 ? 0 : columns;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -index, End: last - index };
  const target = index + steps[keyName];
  return target < 0 || target > last ? index : target;
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);
const BY_KEY = Object.fromEntries(VERDICTS.map(([verdict, letter]) => [letter.toLowerCase(), verdict]));

function listen(grid, canJudge) {
  const nodes = () => [...grid.querySelectorAll(".match")];
  grid.settle = (node) => {
    for (const other of nodes()) other.tabIndex = other === node ? 0 : -1;
  };
  grid.onkeydown = (event) => {
    const all = nodes();
    const index = all.indexOf(event.target.closest(".match"));
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const verdict = BY_KEY[event.key.toLowerCase()];
    if (verdict && canJudge && !event.repeat) grid.judge(all[index].dataset.id, verdict);
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = all[moved(all, index, event.key)];
    grid.settle(target);
    target.focus();
  };
}

function showVerdict(grid, id, verdict) {
  const card = grid.querySelector(`.match[data-id="${id}"]`)?.closest(".card");
  if (!card) return;
  card.className = `card ${verdict ?? ""}`;
  for (const button of card.querySelectorAll(".verdict")) {
    button.setAttribute("aria-pressed", String(button.classList.contains(verdict ?? "none")));
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".matches");
  if (!grid) return;
  const { cards = [], can_judge: canJudge = false } = data ?? {};
  grid.pending ??= new Map(); // verdicts that the server has not answered yet
  grid.open = (id) => setTriggerValue("open", id);
  grid.judge = (id, verdict) => {
    const card = grid.cards.get(id);
    const had = grid.pending.has(id) ? grid.pending.get(id) : card.verdict;
    grid.pending.set(id, had === verdict ? null : verdict);
    showVerdict(grid, id, grid.pending.get(id)); // at once; new data has the last word
    setTriggerValue("judge", Object.fromEntries(grid.pending));
  };
  const fingerprint = JSON.stringify([cards, canJudge]);
  // A theme change runs this again with the same cards; rebuilding them would drop the focus.
  if (grid.fingerprint === fingerprint) return;
  const focused = [...grid.querySelectorAll(".match")].indexOf(parentElement.getRootNode().activeElement);
  const before = grid.querySelector(".match:focus")?.dataset.id;
  grid.fingerprint = fingerprint;
  grid.cards = new Map(cards.map((card) => [card.id, card]));
  for (const [id, verdict] of grid.pending) {
    if (!grid.cards.has(id) || grid.cards.get(id).verdict === verdict) grid.pending.delete(id);
  }
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", `${cards.length} match${cards.length === 1 ? "" : "es"}`);
  grid.replaceChildren(...cards.map((card) => cardNode(card, grid, canJudge)));
  for (const [id, verdict] of grid.pending) showVerdict(grid, id, verdict);
  listen(grid, canJudge);
  const nodes = [...grid.querySelectorAll(".match")];
  if (!nodes.length) return;
  // A card that was judged may have left the grid: whoever goes on by keyboard goes on with the next one.
  const next = nodes.find((node) => node.dataset.id === before) ?? nodes[Math.min(focused, nodes.length - 1)];
  grid.settle(next ?? nodes[0]);
  next?.focus({ preventScroll: true });
}
