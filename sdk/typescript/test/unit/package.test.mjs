import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import * as esm from '@naive/sdk';
import { KEY } from '../support.mjs';

const root = new URL('../../', import.meta.url);
const read = (name) => readFileSync(new URL(name, root), 'utf8');
const manifest = JSON.parse(read('package.json'));
const cjs = createRequire(import.meta.url)('@naive/sdk');
const sources = readdirSync(new URL('src/', root), { recursive: true }).filter((name) => name.endsWith('.ts'));
const declared = sources.map((name) => `dist/esm/${name.replace(/\.ts$/, '.d.ts')}`);

test('import and require give the same names, and both work', () => {
  assert.deepEqual(Object.keys(cjs).sort(), Object.keys(esm).sort());
  assert.equal(new cjs.Naive({ apiKey: KEY }).baseURL, new esm.Naive({ apiKey: KEY }).baseURL);
});

test('the version is the package\'s', () => assert.equal(esm.VERSION, manifest.version));

test('nothing else is installed with it, and nothing of Node\'s is imported', () => {
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies']) assert.equal(manifest[kind], undefined);
  for (const name of sources) {
    for (const [, from] of read(`src/${name}`).matchAll(/from '([^']+)'/g)) assert.match(from, /^\.\.?\//, name);
  }
});

test('the lock file names no host', () => {
  const lock = JSON.parse(read('package-lock.json'));
  for (const [name, entry] of Object.entries(lock.packages).slice(1)) {
    assert.ok(entry.integrity && entry.version && !entry.resolved, name);
  }
  assert.ok(!read('package-lock.json').includes('registry'));
});

for (const name of declared) {
  test(`everything declared in ${name} says what it is`, () => {
    const lines = read(name).split('\n');
    let [before, isInside] = ['', false];
    for (const [at, line] of lines.entries()) {
      const [, kind, named] = /^export (?:declare )?(class|interface|function|type|const) (\w+)/.exec(line) ?? [];
      if (kind) isInside = kind === 'class' || kind === 'interface';
      const [, member] = (isInside && /^ {4}(?!private |#|\[)(?:readonly |get )*(\w+)[?(<:]/.exec(line)) || [];
      const found = named ?? member;
      // Overloads after the first share its words; an error's name is Error's own.
      if (found && found !== before && found !== 'name') assert.match(lines[at - 1], /\*\/$/, `${name}:${at + 1} ${line}`);
      if (found) before = found;
    }
  });
}

test('sources are small', () => {
  for (const name of sources) assert.ok(read(`src/${name}`).split('\n').length <= 400, `${name} has more than 400 lines`);
});
