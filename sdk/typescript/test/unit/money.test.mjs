import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credits, exact, nanocredits } from '@naive/sdk';
import { HELLO, json, platform } from '../support.mjs';

for (const [text, amount] of [
  ['0', 0n],
  ['-0', 0n],
  ['20', 20_000_000_000n],
  ['0.000525', 525_000n],
  ['-0.000000001', -1n],
  ['123456789012.123456789', 123_456_789_012_123_456_789n],
  ['1e-7', 100n],
  ['1.5E+2', 150_000_000_000n],
  ['0.1000000000000', 100_000_000n],
  [0.1, 100_000_000n],
  [8_388_607.999999999, 8_388_607_999_999_999n],
  [-0.000000001, -1n],
]) {
  test(`${text} credits are ${amount} nanocredits`, () => assert.equal(nanocredits(text), amount));
}

for (const lost of ['0.0000000001', '1e-10', '', ' 1', '1,5', 'NaN', '0x1', 0.1 + 0.2, 8_388_608, -8_388_608, NaN, Infinity, 1e-10]) {
  test(`${JSON.stringify(lost)} is refused: a digit would be lost`, () => {
    assert.throws(() => nanocredits(lost), { name: 'NaiveError', code: 'invalid_input' });
  });
}

test('nanocredits are written without needless zeros, and read back', () => {
  for (const [amount, text] of [
    [0n, '0'],
    [1n, '0.000000001'],
    [-525_000n, '-0.000525'],
    [20_000_000_000n, '20'],
    [123_456_789_012_123_456_789n, '123456789012.123456789'],
  ]) {
    assert.equal(credits(amount), text);
    assert.equal(nanocredits(text), amount);
  }
});

test('a single amount below 2^23 credits prints as it was sent, whichever nanocredit it is', () => {
  // Every digit of the fraction, at both ends of what is promised.
  for (const whole of [0n, 1n, 4_194_303n, 8_388_606n, 8_388_607n]) {
    for (let nano = 1n; nano < 1_000_000_000n; nano = nano * 3n + 7n) {
      const text = credits(whole * 1_000_000_000n + nano);
      assert.equal(credits(nanocredits(JSON.parse(text))), text);
    }
  }
});

const BODY = '{"id":"g","usage":{"cost":0.000210000000000000001},"credits_used":123456789.123456789,"n":[1,-2.50,3e-7],"text":"1.50 \\"2\\" \\\\","t":true,"z":null,"credits_remaining":1.10}';

test('exact has every number as it was written, and everything else as it is', async () => {
  const { naive } = platform([json(BODY)]);
  const answer = await naive.llm.chat(HELLO);
  assert.notEqual(String(answer.credits_used), '123456789.123456789');
  assert.deepEqual(exact(answer), {
    id: 'g',
    usage: { cost: '0.000210000000000000001' },
    credits_used: '123456789.123456789',
    n: ['1', '-2.50', '3e-7'],
    text: '1.50 "2" \\',
    t: true,
    z: null,
    credits_remaining: '1.10',
  });
});

test('exact takes what is inside an answer, too: rows of pages and a generation', async () => {
  const rows = '{"balance":1.10,"held":0,"transactions":[{"id":2,"amount":-0.10},{"id":1,"amount":-99999999.000000001}],"next_cursor":null,"summary":{}}';
  const page = await platform([json(rows)]).naive.usage();
  assert.equal(exact(page).balance, '1.10');
  assert.deepEqual(page.items.map((entry) => exact(entry).amount), ['-0.10', '-99999999.000000001']);
  const generation = await platform([json('{"data":{"id":"g","total_cost":0.10}}')]).naive.llm.generation('g');
  assert.equal(exact(generation).total_cost, '0.10');
});

test('exact refuses what it has not seen come in', async () => {
  const answer = await platform([json(BODY)]).naive.llm.chat(HELLO);
  assert.throws(() => exact({ ...answer }), { code: 'invalid_input' });
  assert.throws(() => exact(answer.usage), { hint: /whole answer/ });
});

test('exact reads long texts', async () => {
  const long = `${'x\\n"'.repeat(2_000_000)}1.0`;
  const answer = await platform([json(`{"text":${JSON.stringify(long)},"n":1.0}`)]).naive.status();
  assert.equal(exact(answer).n, '1.0');
  assert.equal(exact(answer).text, long);
});
