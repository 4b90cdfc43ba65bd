// Layers and threshold live in the URL, written here without asking the server, so that a link shows what its
// sender saw. What the server knows of (query, neighbour, pair, settings) it writes there itself.

const URL_PAUSE = 200; // ms; browsers refuse to rewrite the URL at every move of a slider

class AddressBar {
  constructor(view) {
    this.view = view;
    this.onPopState = () => this.read();
    window.addEventListener("popstate", this.onPopState);
  }

  destroy() {
    window.removeEventListener("popstate", this.onPopState);
    clearTimeout(this.timer);
  }

  read() {
    const asked = new URLSearchParams(location.search);
    const on = asked.get("layers")?.split(".");
    const { layers } = this.view;
    for (const name of Object.keys(layers)) layers[name] = on ? on.includes(name) : LAYERS_AT_FIRST[name];
    const least = Number.parseFloat(asked.get("cos"));
    this.view.threshold = Number.isFinite(least) ? least : null;
    if (this.view.data) this.view.paint();
  }

  write() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.writeNow(), URL_PAUSE);
  }

  writeNow() {
    clearTimeout(this.timer);
    const { layers, threshold } = this.view;
    const url = new URL(location.href);
    const names = Object.keys(layers);
    const usual = names.every((name) => layers[name] === LAYERS_AT_FIRST[name]);
    url.searchParams.set("layers", usual ? "" : names.filter((name) => layers[name]).join(".") || "none");
    url.searchParams.set("cos", threshold === null ? "" : String(threshold));
    // The server cannot take several parameters away in one step of the history: it empties them.
    for (const [name, value] of [...url.searchParams]) if (value === "") url.searchParams.delete(name);
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }
}
