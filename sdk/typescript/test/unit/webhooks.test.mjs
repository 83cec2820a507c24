import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { WebhookVerificationError, exact, webhooks } from '@naive/sdk';
import { caught } from '../support.mjs';

const secret = `whsec_${Buffer.from('a secret of twenty-four').toString('base64')}`;
const other = `whsec_${Buffer.from('another secret of theirs').toString('base64')}`;
const now = new Date('2026-11-23T12:00:00Z');
const body = '{"type":"credits.low","timestamp":"2026-11-23T12:00:00Z","data":{"balance":1.10,"held":0,"available":1.10,"threshold":2,"note":"é🐸"}}';

function signature({ id = 'msg_1', at = now, text = body, by = secret } = {}) {
  const signed = `${id}.${at.getTime() / 1000}.${text}`;
  return `v1,${createHmac('sha256', Buffer.from(by.slice(6), 'base64')).update(signed).digest('base64')}`;
}

function headers(more = {}) {
  return { 'webhook-id': 'msg_1', 'webhook-timestamp': String(now.getTime() / 1000), 'webhook-signature': signature(), ...more };
}

test('the example of Standard Webhooks itself is verified', async () => {
  const given = {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  };
  const at = new Date(1614265330_000);
  const key = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  assert.deepEqual(await webhooks.verify({ body: '{"test": 2432232314}', headers: given, secret: key, now: at }), { test: 2432232314 });
});

test('a message is given back, however body and headers come', async () => {
  const bytes = new TextEncoder().encode(body);
  const node = Object.fromEntries(Object.entries(headers()).map(([name, value]) => [name.toUpperCase(), [value]]));
  for (const given of [
    { body, headers: headers() },
    { body: bytes, headers: new Headers(headers()) },
    { body: bytes.buffer, headers: node },
    { body: Buffer.from(body), headers: headers() },
  ]) {
    const event = await webhooks.verify({ ...given, secret, now });
    assert.equal(event.type === 'credits.low' && event.data.note, 'é🐸');
    assert.equal(exact(event).data.balance, '1.10');
  }
});

test('one signature, and one secret, that fits is enough', async () => {
  const rotated = headers({ 'webhook-signature': `v1,AAAA v1a,zzzz ${signature({ by: other })} ${signature()}` });
  assert.ok(await webhooks.verify({ body, headers: rotated, secret, now }));
  assert.ok(await webhooks.verify({ body, headers: headers(), secret: [other, secret], now }));
});

for (const [what, given] of [
  ['a changed body', { body: body.replace('1.10', '9.10') }],
  ['a body that was parsed and written again', { body: JSON.stringify(JSON.parse(body)) }],
  ['another id', { headers: headers({ 'webhook-id': 'msg_2' }) }],
  ['a time that was changed', { headers: headers({ 'webhook-timestamp': String(now.getTime() / 1000 + 1) }) }],
  ['another secret', { secret: other }],
  ['no secret that fits', { secret: [] }],
  ['an old message', { now: new Date(now.getTime() + 301_000) }],
  ['a message of the future', { now: new Date(now.getTime() - 301_000) }],
  ['a time that is none', { headers: headers({ 'webhook-timestamp': 'soon' }) }],
  ['no signature', { headers: headers({ 'webhook-signature': undefined }) }],
  ['a signature of another kind', { headers: headers({ 'webhook-signature': signature().replace('v1', 'v2') }) }],
  ['an empty signature', { headers: headers({ 'webhook-signature': 'v1,' }) }],
  ['a signature that is no base64', { headers: headers({ 'webhook-signature': 'v1,%%%' }) }],
  ['a secret that is none', { secret: 'whsec_' }],
]) {
  test(`refused: ${what}`, async () => {
    const error = await caught(webhooks.verify({ body, headers: headers(), secret, now, ...given }));
    assert.ok(error instanceof WebhookVerificationError);
    assert.equal(error.code, 'webhook_not_verified');
    assert.ok(!error.message.includes(secret.slice(6)));
  });
}

test('how far a time may be off can be said', async () => {
  const late = new Date(now.getTime() + 301_000);
  assert.ok(await webhooks.verify({ body, headers: headers(), secret, now: late, toleranceS: 400 }));
});
