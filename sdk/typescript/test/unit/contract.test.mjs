// The SDK against docs/openapi.json: every operation has its method, and every type has the fields that are documented.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { json, platform } from '../support.mjs';

const DOCUMENT = JSON.parse(readFileSync(new URL('../../../../docs/openapi.json', import.meta.url), 'utf8'));
const TYPES = new URL('../../src/types/', import.meta.url);
// The proxy is for other clients; the rest is for upstream, the payment provider and the operator's machines.
const NOT_OURS = /^\/(health|readyz|metrics|v1\/(proxy|broadcast|payments|openapi\.json))/;
// By which names the types are published that are not called as their schema.
const NAMES = {
  AccountKit: 'Kit', AccountKitRow: 'KitRow', AccountKitList: 'Kits', AccountKitCreateParams: 'KitBody',
  AccountKitUpdateParams: 'KitChanges', AccountKitPreviewParams: 'PreviewBody', AccountKitPreview: 'Preview',
  AssignParams: 'AssignBody', EffectiveAccountKit: 'Effective', EffectiveLimit: 'Limit',
  AuditActor: 'Actor', AuditEntryList: 'Audit',
  KeyList: 'Keys', KeyCreateParams: 'KeyBody', KeyUpdateParams: 'KeyChanges', KeyRotateParams: 'RotateBody',
  RegisterParams: 'RegisterBody', LoginParams: 'LoginBody', SelectCompanyParams: 'SelectCompanyBody',
  SelectedCompany: 'Selected',
  LedgerEntry: 'Entry', PackList: 'Packs', TopUpParams: 'TopUpBody', UsageSummary: 'Summary', UsageGroup: 'Group',
  UserList: 'Users', UserCreateParams: 'UserBody', UserUpdateParams: 'UserChanges', SessionList: 'Sessions',
  SessionCreateParams: 'SessionBody',
  WebhookList: 'Webhooks', WebhookCreateParams: 'WebhookBody', WebhookUpdateParams: 'WebhookChanges',
  IssuedWebhook: 'Issued', WebhookDelivery: 'Delivery', WebhookDeliveryList: 'Deliveries',
  ChatMessage: 'Message', ChatParams: 'ChatBody',
}; // prettier-ignore
const SAME = [
  'AuditEntry', 'Assigned', 'Checkout', 'Correction', 'Deleted', 'Estimate', 'Generation', 'IssuedKey', 'IssuedSession',
  'Key', 'Ledger', 'LoggedIn', 'Me', 'Model', 'ModelList', 'NamedCompany', 'Pack', 'Registered', 'Session', 'Statement',
  'Status', 'Usage', 'User', 'UserUsage', 'Webhook', 'ChatCompletion',
]; // prettier-ignore
// What the platform says of upstream's bodies is what it reads itself; the SDK names more.
const OPEN = new Set(['ChatMessage', 'ChatParams', 'ChatCompletion']);

const interfaces = new Map();
for (const file of readdirSync(TYPES)) {
  const text = readFileSync(new URL(file, TYPES), 'utf8');
  for (const [, name, parents, body] of text.matchAll(/^(?:export )?interface (\w+)(?:<.*?>)?(?: extends ([\w, ]+))? \{(.*?)\}$/gms)) {
    const fields = [...body.matchAll(/^ {2}(\w+)(\??):/gm)].map(([, field, may]) => [field, may === '']);
    interfaces.set(name, { parents: parents?.split(', ') ?? [], fields });
  }
}

function fieldsOf(name) {
  const { parents, fields } = interfaces.get(name) ?? assert.fail(`There is no type ${name}.`);
  return new Map([...parents.flatMap((parent) => [...fieldsOf(parent)]), ...fields]);
}

for (const [name, schemaName] of [...Object.entries(NAMES), ...SAME.map((name) => [name, name])]) {
  test(`${name} has the fields of the document's ${schemaName}`, () => {
    const schema = DOCUMENT.components.schemas[schemaName];
    const documented = new Map(Object.keys(schema.properties).map((field) => [field, (schema.required ?? []).includes(field)]));
    const written = fieldsOf(name);
    for (const [field, isRequired] of documented) {
      assert.ok(written.has(field), `${name}.${field} is missing`);
      // The role of a message is upstream's to require.
      if (!(OPEN.has(name) && written.get(field))) assert.equal(written.get(field), isRequired, `${name}.${field}: required?`);
    }
    if (!OPEN.has(name)) assert.deepEqual([...written.keys()].filter((field) => !documented.has(field)), []);
  });
}

// Every parameter of every list, too.
for (const [name, at] of [
  ['UserListParams', '/v1/users'],
  ['AccountKitListParams', '/v1/account-kits'],
  ['KeyListParams', '/v1/auth/keys'],
  ['LedgerParams', '/v1/billing/ledger'],
  ['StatementParams', '/v1/billing/statement'],
  ['UsageParams', '/v1/usage'],
  ['AuditListParams', '/v1/audit'],
  ['AuditExportParams', '/v1/audit/export'],
  ['ModelsParams', '/v1/llm/models'],
  ['WebhookDeliveryListParams', '/v1/webhooks/{webhook_id}/deliveries'],
]) {
  test(`${name} has the parameters of ${at}`, () => {
    interfaces.set('ListParams', { parents: [], fields: [['limit', false], ['cursor', false]] });
    const documented = DOCUMENT.paths[at].get.parameters.filter((parameter) => parameter.in === 'query');
    assert.deepEqual([...fieldsOf(name).keys()].sort(), documented.map((parameter) => parameter.name).sort());
  });
}

test('every operation of the document has a method, and no method has another', async () => {
  const bodies = 'users account_kits keys entries transactions audit_entries webhooks deliveries sessions';
  const rows = Object.fromEntries(bodies.split(' ').map((plural) => [plural, []]));
  const { naive, calls } = platform([json({ ...rows, next_cursor: null, data: {} })]);
  const chat = { model: 'm', prompt: 'p' };
  const llm = [naive.llm, naive.forUser('{user_id}').llm].flatMap((llm) => [
    llm.chat(chat), llm.models(), llm.generation('g'), llm.estimate(chat),
  ]); // prettier-ignore
  const { users, accountKits, keys, billing, webhooks, audit, auth } = naive;
  await Promise.all([
    ...llm, naive.status(), naive.usage(), naive.forUser('{user_id}').usage(),
    users.list(), users.create({}), users.get('{user_id}'), users.update('{user_id}', {}), users.delete('{user_id}'),
    users.usage('{user_id}'), users.sessions.create('{user_id}'), users.sessions.list('{user_id}'),
    users.sessions.revoke('{user_id}', '{session_id}'),
    accountKits.list(), accountKits.create({}), accountKits.get('{kit_id}'), accountKits.update('{kit_id}', {}),
    accountKits.delete('{kit_id}'), accountKits.assign('{kit_id}', {}), accountKits.assignUser('{kit_id}', '{user_id}'),
    accountKits.effective('{kit_id}'), accountKits.preview('{kit_id}', {}),
    keys.list(), keys.create({}), keys.get('{key_id}'), keys.update('{key_id}', {}), keys.revoke('{key_id}'),
    keys.rotate('{key_id}'),
    billing.packs(), billing.topup({}), billing.ledger(), billing.statement(),
    webhooks.list(), webhooks.create({}), webhooks.get('{webhook_id}'), webhooks.update('{webhook_id}', {}),
    webhooks.delete('{webhook_id}'), webhooks.test('{webhook_id}'), webhooks.rotateSecret('{webhook_id}'),
    webhooks.deliveries('{webhook_id}'), webhooks.replay('{webhook_id}', '{delivery_id}'),
    audit.list(), audit.export(),
    auth.register({}), auth.login({}), auth.selectCompany({}), auth.me(),
  ]); // prettier-ignore
  const asked = new Set(calls.map(({ method, url }) => `${method} ${decodeURIComponent(new URL(url).pathname)}`));
  const documented = Object.entries(DOCUMENT.paths)
    .filter(([at]) => !NOT_OURS.test(at))
    .flatMap(([at, verbs]) => Object.keys(verbs).filter((verb) => verb !== 'parameters').map((verb) => `${verb.toUpperCase()} ${at}`));
  assert.deepEqual([...asked].sort(), documented.sort());
});
