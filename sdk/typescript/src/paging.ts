/** Lists: a page at a time, or all of it by one loop. */
import { APIPromise, type Answer } from './answers.js';
import { InvalidResponseError } from './errors.js';
import { exact, remember } from './money.js';
import { parse, type APIRequest, type RequestOptions, type Transport } from './transport.js';

/** Where in a list to look. */
export interface ListParams {
  /** How many rows a page has, 50 if left out, at most 200. */
  limit?: number;
  /** The `next_cursor` of the page before. */
  cursor?: string;
}

/** What a page can do; its fields are those of the answer. Looping over it goes on to the pages after it. */
export interface Paged<Body, Item> {
  /** The rows of this page. */
  readonly items: Item[];
  /** Whether there is a page after it. */
  readonly hasNextPage: boolean;
  /** Return the page after it; null at the end. */
  nextPage(): Promise<Page<Body, Item> | null>;
  /** This page and all after it. */
  pages(): AsyncGenerator<Page<Body, Item>>;
  /** All rows, from the first of this page to the last of all. */
  [Symbol.asyncIterator](): AsyncIterator<Item>;
}

/** A page of a list. */
export type Page<Body, Item> = Answer<Body> & Paged<Body, Item>;

/** A list: await it for its first page, or loop over it with `for await` for all of its rows. */
export class PagePromise<Body, Item> extends APIPromise<Page<Body, Item>> implements AsyncIterable<Item> {
  /** All rows of all pages; each page is asked for when it is needed. */
  async *[Symbol.asyncIterator](): AsyncIterator<Item> {
    yield* rows(await this);
  }
}

/** Return the list that `request` asks for; `plural` is the field that holds its rows. */
export function list<Body extends { next_cursor: string | null }, Item extends object>(
  transport: Transport,
  request: APIRequest & { query?: ListParams | undefined },
  plural: keyof Body & string,
  options: RequestOptions,
): PagePromise<Body, Item> {
  const next = (cursor: string): PagePromise<Body, Item> =>
    list(transport, { ...request, query: { ...request.query, cursor } }, plural, options);
  return new PagePromise(transport.reply(request, options), (reply) => {
    const body = parse<Body>(reply);
    const items: unknown = body[plural];
    // The same cursor twice would be a loop without an end.
    if (!Array.isArray(items) || (body.next_cursor && body.next_cursor === request.query?.cursor)) {
      throw new InvalidResponseError({
        status: reply.status,
        code: 'invalid_response',
        message: `The answer is no page of ${plural}, or leads to itself.`,
        requestId: body.requestId,
        headers: reply.headers,
        body,
      });
    }
    return page<Body, Item>(body, plural, items as Item[], next);
  });
}

function page<Body extends { next_cursor: string | null }, Item extends object>(
  body: Answer<Body>,
  plural: keyof Body,
  items: Item[],
  next: (cursor: string) => PagePromise<Body, Item>,
): Page<Body, Item> {
  const cursor = body.next_cursor;
  items.forEach((item, at) => remember(item, () => (exact(body) as Record<keyof Body, unknown[]>)[plural][at]));
  const paged: Page<Body, Item> = Object.defineProperties(body, {
    items: { value: items },
    hasNextPage: { value: Boolean(cursor) },
    nextPage: { value: async () => (cursor ? next(cursor) : null) },
    pages: { value: () => pages(paged) },
    [Symbol.asyncIterator]: { value: () => rows(paged) },
  }) as Page<Body, Item>;
  return paged;
}

async function* rows<Body, Item>(first: Page<Body, Item>): AsyncGenerator<Item> {
  for await (const page of pages(first)) yield* page.items;
}

async function* pages<Body, Item>(first: Page<Body, Item>): AsyncGenerator<Page<Body, Item>> {
  for (let page: Page<Body, Item> | null = first; page; page = await page.nextPage()) yield page;
}
