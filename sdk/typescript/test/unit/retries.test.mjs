import assert from 'node:assert/strict';
import { test } from 'node:test';
// Not exported: what it decides is seen from outside, but not how long it would have waited.
import { waitMs } from '../../dist/esm/retries.js';

const nowMs = Date.parse('2026-11-23T12:00:00Z');
const wait = (tried, { said, chance = 0 } = {}) =>
  waitMs({ tried, chance, nowMs, headers: said === undefined ? null : new Headers({ 'retry-after': said }) });

test('without a word the wait doubles to eight seconds, less a quarter by chance', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 90].map((tried) => wait(tried)), [500, 1000, 2000, 4000, 8000, 8000, 8000]);
  assert.equal(wait(1, { chance: 1 }), 375);
});

test('Retry-After is kept to: seconds, parts of them, or a date', () => {
  assert.equal(wait(1, { said: '7', chance: 1 }), 7000);
  assert.equal(wait(1, { said: '0.5' }), 500);
  assert.equal(wait(1, { said: 'Mon, 23 Nov 2026 12:00:09 GMT' }), 9000);
  assert.equal(wait(1, { said: 'Mon, 23 Nov 2026 11:00:00 GMT' }), 0);
});

test('a Retry-After of more than a minute ends the tries, one that is none is passed over', () => {
  assert.equal(wait(1, { said: '60' }), 60_000);
  assert.equal(wait(1, { said: '61' }), null);
  assert.equal(wait(1, { said: '99999999999999999999' }), null);
  assert.equal(wait(1, { said: 'soon' }), 500);
});
