// The grid of matches: cards with one tab stop and arrow-key movement; G, X and I judge the focused one, T tags it.

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
  const title = "Tag (T); a tag that it has is taken off";
  const tag = { type: "button", class: "verdict", tabindex: "-1", text: "#", title, "aria-label": title };
  if (canJudge) buttons.push(el("button", { ...tag, onclick: () => grid.askForTag(card.id) }));
  return el("span", { class: "verdicts" }, ...buttons);
}

// A field over the card: Enter tags, Escape and leaving it do nothing.
function tagField(grid, id) {
  const opener = grid.querySelector(`.match[data-id="${id}"]`);
  const field = el("input", { type: "text", class: "word", maxlength: "40", placeholder: "tag", "aria-label": "Tag" });
  field.setAttribute("list", "orl-pair-tags");
  const close = () => {
    field.onblur = null;
    field.remove();
    opener.focus({ preventScroll: true });
    grid.drawLater?.();
  };
  field.onblur = close;
  field.onkeydown = (event) => {
    event.stopPropagation(); // it is a word that is typed here
    if (event.key === "Enter") event.preventDefault(); // or it would press the card that has the focus by then
    if (event.key === "Enter" && field.value.trim()) grid.tag(id, field.value.trim());
    if (event.key === "Enter" || event.key === "Escape") close();
  };
  opener.closest(".card").append(field);
  field.focus();
}

function cardNode(card, grid, canJudge) {
  const margin = card.margin === null ? "no margin" : `${card.margin < 0 ? "−" : "+"}${Math.abs(card.margin).toFixed(3)}`;
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
      el("span", { class: "margin", text: margin, title: "Margin over the query RoI's best other RoI there" }),
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
    if (event.key.toLowerCase() === "t" && canJudge) {
      event.preventDefault();
      grid.askForTag(all[index].dataset.id);
    }
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = all[moved(all, index, event.key)];
    grid.settle(target);
    target.focus();
  };
}

// What was said and the server has not answered yet. A trigger can be lost while a page reruns, so everything
// outstanding goes with each, and goes again until its number is answered; saying a thing twice does no harm.
const PATIENCE = 3000; // ms
const ATTEMPTS = 5;

function makeOutbox(grid) {
  grid.verdicts = new Map(); // id -> { n, verdict }
  grid.tags = new Map(); // id and tag -> { n, id, tag, on }
  grid.n = 0;
  const post = () => {
    clearTimeout(grid.timer);
    if ((!grid.verdicts.size && !grid.tags.size) || grid.left === 0) return;
    const verdicts = Object.fromEntries([...grid.verdicts].map(([id, { verdict }]) => [id, verdict]));
    grid.send({ n: grid.n, verdicts, tags: [...grid.tags.values()] });
    grid.left -= 1;
    grid.timer = setTimeout(post, PATIENCE);
  };
  const say = () => {
    grid.left = ATTEMPTS;
    post();
  };
  const number = () => (grid.n = Math.max(grid.n + 1, Date.now())); // grows over reloads of the page too
  grid.judge = (id, chosen) => {
    const had = grid.verdicts.has(id) ? grid.verdicts.get(id).verdict : grid.cards.get(id).verdict;
    const verdict = had === chosen ? null : chosen;
    grid.verdicts.set(id, { n: number(), verdict });
    showVerdict(grid, id, verdict); // at once; new data has the last word
    say();
  };
  grid.tag = (id, text) => {
    const tag = text.trim().replace(/\s+/g, " ");
    grid.tags.set(`${id} ${tag}`, { n: number(), id, tag, on: !grid.cards.get(id).tags.includes(tag) });
    say();
  };
  grid.answered = (upTo) => {
    for (const outstanding of [grid.verdicts, grid.tags]) {
      for (const [key, { n }] of outstanding) if (n <= upTo) outstanding.delete(key);
    }
    if (!grid.verdicts.size && !grid.tags.size) clearTimeout(grid.timer);
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

function draw(given) {
  const { data, parentElement, setTriggerValue } = given;
  const grid = parentElement.querySelector(".matches");
  if (!grid) return;
  const { cards = [], tags = [], can_judge: canJudge = false, answered = 0, figure = null } = data ?? {};
  if (!grid.verdicts) makeOutbox(grid);
  grid.answered(answered);
  grid.open = (id) => setTriggerValue("open", id);
  grid.send = (said) => setTriggerValue("mark", said);
  grid.askForTag = (id) => tagField(grid, id);
  showMenu(parentElement.querySelector(".head"), grid, figure);
  parentElement.querySelector("datalist").replaceChildren(...tags.map((value) => el("option", { value })));
  const fingerprint = JSON.stringify([cards, canJudge]);
  // A theme change runs this again with the same cards; rebuilding them would drop the focus.
  if (grid.fingerprint === fingerprint) return;
  // Nor must new cards take the field away in which somebody is typing: the next letter would judge.
  const typing = grid.querySelector(".word") !== null;
  grid.drawLater = typing ? () => draw(given) : null;
  if (typing) return;
  const focused = [...grid.querySelectorAll(".match")].indexOf(parentElement.getRootNode().activeElement);
  const before = grid.querySelector(".match:focus")?.dataset.id;
  grid.fingerprint = fingerprint;
  grid.cards = new Map(cards.map((card) => [card.id, card]));
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", `${cards.length} match${cards.length === 1 ? "" : "es"}`);
  grid.replaceChildren(...cards.map((card) => cardNode(card, grid, canJudge)));
  for (const [id, { verdict }] of grid.verdicts) showVerdict(grid, id, verdict);
  listen(grid, canJudge);
  const nodes = [...grid.querySelectorAll(".match")];
  if (!nodes.length) return;
  // A card that was judged may have left the grid: whoever goes on by keyboard goes on with the next one.
  const next = nodes.find((node) => node.dataset.id === before) ?? nodes[Math.min(focused, nodes.length - 1)];
  grid.settle(next ?? nodes[0]);
  next?.focus({ preventScroll: true });
}

export default function (given) {
  draw(given);
  const grid = given.parentElement.querySelector(".matches");
  return () => clearTimeout(grid?.timer);
}
