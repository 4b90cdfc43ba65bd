// The menu that saves or shares a view, which figure.js describes.

// The address with what it leaves out as long as that goes without saying, for tomorrow it may not.
function lastingLink(parameters) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(parameters)) {
    const [first, ...more] = [value].flat();
    if (first) url.searchParams.set(name, first);
    else url.searchParams.delete(name);
    for (const each of more) url.searchParams.append(name, each);
  }
  return url.href;
}

// "a/000012.jpg" -> "000012"
function fileStem({ name }) {
  return name.split("/").at(-1).replace(/\.\w+$/, "");
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

class SaveMenu {
  constructor(view) {
    this.view = view;
    const item = (name, text, act) =>
      el("button", { type: "button", role: "menuitem", "data-save": name, text, onclick: () => this.run(act) });
    this.button = el("button", {
      type: "button",
      class: "opener",
      title: "Save or share this view",
      "aria-label": "Save or share this view",
      "aria-haspopup": "menu",
      onclick: () => this.toggle(),
    });
    this.button.append(icon("save"));
    this.menu = el(
      "div",
      { class: "menu", role: "menu", hidden: true },
      item("png", "Save as PNG", async () => download(await asPng(await figureOf(view)), `${view.fileName()}.png`)),
      item("svg", "Save as SVG", async () => {
        const { text } = await figureOf(view);
        download(new Blob([text], { type: "image/svg+xml" }), `${view.fileName()}.svg`);
      }),
      item("link", "Copy link", () => this.copyLink()),
    );
    this.menu.onkeydown = (event) => this.keyDown(event);
    this.said = el("span", { class: "said", role: "status" });
    this.root = el("div", { class: "save" }, this.button, this.menu, this.said);
  }

  toggle(open = this.menu.hidden) {
    this.menu.hidden = !open;
    this.button.setAttribute("aria-expanded", open);
    if (open) this.menu.firstChild.focus();
    else this.button.focus();
  }

  async run(act) {
    this.toggle(false);
    try {
      await act();
    } catch (error) {
      this.say(`Not saved: ${error.message}`);
    }
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(this.view.link());
      this.say("Link copied");
    } catch {
      // Without HTTPS there is no clipboard on a foreign host, and a person can refuse it.
      history.replaceState(history.state, "", this.view.link());
      this.say("Copy the address bar: the browser lets no page do it here");
    }
  }

  say(text) {
    this.said.textContent = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.said.textContent = ""), 4000);
  }

  keyDown(event) {
    const items = [...this.menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = items.indexOf(this.menu.getRootNode().activeElement);
    items[(at + step + items.length) % items.length].focus();
  }
}
