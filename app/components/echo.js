// @ts-check
// A view tells the page what it looks like, for the URL, and the page sends it back with its next data. Only what the
// page says of its own accord (a link, the browser's Back) is news; an echo, or something older, is not.

export class Echo {
  constructor() {
    /** @type {string[]} */
    this.told = []; // and not heard back yet
    this.heard = "";
  }

  /** @param {unknown} look */
  tell(look) {
    this.told.push(JSON.stringify(look));
  }

  /** @param {unknown} look */
  isNews(look) {
    const said = JSON.stringify(look);
    const at = this.told.lastIndexOf(said);
    const news = at < 0 && said !== this.heard;
    this.told.splice(0, at + 1);
    this.heard = said;
    return news;
  }
}
