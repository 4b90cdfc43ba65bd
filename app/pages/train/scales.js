// @ts-check
// Numbers of axes and curves.

/**
 * Returns about ``count`` round numbers from low to high.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const span = high - low || 1;
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

/**
 * Returns powers of ten, or round numbers if there are fewer than two powers.
 * @param {number} low
 * @param {number} high
 */
export function logTicks(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); 10 ** power <= high * (1 + 1e-9); power += 1)
    found.push(10 ** power);
  return found.length > 1 ? found : ticks(low, high, 3).filter((value) => value > 0);
}

/**
 * @param {number} value
 * @param {string} unit "%" for shares of 1
 */
export function numberText(value, unit) {
  if (unit === "%") return `${Number((value * 100).toPrecision(3))} %`;
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

/**
 * Returns an exponential moving average without a bias towards its first value.
 * @param {number[]} values
 * @param {number} weight of earlier values, from 0 to less than 1
 */
export function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

/**
 * Index of the x that is nearest.
 * @param {number[]} x growing
 * @param {number} value
 */
export function indexAt(x, value) {
  let [low, high] = [0, x.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (x[middle] <= value) low = middle;
    else high = middle - 1;
  }
  const next = Math.min(low + 1, x.length - 1);
  return Math.abs(x[next] - value) < Math.abs(x[low] - value) ? next : low;
}

/**
 * Returns the range of an axis for the values between two x: of the curves, not of the single values that a point
 * averages.
 * @param {{ at: number[], y: number[], soft: number[] }[]} lines soft: smoothed
 * @param {[number, number]} range of x
 * @param {{ log: boolean, unit: string, mark?: number }} axis mark: a level that has to be seen
 * @returns {[number, number]}
 */
export function valueRange(lines, [from, to], { log, unit, mark }) {
  let [low, high] = [Infinity, -Infinity];
  for (const { at, y, soft } of lines)
    for (let i = 0; i < at.length; i += 1) {
      if (at[i] < from || at[i] > to || (log && !(y[i] > 0))) continue;
      low = Math.min(low, y[i], soft[i]);
      high = Math.max(high, y[i], soft[i]);
    }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) return low === high ? [low / 2, high * 2] : [low / 1.05, high * 1.05];
  if (unit === "%") return [0, Math.min(1, Math.max(high * 1.08, 0.05))];
  if (mark !== undefined) [low, high] = [Math.min(low, 0), Math.max(high, mark * 1.3)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - (low === 0 ? 0 : room), high + room];
}
