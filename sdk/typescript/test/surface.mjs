// What the SDK has and answers, as JSON, for tests/sdk/test_one_surface.py, which compares it with Python's. Takes the
// cases of the toolset as JSON: {status, headers, body} of an answer, and the name and input of a tool.
import * as sdk from '@naive/sdk';

const cases = JSON.parse(process.argv[2]);

function client(fetch) {
  return new sdk.Naive({ apiKey: 'key', baseURL: 'http://naive.test', maxRetries: 0, fetch });
}

function namesOf(object) {
  const names = Object.getOwnPropertyNames(object);
  for (let above = Object.getPrototypeOf(object); above !== Object.prototype; above = Object.getPrototypeOf(above)) {
    names.push(...Object.getOwnPropertyNames(above).filter((name) => name !== 'constructor'));
  }
  return [...new Set(names)].sort();
}

async function run({ status, headers, body, name, input }) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push([init.method, url, init.body === undefined ? null : JSON.parse(init.body)]);
    return new Response(body, { status, headers });
  };
  return { told: await client(fetch).agentTools().handle(name, input), asked };
}

const page = async () => new Response('{"users":[],"next_cursor":null}');
const naive = client(page);
const errors = Object.values(sdk).filter((kind) => kind === sdk.NaiveError || kind.prototype instanceof sdk.NaiveError);
const found = {
  members: {
    naive: namesOf(naive),
    llm: namesOf(naive.llm),
    users: namesOf(naive.users),
    'users.sessions': namesOf(naive.users.sessions),
    account_kits: namesOf(naive.accountKits),
    keys: namesOf(naive.keys),
    billing: namesOf(naive.billing),
    webhooks: namesOf(naive.webhooks),
    audit: namesOf(naive.audit),
    auth: namesOf(naive.auth),
    for_user: namesOf(naive.forUser('u')),
    stream: namesOf(naive.llm.stream({ model: 'm', prompt: 'p' })),
    page: namesOf(await naive.users.list()).filter((name) => name !== 'users'),
    'module webhooks': Object.keys(sdk.webhooks),
  },
  errors: Object.fromEntries(errors.map((kind) => [kind.name, Object.getPrototypeOf(kind).name])),
  definitions: Object.fromEntries(
    ['anthropic', 'openai'].map((form) => [form, JSON.stringify(naive.agentTools({ form }).tools)]),
  ),
  runs: await Promise.all(cases.map(run)),
};
console.log(JSON.stringify(found));
