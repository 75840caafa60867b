/**
 * Upload a file from a browser: ask the function for a URL, then send the bytes straight to OSS. No dependency.
 *
 *     import { upload } from "./upload.js";
 *
 *     const { key } = await upload("https://my-function.fcapp.run/", file, {
 *       onProgress: (sent, size) => { bar.value = sent / size; },
 *       signal: controller.signal,             // controller.abort() cancels
 *     });
 *
 * `upload` is `ask` and `put` with retries; both can be used alone: `await put(answer, file)` sends a file by an
 * answer of the function, and metadata, storage class and whatever else the URL binds are in the answer's `headers`.
 * Every refusal and every failure is an `UploadError`. A cancelled upload rejects with its signal's reason, as
 * `fetch` does.
 */

const PASSING = new Set([429, 500, 502, 503, 504]);

/** What the function or OSS refused, or what went wrong on the way. Its `message` is for people. */
export class UploadError extends Error {
  name = "UploadError";

  /**
   * @param {string} message
   * @param {object} details
   * @param {string} details.code the function's or OSS's ("ContentTypeNotAllowed", "SignatureDoesNotMatch"), or
   *   one of ours: "NetworkError", "AnswerHidden", "UnknownAnswer", "FileUnreadable"
   * @param {number} [details.status] of the HTTP answer, 0 where there was none to read
   * @param {string} [details.requestId] finds it in the function's log, or with OSS's support
   * @param {object} [details.problem] the function's whole refusal, with `field`, `limit` or `allowed`
   * @param {boolean} [details.temporary] the same may succeed in a moment
   * @param {boolean} [details.expired] a new URL may succeed
   */
  constructor(message, details) {
    super(message);
    Object.assign(this, { status: 0, requestId: "", problem: {}, temporary: false, expired: false }, details);
  }
}

/**
 * Ask, send, and try again where that can help: when the connection is lost, when a server is overloaded, and once
 * when the URL has expired. Each attempt has a URL of its own. Gives the function's answer, and OSS's as `reply`.
 *
 * @param {string | URL} endpoint the function's address
 * @param {Blob} file
 * @param {object} [options] those of `ask` and of `put`, and
 * @param {number} [options.retries] of temporary failures, after 1, 2, 4 ... seconds
 * @param {(error: UploadError) => void} [options.onRetry] called before each of these waits
 */
export async function upload(endpoint, file, { retries = 3, onRetry, ...options } = {}) {
  for (let failures = 0, renewed = false; ; ) {
    const askedAt = Date.now();
    let answer;
    try {
      answer = await ask(endpoint, file, options);
      return { ...answer, reply: await put(answer, file, options) };
    } catch (error) {
      // That a URL has expired may be hidden from us, but we know how long we have held it.
      const overdue = error.code === "AnswerHidden" && Date.now() - askedAt >= answer?.expires * 1000;
      if ((error.expired || overdue) && !renewed) {
        renewed = true;
      } else if (error.temporary && failures < retries) {
        onRetry?.(error);
        await pause(1000 * 2 ** failures++, options.signal);
      } else {
        throw error;
      }
    }
  }
}

/**
 * Ask the function for a URL: {method, url, headers, key, bucket, expires, expiresAt}.
 *
 * @param {string | URL} endpoint
 * @param {Blob} file
 * @param {object} [options]
 * @param {object} [options.fields] more of the request, or other: {key}, {metadata: {k: "v"}}, {headers: {}}
 * @param {string} [options.authorization] "Bearer ...", where the function's trigger checks one
 * @param {AbortSignal} [options.signal]
 * @param {number} [options.stallTimeout] milliseconds without an answer: the connection counts as lost
 */
export async function ask(endpoint, file, { fields = {}, authorization, signal, stallTimeout = 60_000 } = {}) {
  signal?.throwIfAborted();
  const address = new URL(endpoint, document.baseURI);
  const headers = { "Content-Type": "application/json", ...(authorization && { Authorization: authorization }) };
  const filename = "key" in fields ? undefined : file.name || undefined;
  const body = JSON.stringify({ filename, contentType: file.type || undefined, size: file.size, ...fields });

  const wait = patience(signal, stallTimeout);
  let response, answer;
  try {
    // Followed, a redirect would arrive as a GET, and without the body.
    response = await fetch(address, { method: "POST", headers, body, signal: wait.signal, redirect: "manual" });
    answer = await response.json().catch(() => null);
  } catch {
    response = null;
  } finally {
    wait.end();
  }
  signal?.throwIfAborted();
  if (wait.signal.aborted) {
    throw new UploadError(`No answer from ${address.host}.`, { code: "NetworkError", temporary: true });
  }
  if (!response) {
    const why = `Its CORS_ORIGINS must list ${location.origin}.`;
    throw await unanswered("The upload function", address, why, signal, stallTimeout);
  }

  // FC answers for a function that could not start with status 200: the status alone proves nothing.
  if (response.ok && typeof answer?.url === "string" && answer.headers instanceof Object) return answer;
  const message = answer?.detail ?? answer?.title ?? answer?.errorMessage;
  throw new UploadError(message ?? `${address} did not answer as the upload function does.`, {
    code: answer?.code ?? answer?.errorType ?? "UnknownAnswer",
    status: response.status,
    requestId: answer?.requestId ?? "",
    problem: answer ?? {},
    temporary: !answer?.code && PASSING.has(response.status), // the platform's own, not a refusal of ours
  });
}

/**
 * Send a file where the function's answer says, with exactly the headers it says. Gives the body of OSS's answer,
 * which is empty unless a callback is bound.
 *
 * @param {{method: string, url: string, headers: Object<string, string>}} answer
 * @param {Blob} file
 * @param {object} [options]
 * @param {(sent: number, size: number) => void} [options.onProgress] in bytes
 * @param {AbortSignal} [options.signal]
 * @param {number} [options.stallTimeout] milliseconds without progress: the connection counts as lost
 */
export async function put(answer, file, { onProgress, signal, stallTimeout = 60_000 } = {}) {
  const { status, body, xml, sent, stalled } = await transfer(answer, file, { onProgress, signal, stallTimeout });
  signal?.throwIfAborted();
  if (status === 200) return body;

  const { host, origin } = new URL(answer.url);
  if (status !== 0) {
    const [code, message, requestId, ec] = ["Code", "Message", "RequestId", "EC"].map(
      (name) => xml?.querySelector(name)?.textContent ?? "",
    );
    throw new UploadError(message || `${host} did not answer as OSS does.`, {
      code: code || "UnknownAnswer",
      status,
      requestId,
      temporary: PASSING.has(status),
      expired: status === 403 && (message.includes("has expired") || ec === "0002-00000236"),
    });
  }

  // A file that was changed or removed since it was chosen looks like a failing network. Reading it tells.
  await file.slice(0, 1).arrayBuffer().catch(() => {
    const message = "The file can no longer be read. If it was changed or moved, choose it again.";
    throw new UploadError(message, { code: "FileUnreadable" });
  });
  if (stalled || (sent > 0 && sent < file.size)) {
    throw new UploadError(`The connection to ${host} was lost.`, { code: "NetworkError", temporary: true });
  }
  const why = `Either the bucket's CORS rules do not allow this ${answer.method} from ${location.origin}, or OSS ` +
    "refused the upload: its refusals may come without CORS headers.";
  throw await unanswered("OSS", new URL(origin), why, signal, stallTimeout);
}

/**
 * One request; its end, however it comes, is a value: `status` is 0 without an answer that we may read.
 * By XMLHttpRequest, because `fetch` does not tell how far an upload has come.
 */
function transfer(answer, file, { onProgress, signal, stallTimeout }) {
  return new Promise((resolve) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    let sent = 0, stalled = false, timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => { stalled = true; abort(); }, stallTimeout);
    };

    xhr.upload.onprogress = (event) => {
      alive();
      sent = event.loaded;
      // Of an empty file a browser may tell 0 of 0, which no progress bar can show.
      if (sent > 0) onProgress?.(sent, file.size);
    };
    xhr.onloadend = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      const { status, responseText: body } = xhr;
      // Only a refusal is XML. Looked for in an empty body, it would be an error that the page's policy reports.
      resolve({ status, body, xml: status === 200 ? null : xhr.responseXML, sent, stalled });
    };
    signal?.addEventListener("abort", abort);

    xhr.open(answer.method, answer.url);
    for (const [name, value] of Object.entries(answer.headers)) xhr.setRequestHeader(name, value);
    alive();
    // A slice has no type. The file's own would become a Content-Type, also where none is signed.
    xhr.send(file.slice());
  });
}

/** Why there is no answer. A request that may read nothing tells a hidden answer from a server out of reach. */
async function unanswered(who, url, why, signal, stallTimeout) {
  const wait = patience(signal, stallTimeout);
  const question = { method: "HEAD", mode: "no-cors", signal: wait.signal };
  const reachable = await fetch(url, question).then(() => true, () => false);
  wait.end();
  signal?.throwIfAborted();
  return reachable
    ? new UploadError(`${who} answered, but the browser may not show it to this page. ${why}`, { code: "AnswerHidden" })
    : new UploadError(`No connection to ${url.host}.`, { code: "NetworkError", temporary: true });
}

/** A signal that is given when the caller's is, or after so many milliseconds; until `end`. */
function patience(signal, milliseconds) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, milliseconds);
  signal?.addEventListener("abort", abort);
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return { signal: controller.signal, end };
}

async function pause(milliseconds, signal) {
  signal?.throwIfAborted();
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
