import assert from 'node:assert/strict';
import { test } from 'node:test';
import { all, caught, json, platform, refusal } from '../support.mjs';

const pages = [
  json({ users: [{ id: 'a' }, { id: 'b' }], next_cursor: 'c1', of_tomorrow: 1 }),
  json({ users: [], next_cursor: 'c2' }),
  json({ users: [{ id: 'c' }], next_cursor: null }),
];

test('a loop goes through all pages, with the same parameters', async () => {
  const { naive, calls } = platform(pages);
  const found = await all(naive.users.list({ search: 'x', limit: 2 }));
  assert.deepEqual(found.map(({ id }) => id), ['a', 'b', 'c']);
  assert.deepEqual(calls.map(({ url }) => new URL(url).search), [
    '?search=x&limit=2',
    '?search=x&limit=2&cursor=c1',
    '?search=x&limit=2&cursor=c2',
  ]);
});

test('a page is the answer as it came, and can go on', async () => {
  const { naive, calls } = platform(pages);
  const first = await naive.users.list();
  assert.deepEqual(JSON.parse(JSON.stringify(first)), { users: [{ id: 'a' }, { id: 'b' }], next_cursor: 'c1', of_tomorrow: 1 });
  assert.deepEqual([first.requestId, first.hasNextPage, first.items], ['req_1', true, first.users]);
  assert.equal(calls.length, 1);
  const third = await (await first.nextPage()).nextPage();
  assert.deepEqual([third.hasNextPage, third.items[0].id, await third.nextPage()], [false, 'c', null]);
  assert.equal(calls.length, 3);
  assert.deepEqual((await all((await platform(pages).naive.users.list()).pages())).map(({ items }) => items.length), [2, 0, 1]);
});

test('a loop over a page starts there', async () => {
  const { naive } = platform(pages.slice(1));
  assert.deepEqual((await all(await naive.users.list({ cursor: 'c1' }))).map(({ id }) => id), ['c']);
});

test('pages are asked for as they are needed', async () => {
  const { naive, calls } = platform(pages);
  for await (const _ of naive.users.list()) break;
  assert.equal(calls.length, 1);
});

test('an error on a later page comes out of the loop, after what came before it', async () => {
  const { naive } = platform([pages[0], refusal(403, 'forbidden')]);
  const seen = [];
  const error = await caught(async () => {
    for await (const { id } of naive.users.list()) seen.push(id);
  });
  assert.deepEqual([error.code, seen], ['forbidden', ['a', 'b']]);
});

test('a page that leads to itself, or is none, is an error and no endless loop', async () => {
  const itself = platform([json({ users: [{ id: 'a' }], next_cursor: 'c1' })]);
  assert.equal((await caught(all(itself.naive.users.list()))).code, 'invalid_response');
  assert.equal(itself.calls.length, 2);
  assert.equal((await caught(platform([json({ people: [] })]).naive.users.list())).code, 'invalid_response');
});

test('the raw response of a list is there, too', async () => {
  const { data, requestId } = await platform(pages).naive.users.list().withResponse();
  assert.deepEqual([data.items.length, requestId], [2, 'req_1']);
});
