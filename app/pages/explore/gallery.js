// The gallery: a responsive grid of photo buttons with one tab stop and arrow-key movement. Photos can be chosen
// together, across pages; which ones they are stays here until something is done with them.

function tileButton(tile, selected, grid) {
  const frame = el("span", { class: "frame" });
  const showNote = (note) => frame.replaceChildren(icon("photo"), el("span", { class: "note", text: note }));
  if (tile.missing) showNote(tile.note || "photo not found on disk");
  else {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => showNote(tile.note || "photo could not be read");
    image.src = tile.thumb;
    frame.append(image);
  }
  const tags = tile.tags ?? [];
  const badges = el(
    "span",
    { class: "badges" },
    ...tile.badges.map((text) => el("span", { class: "badge", text })),
    ...tags.map((text) => el("span", { class: "badge tag", text })),
  );
  return el(
    "button",
    {
      type: "button",
      class: "tile",
      tabindex: "-1",
      "data-id": tile.id,
      "aria-label": [tile.name, `${tile.width} × ${tile.height} px`, ...tile.badges, ...tags].join(", "),
      "aria-current": tile.id === selected ? "true" : null,
      onclick: (event) => (event.ctrlKey || event.metaKey ? grid.choose(tile.id) : grid.open(tile.id)),
    },
    frame,
    el("span", { class: "name", title: tile.name, text: tile.name }),
    badges,
  );
}

function cell(tile, selected, grid, canMark) {
  const button = tileButton(tile, selected, grid);
  if (!canMark) return el("div", { class: "cell" }, button);
  const box = el("input", {
    type: "checkbox",
    tabindex: "-1",
    "aria-label": `Choose ${tile.name}`,
    onclick: (event) => grid.choose(tile.id, event.shiftKey),
  });
  return el("div", { class: "cell" }, button, el("label", { class: "pick", title: "Choose (X)" }, box));
}

// Rows are found by their position on screen: the number of columns belongs to the style sheet.
function neighbourOf(buttons, index, keyName) {
  const last = buttons.length - 1;
  const top = (button) => button.getBoundingClientRect().top;
  if (keyName === "Home") return 0;
  if (keyName === "End") return last;
  if (keyName === "ArrowLeft") return Math.max(0, index - 1);
  if (keyName === "ArrowRight") return Math.min(last, index + 1);
  const columns = buttons.findIndex((button) => Math.abs(top(button) - top(buttons[0])) > 4);
  if (columns < 0) return index;
  const target = index + (keyName === "ArrowDown" ? columns : -columns);
  return target < 0 || target > last ? index : target;
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function roveOver(grid, canMark) {
  const buttons = [...grid.querySelectorAll(".tile")];
  const settle = (button) => {
    for (const other of buttons) other.tabIndex = other === button ? 0 : -1;
  };
  grid.onkeydown = (event) => {
    const index = buttons.indexOf(event.target.closest(".tile"));
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (canMark && event.key.toLowerCase() === "x") grid.choose(Number(buttons[index].dataset.id), event.shiftKey);
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = buttons[neighbourOf(buttons, index, event.key)];
    settle(target);
    target.focus();
  };
  settle(buttons.find((button) => button.hasAttribute("aria-current")) ?? buttons[0]);
}

// What is done with the chosen photos. Built once: a rerun must not take the word away that somebody is typing.
function buildBar(bar, grid) {
  const word = el("input", { type: "text", class: "word", maxlength: "40", placeholder: "tag", "aria-label": "Tag" });
  const known = el("datalist", { id: "orl-known-tags" });
  word.setAttribute("list", known.id);
  const mark = (action) => {
    const tag = word.value.trim();
    if (action !== "keep" && !tag) return word.focus();
    grid.mark({ action, ids: [...grid.chosen], tag });
  };
  const act = (text, onclick, title) => el("button", { type: "button", class: "act", text, onclick, title });
  const count = el("span", { class: "count", role: "status" });
  word.onkeydown = (event) => event.key === "Enter" && mark("tag");
  bar.replaceChildren(
    count,
    word,
    known,
    act("Tag", () => mark("tag")),
    act("Untag", () => mark("untag"), "Takes the tag off where you put it on"),
    act("Keep as a selection", () => mark("keep"), "Shows these photos alone, under a link"),
    act("All of this page", () => grid.chooseAll()),
    act("None", () => grid.choose(null)),
  );
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Chosen photos");
  bar.parts = { count, known };
}

function showChosen(bar, grid) {
  for (const own of grid.children) {
    const chosen = grid.chosen.has(Number(own.querySelector(".tile").dataset.id));
    own.classList.toggle("chosen", chosen);
    const box = own.querySelector(".pick input");
    if (box) box.checked = chosen;
  }
  grid.classList.toggle("choosing", grid.chosen.size > 0);
  bar.hidden = grid.chosen.size === 0;
  bar.parts.count.textContent = `${plural(grid.chosen.size, "photo")} chosen`;
}

function makeChoosable(bar, grid) {
  grid.chosen = new Set();
  buildBar(bar, grid);
  const shown = () => [...grid.querySelectorAll(".tile")].map((button) => Number(button.dataset.id));
  grid.choose = (id, upTo = false) => {
    const ids = shown();
    const [from, to] = [ids.indexOf(grid.last), ids.indexOf(id)];
    if (id === null) grid.chosen.clear();
    else if (upTo && from >= 0 && to >= 0) {
      for (const between of ids.slice(Math.min(from, to), Math.max(from, to) + 1)) grid.chosen.add(between);
    } else if (!grid.chosen.delete(id)) grid.chosen.add(id);
    grid.last = id;
    showChosen(bar, grid);
  };
  grid.chooseAll = () => {
    for (const id of shown()) grid.chosen.add(id);
    showChosen(bar, grid);
  };
}

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".gallery");
  const bar = parentElement.querySelector(".bar");
  if (!grid) return;
  const { tiles = [], selected = null, tags = [], scope = null, can_mark: canMark = false, figure = null } = data ?? {};
  const fingerprint = JSON.stringify([tiles, selected, tags, scope, canMark]);
  grid.open = (id) => setTriggerValue("open", id);
  grid.mark = (what) => setTriggerValue("mark", what);
  showMenu(parentElement.querySelector(".head"), grid, figure);
  // A theme change runs this again with the same tiles; rebuilding them would drop the focus.
  if (grid.fingerprint === fingerprint) return;
  grid.fingerprint = fingerprint;
  if (!grid.chosen) makeChoosable(bar, grid);
  if (grid.scope !== scope) grid.chosen.clear();
  grid.scope = scope;
  bar.parts.known.replaceChildren(...tags.map((value) => el("option", { value })));
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", plural(tiles.length, "photo"));
  grid.replaceChildren(...tiles.map((tile) => cell(tile, selected, grid, canMark)));
  if (tiles.length) roveOver(grid, canMark);
  showChosen(bar, grid);
}
