// The best match of one RoI in each neighbour: a crop for each, and the way there.

class Matches {
  constructor(view) {
    this.view = view;
    this.title = el("strong");
    this.list = el("div", { class: "match-list" });
    const close = el("button", {
      type: "button",
      class: "tool",
      title: "Close (Esc)",
      "aria-label": "Close the best matches",
      onclick: () => view.clear(),
    });
    close.append(icon("wrong"));
    this.root = el(
      "section",
      { class: "matches", "aria-label": "Best matches", hidden: true },
      el("header", {}, this.title, close),
      this.list,
    );
  }

  setData(data) {
    const { matches } = data;
    this.root.hidden = !matches;
    if (!matches) return;
    const side = matches.side === "query" ? "query" : "neighbour";
    this.title.textContent = `Best matches of ${side} RoI ${matches.index + 1}`;
    this.list.replaceChildren(...matches.items.map((item) => this.card(item, matches, data)));
  }

  card(item, matches, data) {
    const where = item.rank === null ? "query" : `neighbour ${item.rank}`;
    const known = item.box !== null;
    const cosine = known ? item.similarity.toFixed(3) : "not embedded";
    const place = known && { image: item.id, x: item.box[0], y: item.box[1], w: item.box[2], h: item.box[3] };
    const picture = el("span", { class: "match-crop" });
    if (known) {
      const image = el("img", { alt: "", decoding: "async" });
      image.onerror = () => image.replaceWith(icon("photo"));
      image.src = data.crop_url.replace(/\{(\w+)\}/g, (_, name) => Math.round(place[name]));
      picture.append(image);
    } else picture.append(icon("photo"));
    picture.append(el("span", { class: "thumb-rank", text: item.rank ?? "Q" }));
    const best = known && item.similarity === Math.max(...matches.items.map(({ similarity }) => similarity ?? -2));
    return el(
      "button",
      {
        type: "button",
        class: `match${best ? " best" : ""}`,
        "data-rank": item.rank ?? 0,
        "aria-current": item.rank === null || item.rank === data.neighbor?.rank ? "true" : null,
        "aria-label": `${where}: ${cosine}`,
        title: known ? `${where}, RoI ${item.index + 1}` : `${where}: its boxes are not embedded yet; go there to embed them`,
        onclick: () => this.go(item, matches, data),
      },
      picture,
      el("span", { class: "match-text", text: cosine }),
    );
  }

  go(item, { side, index }, data) {
    const [q, k] = side === "query" ? [index, item.index] : [item.index, index];
    if (item.rank === null || item.rank === data.neighbor?.rank) {
      if (item.index !== null) this.view.selectBoxes(q, k, item.similarity);
    } else this.view.send("match", { rank: item.rank, q, k, n: ++counter });
  }
}
