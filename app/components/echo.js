// @ts-check
// A view sends its display options to the page, for the URL, and the page returns them with its next data. Only
// options from elsewhere (a link, the browser's Back) are news; an echo, or an older one, is not.

export class Echo {
  constructor() {
    /** @type {string[]} */
    this.told = []; // sent, and not returned yet
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
