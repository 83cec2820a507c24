/** What a model wrote as arguments, read by their schema: what is wrong with them is told in words of JSON. */
import { NaiveError } from '../errors.js';
import type { Schema } from './definitions.js';

/** Fields of a JSON object. */
export type Fields = Record<string, unknown>;

/** Arguments that no request was made of; the message tells a model what to change. */
export class Mistake extends NaiveError {
  override name = 'Mistake';

  /** Made where arguments are read. */
  constructor(message: string) {
    super({ code: 'invalid_input', message });
  }
}

const TOLD_MAX = 5;

/** Return the mistake of arguments that are wrong as a whole. */
export function notSent(...told: string[]): Mistake {
  return new Mistake(`Not sent: ${told.slice(0, TOLD_MAX).join('; ')}. Correct the arguments and call again.`);
}

/** Return the arguments, an object or its JSON: what the schema names, and what it does not. Throws `Mistake`. */
export function read(input: unknown, schema: Schema): { known: Fields; more: Fields } {
  const given = objectOf(input);
  const properties = schema.properties ?? {};
  const told: string[] = [];
  const known: [string, unknown][] = [];
  for (const [name, field] of Object.entries(properties)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    const isRequired = schema.required?.includes(name);
    if (value === undefined && isRequired) told.push(`${name}: is missing`);
    else if (value === undefined && 'default' in field) known.push([name, field.default]);
    else if (value !== undefined && (value !== null || isRequired || 'default' in field)) {
      known.push([name, checked(value, field, name, told)]);
    }
  }
  const more = Object.entries(given).filter(([name]) => !Object.hasOwn(properties, name));
  if (schema.additionalProperties === false) {
    const names = Object.keys(properties).join(', ');
    for (const [name] of more) told.push(`${name}: is not known here; known: ${names}`);
  }
  if (told.length) throw notSent(...told);
  return { known: Object.fromEntries(known), more: Object.fromEntries(more) };
}

function objectOf(input: unknown): Fields {
  let given: unknown = input ?? {};
  if (typeof given === 'string') {
    try {
      given = JSON.parse(given || '{}') as unknown;
    } catch {
      throw notSent('arguments: Input should be valid JSON');
    }
  }
  if (!isObject(given)) throw notSent('arguments: Input should be an object');
  return given;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checked(value: unknown, schema: Schema, at: string, told: string[]): unknown {
  if (schema.type === 'integer' || schema.type === 'number') return number(value, schema, at, told);
  const wrong = mistakeOf(value, schema);
  if (wrong) told.push(`${at}: ${wrong}`);
  else if (schema.items) {
    for (const [index, item] of (value as unknown[]).entries()) checked(item, schema.items, `${at}.${index}`, told);
  }
  return value;
}

function mistakeOf(value: unknown, { type, minLength = 0, minItems = 0 }: Schema): string | null {
  if (type === 'object') return isObject(value) ? null : 'Input should be an object';
  if (type === 'array') {
    if (!Array.isArray(value)) return 'Input should be an array';
    const isShort = value.length < minItems;
    return isShort ? `List should have at least ${minItems} item after validation, not ${value.length}` : null;
  }
  if (typeof value !== 'string') return 'Input should be a valid string';
  return value.length < minLength ? `String should have at least ${minLength} character` : null;
}

// Models write numbers as texts, too.
function number(value: unknown, { type, minimum, maximum }: Schema, at: string, told: string[]): unknown {
  const article = type === 'integer' ? 'an' : 'a';
  const form = type === 'integer' ? /^[+-]?\d+(\.0+)?$/ : /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
  const tell = (what: string): void => void told.push(`${at}: Input should be ${what}`);
  if (typeof value === 'string' && !form.test(value.trim())) {
    tell(`a valid ${type}, unable to parse string as ${article} ${type}`);
    return value;
  }
  if (!['string', 'number', 'boolean'].includes(typeof value)) {
    tell(`a valid ${type}`);
    return value;
  }
  const found = Number(value);
  if (!Number.isFinite(found)) tell('a finite number');
  else if (type === 'integer' && !Number.isInteger(found)) {
    tell('a valid integer, got a number with a fractional part');
  } else if (minimum !== undefined && found < minimum) tell(`greater than or equal to ${minimum}`);
  else if (maximum !== undefined && found > maximum) tell(`less than or equal to ${maximum}`);
  return found;
}
