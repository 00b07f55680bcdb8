/** `fetch` with a bearer token, and one more attempt with a new token where the service no longer takes the old one. */
import type { TokenOptions } from "../index.js";

export async function authorizedFetch(
  token: (options?: TokenOptions) => Promise<string>,
  input: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  assertProtected(input instanceof Request ? input.url : input);
  const signal = init.signal ?? (input instanceof Request ? input.signal : undefined) ?? undefined;
  const send = (bearer: string) => {
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
    headers.set("authorization", `Bearer ${bearer}`);
    return fetch(input, { ...init, headers });
  };

  const first = await token(signal === undefined ? undefined : { signal });
  const answer = await send(first);
  if (answer.status !== 401) {
    return answer;
  }
  // Also where the request cannot be sent again: the next one shall find a token that is good.
  const second = await token({ rejectedToken: first, ...(signal !== undefined && { signal }) }).catch(async (error) => {
    await answer.body?.cancel();
    throw error;
  });
  if (second === first || !isReplayable(input, init)) {
    return answer;
  }
  await answer.body?.cancel();
  return send(second);
}

/** A token is a secret: it travels encrypted, or does not leave the machine. */
function assertProtected(url: string | URL): void {
  const { protocol, hostname, origin } = new URL(url);
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
  if (protocol !== "https:" && !(protocol === "http:" && isLoopback)) {
    throw new TypeError(`An access token goes to https URLs only (http on loopback), not to ${origin}.`);
  }
}

function isReplayable(input: string | URL | Request, init: RequestInit): boolean {
  const body = init.body ?? undefined;
  if (body === undefined) {
    return !(input instanceof Request) || input.body === null;
  }
  return (
    typeof body === "string" ||
    body instanceof URLSearchParams ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof Blob ||
    body instanceof FormData
  );
}
