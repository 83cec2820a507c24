/** JSON as the Python SDK writes it, so that a model reads the same from both. */

const PLAIN_MIN = 1e-4;

/** Return a value as JSON; fields that are undefined or null are left out of `value` itself. */
export function written(value: object): string {
  const there = Object.entries(value).filter(([, field]) => field !== undefined && field !== null);
  return json(Object.fromEntries(there));
}

function json(value: unknown): string {
  if (typeof value === 'number') return number(value);
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}:${json(field)}`);
  return `{${fields.join(',')}}`;
}

function number(value: number): string {
  const isPlain = value === 0 || Math.abs(value) >= PLAIN_MIN;
  return isPlain ? String(value) : value.toExponential().replace(/e-(\d)$/, 'e-0$1');
}
