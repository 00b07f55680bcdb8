/**
 * `fetch` with the access token, and with its proof where the login is bound to a key; one more attempt with a new token
 * where the service no longer takes the old one, or with a nonce where the service wants one in the proof. A redirect is
 * followed with a proof of its own.
 */
import type { AuthorizationHeaders, ResourceRequest, TokenOptions } from "../index.js";

type Authorize = (request: ResourceRequest, options?: TokenOptions) => Promise<AuthorizationHeaders>;

/** As many as `fetch` follows. */
const mostRedirects = 20;

export async function authorizedFetch(
  authorize: Authorize,
  input: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  const isFollowed = (init.redirect ?? (input instanceof Request ? input.redirect : "follow")) === "follow";
  let step: Step = { input, init };
  for (let redirects = 0; ; redirects += 1) {
    const { answer, isBound } = await exchange(authorize, step);
    const next = isBound && isFollowed ? afterRedirect(answer, step) : undefined;
    if (next === undefined) {
      return answer;
    }
    await answer.body?.cancel();
    if (redirects === mostRedirects) {
      throw new TypeError(`${urlOf(step.input).origin} redirected more than ${mostRedirects} times.`);
    }
    if (next.input.origin !== urlOf(step.input).origin) {
      return fetch(next.input, next.init);
    }
    step = next;
  }
}

/** One request; the next one where the service redirects. */
interface Step {
  input: string | URL | Request;
  init: RequestInit;
}

async function exchange(authorize: Authorize, { input, init }: Step): Promise<{ answer: Response; isBound: boolean }> {
  const { href: url, origin } = protectedUrl(urlOf(input));
  const method = methodOf(input, init);
  const signal = signalOf(input, init);
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
    // RFC 9449 section 4.2: a proof is for one URI, so `fetch` may not take it along to another.
    const isManual = authorization.DPoP !== undefined && init.redirect !== "error";
    const answer = await fetch(input, { ...init, headers, ...(isManual && { redirect: "manual" }) });
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
  const isBound = first.DPoP !== undefined;
  // Another token would not help against a refused proof.
  if (answer.status !== 401 || proofRefusal(answer) !== undefined) {
    return { answer, isBound };
  }
  const rejectedToken = tokenOf(first);
  // Also where the request cannot be sent again: the next one shall find a token that is good.
  const second = await authorization({ rejectedToken }).catch(async (error) => {
    await answer.body?.cancel();
    throw error;
  });
  if (tokenOf(second) === rejectedToken || !isReplayable(input, init)) {
    return { answer, isBound };
  }
  await answer.body?.cancel();
  return { answer: await send(second), isBound: second.DPoP !== undefined };
}

/** The request that a redirect asks for, as `fetch` makes it; nothing where there is no redirect that can be followed. */
function afterRedirect(answer: Response, { input, init }: Step): { input: URL; init: RequestInit } | undefined {
  const location = answer.headers.get("location");
  if (![301, 302, 303, 307, 308].includes(answer.status) || location === null) {
    return undefined;
  }
  const from = urlOf(input);
  const to = new URL(location, from);
  const method = methodOf(input, init);
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  if (to.origin !== from.origin) {
    // Neither token nor proof goes along: another origin could use the one and learn from the other.
    for (const name of ["authorization", "cookie", "host"]) {
      headers.delete(name);
    }
  }
  const signal = signalOf(input, init) ?? null;
  // RFC 9110 sections 15.4.2 to 15.4.4: after these, clients ask with GET.
  const isGet =
    answer.status === 303 ? !/^(GET|HEAD)$/i.test(method) : answer.status < 303 && method.toUpperCase() === "POST";
  if (isGet) {
    for (const name of ["encoding", "language", "length", "location", "type"]) {
      headers.delete(`content-${name}`);
    }
    const { body: _, ...others } = init;
    return { input: to, init: { ...others, method: "GET", headers, signal } };
  }
  return isReplayable(input, init) ? { input: to, init: { ...init, method, headers, signal } } : undefined;
}

function urlOf(input: string | URL | Request): URL {
  return new URL(input instanceof Request ? input.url : input);
}

function methodOf(input: string | URL | Request, init: RequestInit): string {
  return init.method ?? (input instanceof Request ? input.method : "GET");
}

function signalOf(input: string | URL | Request, init: RequestInit): AbortSignal | undefined {
  return init.signal ?? (input instanceof Request ? input.signal : undefined) ?? undefined;
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
function protectedUrl(url: URL): URL {
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
