// @ts-check
// The pages of a shared folder, and which of them the address names.

import { el } from "../components/dom.js";
import { address } from "./address.js";
import { Shared } from "./data.js";
import { matchesPage } from "./matches.js";
import { closePair, pairPage } from "./pair.js";
import { photosPage } from "./photos.js";
import { setPage } from "./set.js";

/** @typedef {(Node | null | 0)[] | null} Drawing */

/**
 * Pages return what they draw, or null if they changed what is there.
 * @type {Record<string, (shared: Shared) => Promise<Drawing> | Drawing>}
 */
const PAGES = { photos: photosPage, matches: matchesPage, pair: pairPage, set: setPage };
/** @type {[string, string][]} */
const TABS = [
  ["photos", "Photos"],
  ["matches", "Matches"],
  ["set", "About the set"],
];

/**
 * @param {HTMLElement} head
 * @param {string} view
 */
function showTabs(head, view) {
  const links = TABS.map(([name, text]) =>
    el("a", { href: `#view=${name}`, text, "aria-current": name === view ? "page" : null }),
  );
  head.querySelector("nav")?.remove();
  head.append(el("nav", { "aria-label": "Pages of this set" }, ...links));
}

async function start() {
  const main = document.querySelector("main");
  const head = /** @type {HTMLElement} */ (document.querySelector("#head"));
  let [turn, shown] = [0, ""];
  /** @param {Shared} shared */
  const draw = async (shared) => {
    if (location.hash === "#main") return; // the link to the content
    const asked = address().get("view");
    const view = PAGES[asked] ? asked : "photos";
    turn += 1;
    const own = turn;
    if (view !== "pair") closePair();
    const drawn = await PAGES[view](shared);
    if (own !== turn) return; // another page was opened meanwhile
    if (drawn) main.replaceChildren(...drawn.filter((part) => part instanceof Node));
    if (view === shown) return;
    showTabs(head, view);
    if (shown) {
      main.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
    shown = view;
  };
  /** @param {unknown} trouble */
  const tell = (trouble) => {
    const said = trouble instanceof Error ? trouble.message : String(trouble);
    main.replaceChildren(el("p", { class: "note", role: "alert", text: said }));
  };
  try {
    const shared = await Shared.open();
    window.addEventListener("hashchange", () => draw(shared).catch(tell));
    await draw(shared);
  } catch (trouble) {
    tell(trouble);
  }
}

export default () => start();
