#!/usr/bin/env node
/*
Upload a file to OSS with a URL from the function. Needs Node.js 18 and nothing else.

    UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] node upload.mjs FILE [TYPE]

Prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.

As a library: `await put(answer.method, answer.url, answer.headers, path)` sends a file by an answer of the
function; metadata, storage class and whatever else the URL binds are in `headers`.
*/

import { createReadStream } from 'node:fs';
import { access, constants, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const ASK_SECONDS = 60;
const SILENT_SECONDS = 300; // nothing sent or received for so long; an upload may take as long as it needs
const MAX_ANSWER_BYTES = 65536;

/** The function or OSS answered, but not with a yes. */
export class Refused extends Error {
  constructor(status, code, message, expired = false) {
    super(code ? `${status} ${code}: ${message}` : `${status}: ${message}`);
    Object.assign(this, { status, code, expired });
  }
}

/** There was no answer, or none that can be used. */
export class Failed extends Error {}

async function main(args) {
  const endpoint = process.env.UPLOAD_ENDPOINT;
  if (args.length < 1 || args.length > 2 || !args[0] || !endpoint) {
    process.stderr.write("usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT\n");
    return 2;
  }
  try {
    const authorization = process.env.UPLOAD_AUTHORIZATION;
    const key = await upload(endpoint, args[0], args[1], process.stderr.isTTY ? show : undefined, { authorization });
    process.stdout.write(`${key}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Failed)) throw error;
    process.stderr.write(`upload: ${oneLine(error.message)}\n`);
    return 1;
  }
}

/** Store the file and give its key. An expired URL is asked for again once: uploads may have queued. */
export async function upload(endpoint, file, contentType, progress, options) {
  let answer = await ask(endpoint, file, contentType, options);
  try {
    await put(answer.method, answer.url, answer.headers, file, progress);
  } catch (error) {
    if (!error.expired) throw error;
    answer = await ask(endpoint, file, contentType, options);
    await put(answer.method, answer.url, answer.headers, file, progress);
  }
  return answer.key;
}

/** Ask the function for a URL: {method, url, headers, key, ...}. */
export async function ask(endpoint, file, contentType, { authorization } = {}) {
  const { size } = await attributes(file);
  const question = JSON.stringify({ filename: basename(file), contentType: contentType || undefined, size });
  const json = { 'Content-Type': 'application/json', ...(authorization && { Authorization: authorization }) };
  if (authorization && !/^[ -~]+$/.test(authorization)) throw new Failed('the authorization is not printable ASCII');
  const { status, text } = await send('POST', endpoint, json, ASK_SECONDS, () => question);
  if (status !== 200) throw refusal(status, text);
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = undefined;
  }
  const { method, url, key, headers } = answer ?? {};
  const isObject = typeof headers === 'object' && headers !== null && !Array.isArray(headers);
  const values = [method, url, key, ...Object.entries(headers ?? {}).flat()];
  if (!isObject || !values.every((value) => typeof value === 'string' && /^\P{Cc}+$/u.test(value))) {
    throw new Failed(`${host(endpoint)} answered something else than an upload: ${textOf(text)}`);
  }
  return answer;
}

/** Send the file to `url`: streamed, with its length, and with exactly `headers`. */
export async function put(method, url, headers, file, progress) {
  const { size } = await attributes(file);
  // Node's fetch sends a stream in chunks unless it is told the length.
  const { status, text } = await send(method, url, { ...headers, 'Content-Length': String(size) }, SILENT_SECONDS,
    (alive) => counted(file, (sent) => { alive(); progress?.(sent, size); }));
  if (status !== 200) throw refusal(status, text);
}

async function* counted(file, tell) {
  let sent = 0;
  for await (const chunk of createReadStream(file)) {
    yield chunk;
    sent += chunk.length;
    tell(sent);
  }
}

async function attributes(file) {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new Error('not a file');
    await access(file, constants.R_OK);
    return found;
  } catch (error) {
    throw new Failed(`cannot read ${file}: ${error.message}`);
  }
}

/** One request and what came back, the body cut at 64 KB. Redirects are errors, not followed. */
async function send(method, url, headers, seconds, body) {
  if (!/^https?:\/\/[^/\s]/i.test(url)) throw new Failed('the address is not http or https');
  // A timer of our own, because fetch's are for the answer only, and some ways to lose a connection fall between.
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Error(`nothing for ${seconds} seconds`)), seconds * 1000);
  try {
    const response = await fetch(url, {
      method,
      headers,
      body: body(() => timer.refresh()),
      duplex: 'half',
      // Else fetch keeps all of the body that it has sent, to send it again after a redirect or a 401.
      redirect: 'error',
      window: null,
      signal: patience.signal,
    });
    return { status: response.status, text: await start(response) };
  } catch (error) {
    throw new Failed(`no answer from ${host(url)}: ${cause(error)}`);
  } finally {
    clearTimeout(timer);
  }
}

async function start(response) {
  const chunks = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= MAX_ANSWER_BYTES) break; // leaving the loop cancels the rest
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString();
}

/** fetch says only "fetch failed", with the reason below; or it refuses to try, and quotes the URL, a secret. */
function cause(error) {
  if (error instanceof TypeError && !error.cause) return 'the URL or a header cannot be sent';
  while (error.cause) error = error.cause;
  return error.message || error.code;
}

/**
 * What the function (JSON) or OSS (XML) says against it, or else the beginning of what came.
 * OSS's two elements are flat, and Node has no XML parser.
 */
function refusal(status, text) {
  try {
    const said = JSON.parse(text);
    const code = first(said, 'code', 'errorType', 'ErrorCode');
    return new Refused(status, code, first(said, 'detail', 'errorMessage', 'ErrorMessage', 'title'));
  } catch {
    const [code, message, ec] = ['Code', 'Message', 'EC'].map((name) =>
      unescape(text.match(`<${name}>([^<]*)</${name}>`)?.[1] ?? ''));
    const expired = status === 403 && (message.includes('has expired') || ec === '0002-00000236');
    return new Refused(status, code, message || textOf(text), expired);
  }
}

/** Of the function's own names and of those that Function Compute uses when it answers for it. */
function first(said, ...names) {
  return names.map((name) => said[name]).find((value) => typeof value === 'string') ?? '';
}

function unescape(xml) {
  const signs = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return xml.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => signs[name]);
}

function textOf(text) {
  return oneLine(text.slice(0, 200)) || 'an empty answer';
}

/** Whoever answered does not get to move the cursor: control characters become blanks. */
function oneLine(text) {
  return text.replace(/[\p{Cc}\s]+/gu, ' ').trim().slice(0, 1000);
}

/** What may be shown of an address: no user, no query. */
function host(url) {
  return url.replace(/^[^/]*\/\//, '').replace(/[/?#].*/s, '').replace(/.*@/, '');
}

/** The progress line; it ends at its own beginning, so that whatever comes next replaces it. */
function show(sent, size) {
  process.stderr.write(`${String(Math.floor((sent * 100) / size)).padStart(3)} %\r`);
}

if (process.argv[1] && (await realpath(process.argv[1]).catch(() => '')) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
