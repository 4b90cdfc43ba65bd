// @ts-check
// The entry point that Streamlit calls with new data, and the triggers of views.

/**
 * @typedef {(name: string, value: unknown) => void} Send
 * @typedef {{ root: HTMLElement, send?: Send, setData(data: any): void, destroy(): void }} View
 * @typedef {{ data: any, parentElement: HTMLElement | ShadowRoot, setTriggerValue: Send }} Call
 */

/**
 * Returns an entry point. A view lives as long as its root element.
 * @param {string} selector of the root
 * @param {new (root: HTMLElement) => View} Made
 */
export function entry(selector, Made) {
  /** @type {WeakMap<ParentNode, { view: View, run: symbol }>} */
  const views = new WeakMap(); // of parentElement

  /** @param {Call} call */
  return ({ data, parentElement, setTriggerValue }) => {
    const root = /** @type {HTMLElement} */ (parentElement.querySelector(selector));
    if (!root) return undefined;
    let { view } = views.get(parentElement) ?? {};
    if (view?.root !== root) {
      view?.destroy();
      view = new Made(root);
    }
    view.send = setTriggerValue;
    const run = Symbol("run");
    views.set(parentElement, { view, run });
    view.setData(data);
    // Streamlit may call the cleanup of an outdated run after the next one has drawn.
    return () => {
      if (views.get(parentElement)?.run !== run) return;
      view.destroy();
      views.delete(parentElement);
    };
  };
}

let told = 0;

/**
 * Returns a unique event: Streamlit drops a trigger that equals the previous one.
 * @template {object} T
 * @param {T} event
 */
export const numbered = (event) => Object.assign({}, event, { n: ++told });
