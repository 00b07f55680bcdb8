/** Sends a request once more. */

/** The most bytes of the body of a `Request` that are kept for it. */
const mostKept = 1024 * 1024;

/** Also one of another copy of `fetch`, which no `instanceof` knows. */
export function isRequest(input: unknown): input is Request {
  return typeof input === "object" && input !== null && "url" in input;
}

/**
 * Call it before the request is sent. `again` gives what takes the place of the body the second time; undefined where
 * it can be read only once. `stop` says that nothing will be sent again.
 */
export function repetition(input: string | URL | Request, init: RequestInit) {
  const body: unknown = init.body ?? undefined;
  let whole: RequestInit | undefined;
  if (body !== undefined || !isRequest(input) || !input.body) {
    const { getReader, pipe } = (body ?? {}) as { getReader?: unknown; pipe?: unknown };
    const isOnce = getReader ?? pipe ?? (typeof body === "object" && body !== null && Symbol.asyncIterator in body);
    whole = isOnce ? undefined : {};
    return { again: () => whole, stop: () => {} };
  }
  const reader = input.bodyUsed ? undefined : input.clone().body?.getReader?.();
  // Read while it is sent: a stream may go on for as long as its answer does.
  const read = async () => {
    const chunks: Uint8Array[] = [];
    for (let left = mostKept; reader !== undefined; ) {
      const { done, value } = await reader.read();
      if (done) {
        whole = { body: Buffer.concat(chunks) };
        return;
      }
      chunks.push(value);
      left -= value.length;
      if (left < 0) {
        return reader.cancel();
      }
    }
  };
  read().catch(() => {});
  return { again: () => whole, stop: () => void reader?.cancel().catch(() => {}) };
}
