// Everything that is not a call to a model. No call.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import * as sdk from '@naive/sdk';
import { all, caught } from '../support.mjs';

const { Naive, exact, nanocredits, credits, webhooks } = sdk;
const naive = new Naive();

test('users are made, found, changed, suspended and let in again', async () => {
  const made = await naive.users.create({ external_id: 'ext-1', label: 'One', metadata: { plan: 'a', seats: 1 } });
  assert.equal((await naive.users.get('ext:ext-1')).id, made.id);
  const changed = await naive.users.update(made.id, { metadata: { seats: null, tier: 2 } });
  assert.deepEqual(changed.metadata, { plan: 'a', tier: 2 });
  assert.equal((await naive.users.delete(made.id)).status, 'suspended');
  const refused = await caught(naive.forUser(made.id).llm.chat({ model: 'openai/gpt-5.2', prompt: 'Hi' }));
  assert.ok(refused instanceof sdk.PermissionDeniedError);
  assert.equal(refused.reason, 'user_suspended');
  assert.equal((await naive.users.update(made.id, { status: 'active' })).status, 'active');
  const taken = await caught(naive.users.create({ external_id: 'ext-1' }));
  assert.ok(taken instanceof sdk.ConflictError);
  assert.deepEqual([taken.code, taken.details.existing_id], ['duplicate_record', made.id]);
});

test('a list is read page by page, each row once', async () => {
  const labels = ['p1', 'p2', 'p3', 'p4', 'p5'];
  for (const label of labels) await naive.users.create({ label, metadata: { paged: true } });
  const found = await all(naive.users.list({ limit: 2, search: 'p' }));
  assert.deepEqual(found.map(({ label }) => label), [...labels].reverse());
  const page = await naive.users.list({ limit: 2, search: 'p' });
  assert.deepEqual([page.items.length, page.hasNextPage], [2, true]);
});

test('the same Idempotency-Key is the same user; another body under it is refused', async () => {
  const options = { idempotencyKey: 'signup-42' };
  const first = await naive.users.create({ label: 'once' }, options);
  assert.equal((await naive.users.create({ label: 'once' }, options)).id, first.id);
  const other = await caught(naive.users.create({ label: 'twice' }, options));
  assert.ok(other instanceof sdk.UnprocessableEntityError);
  assert.equal(other.code, 'idempotency_mismatch');
});

test('a kit is changed to what was read, or not at all', async () => {
  const kit = await naive.accountKits.create({ name: 'Free', primitives_config: { llm: { defaults: { max_tokens: 50 } } } });
  assert.equal(await naive.accountKits.get(kit.id, { ifNoneMatch: kit.etag }), null);
  const shown = await naive.accountKits.preview(kit.id, { primitives_config: { llm: { enabled: false } } });
  assert.equal(shown.changes[0].after, false);
  const changed = await naive.accountKits.update(kit.id, { description: 'd' }, { ifMatch: kit.etag });
  assert.notEqual(changed.etag, kit.etag);
  const late = await caught(naive.accountKits.update(kit.id, { description: 'e' }, { ifMatch: kit.etag }));
  assert.ok(late instanceof sdk.PreconditionFailedError);
  assert.equal(late.details.etag, changed.etag);
  assert.ok((await all(naive.accountKits.list({ search: 'fr' }))).some(({ id, users }) => id === kit.id && users === 0));
  assert.equal((await naive.accountKits.delete(kit.id, { ifMatch: changed.etag })).deleted, true);
  assert.ok((await caught(naive.accountKits.get(kit.id))) instanceof sdk.NotFoundError);
});

test('a kit gates its users, and says what it allows', async () => {
  const defaults = { allowed_models: ['anthropic/*'], monthly_credits_per_user: 2.5 };
  const kit = await naive.accountKits.create({ name: 'Narrow', primitives_config: { llm: { enabled: true, defaults } } });
  const user = await naive.users.create({ external_id: 'narrow' });
  assert.equal((await naive.accountKits.assignUser(kit.id, 'ext:narrow')).account_kit_id, kit.id);
  assert.equal((await naive.accountKits.assign(kit.id, { user_ids: [user.id] })).unchanged, 1);
  const asked = { model: 'openai/gpt-5.2', prompt: 'Hi' };
  const denied = await caught(naive.forUser(user.id).llm.stream(asked).finalCompletion());
  assert.deepEqual([denied.name, denied.reason, denied.code], ['PermissionDeniedError', 'model_not_allowed_by_kit', 'forbidden']);
  const estimate = await naive.forUser(user.id).llm.estimate(asked);
  assert.equal(estimate.allowed, false);
  assert.ok(estimate.refusal.message.includes('Narrow'));
  const effective = await naive.accountKits.effective(kit.id);
  assert.ok(effective.models.names.every((name) => name.startsWith('anthropic/')));
  const limit = effective.limits.find(({ name }) => name === 'monthly_credits_per_user');
  assert.deepEqual([limit.value, limit.source], [2.5, 'account_kit']);
  const told = await naive.forUser(user.id).agentTools().handle('naive_run_primitive', { primitive: 'llm', method: 'chat', arguments: asked });
  assert.match(told, /^403 forbidden: .*model_not_allowed_by_kit/);
});

test('a key is made, limited, rotated and ended', async () => {
  const made = await naive.keys.create({ name: 'CI', cap_credits: 1e-7, cap_period: 'day' });
  assert.match(made.api_key, /^nv_sk_live_/);
  assert.equal(nanocredits(made.cap_credits), 100n);
  assert.equal((await naive.keys.update(made.id, { name: 'CI 2', cap_credits: 5, cap_period: 'month' })).name, 'CI 2');
  const next = await naive.keys.rotate(made.id, { overlap_hours: 0 });
  assert.equal(next.rotated_from, made.id);
  assert.equal((await naive.withOptions({ apiKey: next.api_key }).auth.me()).key.id, next.id);
  assert.equal((await naive.keys.revoke(next.id)).revoked, true);
  assert.equal((await naive.keys.get(next.id)).revoked, true);
  assert.ok((await all(naive.keys.list({ revoked: true }))).some(({ id }) => id === next.id));
});

test('a session token opens the calls of its user and nothing else', async () => {
  const user = await naive.users.create({ external_id: 'on-a-phone' });
  const { token, id } = await naive.users.sessions.create(user.id, { ttl_seconds: 300 });
  const device = new Naive({ apiKey: token });
  const me = await device.auth.me();
  assert.deepEqual([me.kind, me.user.id, me.is_narrow], ['session', user.id, true]);
  const refused = await caught(device.users.list());
  assert.equal(refused.reason, 'key_scope');
  assert.deepEqual((await all(naive.users.sessions.list(user.id))).map((session) => session.id), [id]);
  assert.ok((await naive.users.sessions.revoke(user.id, id)).revoked_at);
});

test('credits are told, can be bought, and add up', async () => {
  const { packs } = await naive.billing.packs();
  assert.deepEqual(packs.map(({ id }) => id), ['small', 'medium', 'large', 'xl']);
  const checkout = await naive.billing.topup({ pack_id: 'small' });
  assert.deepEqual([checkout.pack.credits, /^https?:/.test(checkout.checkout_url)], [20, true]);
  const status = await naive.status();
  assert.deepEqual(Object.keys(status.credits).sort(), ['available', 'balance', 'held', 'is_frozen']);
  let sum = 0n;
  for await (const entry of naive.billing.ledger({ limit: 1 })) sum += nanocredits(exact(entry).amount);
  assert.equal(credits(sum), exact(status).credits.balance);
  const statement = await naive.billing.statement();
  assert.equal(exact(statement).closing_balance, exact(status).credits.balance);
  const usage = await naive.usage({ days: 7, group_by: 'model' });
  assert.deepEqual([usage.summary.days, usage.summary.group_by], [7, 'model']);
});

test('a company without a credit is told what is short, and what it can buy', async () => {
  const broke = naive.withOptions({ apiKey: process.env.NAIVE_BROKE_KEY });
  const asked = { model: 'openai/gpt-5.2', prompt: 'Hi' };
  for (const call of [() => broke.llm.chat(asked), () => broke.llm.stream(asked).finalCompletion()]) {
    const error = await caught(call);
    assert.ok(error instanceof sdk.InsufficientCreditsError);
    assert.deepEqual([error.status, error.limit, error.packs.length], [402, 'wallet', 4]);
    assert.match(error.requestId, /^req_/);
  }
});

test('what does not exist, or is not yours, or is wrong, has its class', async () => {
  const missing = await caught(naive.users.get('ext:nobody'));
  assert.ok(missing instanceof sdk.NotFoundError);
  assert.match(missing.hint, /ext:/);
  const stranger = await caught(naive.withOptions({ apiKey: 'sk-or-v1-mine' }).status());
  assert.ok(stranger instanceof sdk.AuthenticationError);
  const wrong = await caught(naive.users.list({ limit: 0 }));
  assert.ok(wrong instanceof sdk.BadRequestError);
  assert.equal(wrong.details.field, 'limit');
});

test('the audit log is read and exported', async () => {
  const { id } = await naive.users.create({ label: 'watched' });
  const [entry] = await all(naive.audit.list({ target_id: id }));
  assert.deepEqual([entry.action, entry.actor.kind], ['tenant_user.created', 'key']);
  const lines = await naive.audit.export({ target_id: id, format: 'jsonl', since: new Date(0) });
  assert.equal(JSON.parse(lines.split('\n')[0]).target.id, id);
});

test('a company is founded and signed in to without a key', async () => {
  const door = new Naive({ apiKey: null });
  const who = { email: `ts-${Date.now()}@acme.example`, password: 'correct horse battery staple' };
  const founded = await door.auth.register({ name: 'Ada', ...who });
  assert.equal((await new Naive({ apiKey: founded.api_key }).status()).company.id, founded.company_id);
  const signedIn = await door.auth.login(who);
  const chosen = await new Naive({ apiKey: signedIn.api_key }).auth.selectCompany({ company_id: founded.company_id });
  assert.equal(chosen.company_id, founded.company_id);
  assert.ok((await caught(door.auth.login({ ...who, password: 'wrong password' }))) instanceof sdk.AuthenticationError);
});

test('a webhook is told, and what it is told is verified', async (t) => {
  let resolve;
  const told = new Promise((given) => (resolve = given));
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    resolve({ headers: request.headers, body: Buffer.concat(pieces) });
    response.writeHead(204).end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/naive`;
  const made = await naive.webhooks.create({ url, events: ['credits.low'] });
  const sent = await naive.webhooks.test(made.id);
  const message = await told;
  assert.equal(message.headers['webhook-id'], sent.message_id);
  const event = await webhooks.verify({ ...message, secret: made.secret });
  assert.deepEqual([event.type, event.data.webhook_id], ['webhook.test', made.id]);
  const rotated = await naive.webhooks.rotateSecret(made.id);
  await assert.rejects(webhooks.verify({ ...message, secret: rotated.secret }), { name: 'WebhookVerificationError' });
  assert.equal((await naive.webhooks.update(made.id, { enabled: false })).disabled_reason, 'by_hand');
  assert.ok((await all(naive.webhooks.deliveries(made.id))).some(({ message_id }) => message_id === sent.message_id));
  assert.ok((await all(naive.webhooks.list())).some(({ id }) => id === made.id));
  assert.equal((await naive.webhooks.delete(made.id)).deleted, true);
});
