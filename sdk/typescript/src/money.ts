/**
 * Exact amounts.
 *
 * The platform sends amounts as JSON numbers. JavaScript's numbers keep 15 digits: a single amount in credits below
 * 8,388,608 (2^23) is told apart from its neighbours to the nanocredit, so it prints as it was sent. What is not safe:
 * adding amounts up, larger amounts, and USD, which upstream may send with more digits. For these, `exact` gives every
 * number as the text it came as, and `nanocredits` makes whole nanocredits of it, which `bigint` adds without loss.
 */
import { NaiveError } from './errors.js';

/** The same answer with every number as text, digit for digit as it came. */
export type Exact<T> = T extends number ? string : T extends object ? { [Field in keyof T]: Exact<T[Field]> } : T;

/** What a number is certain to keep nine decimals below, in credits. */
const CREDITS_MAX = 2 ** 23;
const NANOCREDITS = 10n ** 9n;
const sources = new WeakMap<object, () => unknown>();
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * Return an answer with every number as text, digit for digit as the platform wrote it.
 *
 * Takes what the SDK returned: an answer, a page, one of a page's items, a chunk, a final message, a webhook's event.
 */
export function exact<T extends object>(answer: T): Exact<T> {
  const source = sources.get(answer);
  if (!source) {
    throw new NaiveError({
      code: 'invalid_input',
      message: 'exact() takes what the SDK returned itself; of this its digits are not known.',
      hint: 'Give it the whole answer, and take the part from what it returns.',
    });
  }
  return source() as Exact<T>;
}

/** Remember the text that a value was parsed from, or how to find out. */
export function remember(value: unknown, source: string | (() => unknown)): void {
  if (typeof value !== 'object' || value === null) return;
  sources.set(value, typeof source === 'string' ? () => parseExact(source) : source);
}

/** Parse JSON, with every number as text. */
export function parseExact(text: string): unknown {
  return JSON.parse(text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${token}"`)));
}

/**
 * Return credits as whole nanocredits (1 credit = 10^9).
 *
 * Takes a text of {@link exact}, or a number below 8,388,608. Throws where that would lose a digit.
 */
export function nanocredits(credits: string | number): bigint {
  const text = typeof credits === 'number' ? fromNumber(credits) : credits;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text) ?? lost(credits);
  const shift = 9 + Number(exponent) - fraction.length;
  const digits = whole + fraction;
  if (shift < 0 && /[1-9]/.test(digits.slice(shift))) lost(credits);
  const amount = shift < 0 ? BigInt(digits.slice(0, shift) || '0') : BigInt(digits) * 10n ** BigInt(shift);
  return sign ? -amount : amount;
}

/** Write whole nanocredits as credits, without needless zeros: `525000n` is `"0.000525"`. */
export function credits(amount: bigint): string {
  const [size, sign] = amount < 0n ? [-amount, '-'] : [amount, ''];
  const fraction = (size % NANOCREDITS).toString().padStart(9, '0').replace(/0+$/, '');
  return `${sign}${size / NANOCREDITS}${fraction ? `.${fraction}` : ''}`;
}

function fromNumber(credits: number): string {
  const text = credits.toFixed(9);
  // A sum of numbers, such as 0.1 + 0.2, has digits behind the ninth.
  return Math.abs(credits) < CREDITS_MAX && Number(text) === credits ? text : lost(credits);
}

function lost(credits: string | number): never {
  throw new NaiveError({
    code: 'invalid_input',
    message: `${credits} is no amount of credits that whole nanocredits can hold without losing a digit.`,
    hint: 'Take the text that exact() gives; amounts have at most 9 decimals.',
  });
}
