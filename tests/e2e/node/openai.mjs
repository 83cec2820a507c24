// One use of the openai package for Node, as it comes: node openai.mjs USE '{"baseURL": …, "apiKey": …, …}'.
// Prints what came of it as one JSON object; tests/e2e/test_proxy_node.py knows what is right.
import { createReadStream } from 'node:fs';
import OpenAI, { toFile } from 'openai';

const MODEL = 'openai/gpt-4o-mini';
const EMBEDDER = 'openai/text-embedding-3-small';
const HELLO = [{ role: 'user', content: 'Write a haiku about Paris.' }];
const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' }, unit: { type: 'string', enum: ['c', 'f'] } },
  required: ['city', 'unit'],
};
const CITY = {
  type: 'object',
  properties: { name: { type: 'string' }, population: { type: 'integer' } },
  required: ['name', 'population'],
  additionalProperties: false,
};
const WEATHER = { type: 'function', function: { name: 'get_weather', parameters: PARAMETERS } };

const [, , use, given] = process.argv;
const { baseURL, apiKey, maxRetries = 0, faults = '', statuses = [], path = '' } = JSON.parse(given);
const client = new OpenAI({ baseURL, apiKey, maxRetries });
const model = faults ? `${MODEL}:sim=${faults}` : MODEL;

// What an error is to whoever catches it.
async function caught(call) {
  try {
    await call();
  } catch (error) {
    const known = Object.entries(OpenAI).filter(([, kind]) => typeof kind === 'function');
    const [name] = known.find(([, kind]) => error.constructor === kind) ?? [error.constructor.name];
    return { name, status: error.status ?? null, requestId: error.requestID ?? null, message: error.message };
  }
  return null;
}

async function read(stream, seen) {
  for await (const part of stream) seen(part);
}

const uses = {
  async chat() {
    const answer = await client.chat.completions.create({ model, messages: HELLO });
    return { text: answer.choices[0].message.content, usage: answer.usage, requestId: answer._request_id };
  },

  async stream() {
    let [text, usage] = ['', null];
    await read(await client.chat.completions.create({ model, messages: HELLO, stream: true }), (chunk) => {
      text += chunk.choices[0]?.delta?.content ?? '';
      usage = chunk.usage ?? usage;
    });
    const helper = client.chat.completions.stream({ model, messages: HELLO });
    return { text, usage, helped: await helper.finalContent() };
  },

  async tools() {
    const asked = { model, messages: HELLO, tools: [WEATHER] };
    const first = await client.chat.completions.create(asked);
    const { message, finish_reason: finish } = first.choices[0];
    const [call] = message.tool_calls;
    const told = [...HELLO, message, { role: 'tool', tool_call_id: call.id, content: '18 degrees' }];
    const second = await client.chat.completions.create({ ...asked, messages: told });
    const streamed = await client.chat.completions.stream(asked).finalMessage();
    return {
      finish,
      arguments: JSON.parse(call.function.arguments),
      streamed: JSON.parse(streamed.tool_calls[0].function.arguments),
      text: second.choices[0].message.content,
    };
  },

  async schema() {
    const format = { type: 'json_schema', json_schema: { name: 'city', strict: true, schema: CITY } };
    const answer = await client.chat.completions.parse({ model, messages: HELLO, response_format: format });
    return { city: JSON.parse(answer.choices[0].message.content) };
  },

  async embeddings() {
    const asked = { model: EMBEDDER, input: ['tide', 'ebb'] };
    const packed = await client.embeddings.create(asked);
    const plain = await client.embeddings.create({ ...asked, encoding_format: 'float' });
    return { packed: packed.data.map((item) => item.embedding), plain: plain.data.map((item) => item.embedding) };
  },

  async responses() {
    const whole = await client.responses.create({ model, input: 'Write a haiku.' });
    const streamed = await client.responses.stream({ model, input: 'Write a haiku.' }).finalResponse();
    const tools = [{ type: 'function', name: 'get_weather', strict: false, parameters: PARAMETERS }];
    const called = await client.responses.create({ model, input: 'Weather in Paris?', tools });
    return { text: whole.output_text, streamed: streamed.output_text, last: called.output.at(-1).type };
  },

  async errors() {
    const found = [];
    for (const status of statuses) {
      const broken = `${MODEL}:sim=status=${status}`;
      found.push([
        await caught(() => client.chat.completions.create({ model: broken, messages: HELLO })),
        await caught(() => client.chat.completions.create({ model: broken, messages: HELLO, stream: true })),
        await caught(() => client.responses.create({ model: broken, input: 'Hello' })),
        await caught(() => client.embeddings.create({ model: `${EMBEDDER}:sim=status=${status}`, input: 'tide' })),
      ]);
    }
    return { found };
  },

  async failure() {
    const call = () => client.chat.completions.create({ model, messages: HELLO });
    return { raised: await caught(call) };
  },

  async broken() {
    const call = async () => {
      await read(await client.chat.completions.create({ model, messages: HELLO, stream: true }), () => {});
    };
    return { raised: await caught(call) };
  },

  async timeout() {
    const call = () => client.chat.completions.create({ model, messages: HELLO }, { timeout: 500 });
    return { raised: await caught(call) };
  },

  async abort() {
    const begun = {
      chat: () => client.chat.completions.create({ model, messages: HELLO, stream: true }),
      responses: () => client.responses.create({ model, input: 'Hello', stream: true }),
    };
    const parts = {};
    for (const [api, begin] of Object.entries(begun)) {
      const stream = await begin();
      parts[api] = 0;
      await read(stream, () => {
        parts[api] += 1;
        if (parts[api] === 6) stream.controller.abort();
      });
    }
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 700);
    const late = { model: `${MODEL}:sim=delay_headers_ms=1500`, messages: HELLO };
    const raised = await caught(() => client.chat.completions.create(late, { signal: stop.signal }));
    return { parts, raised };
  },

  async transcription() {
    const sound = await toFile(Buffer.alloc(100_000), 'a.mp3', { type: 'audio/mpeg' });
    const small = await client.audio.transcriptions.create({ model: 'openai/whisper-1', file: sound });
    const file = createReadStream(path);
    const large = await client.audio.transcriptions.create({ model: 'openai/whisper-1', file });
    return { small: small.text, large: large.text };
  },
};

const told = JSON.stringify(await uses[use]());
// Open connections would keep the process for seconds.
process.stdout.write(told, () => process.exit(0));
