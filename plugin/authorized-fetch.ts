/**
 * `fetch` with the access token, and with its proof where the login is bound to a key; one more attempt with a new token
 * where the service no longer takes the old one, or with a nonce where the service wants one in the proof.
 */
import type { AuthorizationHeaders, ResourceRequest, TokenOptions } from "../index.js";

type Authorize = (request: ResourceRequest, options?: TokenOptions) => Promise<AuthorizationHeaders>;

export async function authorizedFetch(
  authorize: Authorize,
  input: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  const { href: url, origin } = protectedUrl(input instanceof Request ? input.url : input);
  const method = init.method ?? (input instanceof Request ? input.method : "GET");
  const signal = init.signal ?? (input instanceof Request ? input.signal : undefined) ?? undefined;
  const authorization = (options: TokenOptions = {}) => {
    const nonce = nonces.get(origin);
    return authorize(
      { method, url, ...(nonce !== undefined && { nonce }) },
      signal === undefined && options.rejectedToken === undefined
        ? undefined
        : { ...options, ...(signal !== undefined && { signal }) },
    );
  };
  const send = async (authorization: AuthorizationHeaders) => {
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
    for (const [name, value] of Object.entries(authorization)) {
      headers.set(name, value);
    }
    const answer = await fetch(input, { ...init, headers });
    // RFC 9449 section 8.2: the new nonce is for the next request and all that follow, until there is another.
    const nonce = answer.headers.get("dpop-nonce");
    if (nonce !== null && authorization.DPoP !== undefined) {
      nonces.set(origin, nonce);
    }
    return answer;
  };

  let first = await authorization();
  let answer = await send(first);
  if (proofRefusal(answer) === "use_dpop_nonce" && answer.headers.has("dpop-nonce") && isReplayable(input, init)) {
    await answer.body?.cancel();
    first = await authorization();
    answer = await send(first);
  }
  // Another token would not mend a proof.
  if (answer.status !== 401 || proofRefusal(answer) !== undefined) {
    return answer;
  }
  const rejectedToken = tokenOf(first);
  // Also where the request cannot be sent again: the next one shall find a token that is good.
  const second = await authorization({ rejectedToken }).catch(async (error) => {
    await answer.body?.cancel();
    throw error;
  });
  if (tokenOf(second) === rejectedToken || !isReplayable(input, init)) {
    return answer;
  }
  await answer.body?.cancel();
  return send(second);
}

/** The last nonce of each service, by origin: none is good anywhere else (RFC 9449 section 9). */
const nonces = new Map<string, string>();

/** Why the service does not take the proof, if it is that (RFC 9449 section 7.1). */
function proofRefusal(answer: Response): string | undefined {
  const challenge = answer.status === 401 ? answer.headers.get("www-authenticate") : undefined;
  return /\bDPoP\b.*\berror="?(?<error>use_dpop_nonce|invalid_dpop_proof)\b/i.exec(challenge ?? "")?.groups?.error;
}

function tokenOf({ Authorization }: AuthorizationHeaders): string {
  return Authorization.slice(Authorization.indexOf(" ") + 1);
}

/** A token is a secret: it travels encrypted, or does not leave the machine. */
function protectedUrl(text: string | URL): URL {
  const url = new URL(text);
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback)) {
    throw new TypeError(`An access token goes to https URLs only (http on loopback), not to ${url.origin}.`);
  }
  return url;
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
