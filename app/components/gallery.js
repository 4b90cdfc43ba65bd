// The gallery: a responsive grid of photo buttons with one tab stop and arrow-key movement.

function tileButton(tile, selected, open) {
  const frame = el("span", { class: "frame" });
  const showNote = (note) => frame.replaceChildren(icon("photo"), el("span", { class: "note", text: note }));
  if (tile.missing) showNote(tile.note || "photo not found on disk");
  else {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => showNote(tile.note || "photo could not be read");
    image.src = tile.thumb;
    frame.append(image);
  }
  const badges = el("span", { class: "badges" }, ...tile.badges.map((text) => el("span", { class: "badge", text })));
  return el(
    "button",
    {
      type: "button",
      class: "tile",
      tabindex: "-1",
      "data-id": tile.id,
      "aria-label": [tile.name, `${tile.width} × ${tile.height} px`, ...tile.badges].join(", "),
      "aria-current": tile.id === selected ? "true" : null,
      onclick: () => open(tile.id),
    },
    frame,
    el("span", { class: "name", title: tile.name, text: tile.name }),
    badges,
  );
}

// Rows are found by their position on screen: the number of columns belongs to the style sheet.
function neighbourOf(buttons, index, keyName) {
  const last = buttons.length - 1;
  if (keyName === "Home") return 0;
  if (keyName === "End") return last;
  if (keyName === "ArrowLeft") return Math.max(0, index - 1);
  if (keyName === "ArrowRight") return Math.min(last, index + 1);
  const top = buttons[0].offsetTop;
  const columns = buttons.findIndex((button) => button.offsetTop !== top);
  if (columns < 0) return index;
  const target = index + (keyName === "ArrowDown" ? columns : -columns);
  return target < 0 || target > last ? index : target;
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function roveOver(grid) {
  const buttons = [...grid.children];
  const settle = (button) => {
    for (const other of buttons) other.tabIndex = other === button ? 0 : -1;
  };
  grid.onkeydown = (event) => {
    const index = buttons.indexOf(event.target.closest(".tile"));
    if (index < 0 || !MOVES.has(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const target = buttons[neighbourOf(buttons, index, event.key)];
    settle(target);
    target.focus();
  };
  settle(buttons.find((button) => button.hasAttribute("aria-current")) ?? buttons[0]);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".gallery");
  if (!grid) return;
  const { tiles = [], selected = null } = data ?? {};
  const fingerprint = JSON.stringify([tiles, selected]);
  grid.open = (id) => setTriggerValue("open", id);
  // A theme change runs this again with the same tiles; rebuilding them would drop the focus.
  if (grid.fingerprint === fingerprint) return;
  grid.fingerprint = fingerprint;
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", plural(tiles.length, "photo"));
  grid.replaceChildren(...tiles.map((tile) => tileButton(tile, selected, (id) => grid.open(id))));
  if (tiles.length) roveOver(grid);
}
