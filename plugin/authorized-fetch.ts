/**
 * `fetch` with the access token, and with its proof where the login is bound to a key; one more attempt with a new
 * token where the service no longer takes the old one, or with a nonce where the service wants one in the proof. A
 * redirect is followed with a proof of its own. The token goes to the origins of the login alone.
 */
import { AuthError, type AuthorizationHeaders, type ResourceRequest, type TokenOptions } from "../index.js";
import { challengesOf } from "./challenges.ts";
import { invalidConfig } from "./invalid-config.ts";
import type { Origins } from "./origins.ts";
import type { Refusals } from "./refusals.ts";
import { isRequest, repetition } from "./repetition.ts";

/** The account that owns the token. */
export interface Sender {
  authorize(request: ResourceRequest, options?: TokenOptions): Promise<AuthorizationHeaders>;
  /** The error as the caller is to see it. */
  explained(error: unknown): unknown;
  origins: Origins;
  refusals: Refusals;
  /** Whether an answer that is no 401 refuses the token. */
  isRejected?: ((answer: Response) => boolean | Promise<boolean>) | undefined;
}

/** The number of redirects that `fetch` follows. */
const mostRedirects = 20;

export async function authorizedFetch(
  account: Sender,
  input: string | URL | Request,
  given?: RequestInit | null,
  target?: Pick<TokenOptions, "resource" | "scopes">,
) {
  const sender: Sender =
    target === undefined
      ? account
      : { ...account, authorize: (request, options) => account.authorize(request, { ...options, ...target }) };
  const init = given ?? {};
  const url = urlOf(input);
  if (!sender.origins.take(url)) {
    return fetch(input, init);
  }
  const step = { input, url, init, headers: pairs(init.headers ?? (isRequest(input) ? input.headers : undefined)) };
  try {
    const first = await authorized(sender, step);
    if (first.DPoP !== undefined || sender.isRejected !== undefined || isRequest(input)) {
      return await followed(sender, step, first);
    }
    const answer = await send(step, first);
    if (answer.status === 401 || answer.status === 403) {
      return await followed(sender, step, first, answer);
    }
    // Nearly every request ends here.
    sender.refusals.forget(url);
    return answer;
  } catch (error) {
    const signal = signalOf(input, init);
    // Like `fetch`, where the signal fires during the wait for a token.
    throw signal?.aborted && (error as { code?: unknown } | null)?.code === "ABORTED"
      ? signal.reason
      : sender.explained(error);
  }
}

/** The same, whatever the service says: again with another token, elsewhere after a redirect. */
async function followed(sender: Sender, from: Step, first: AuthorizationHeaders, firstAnswer?: Response) {
  const { input, init } = from;
  const isFollowed = (init.redirect ?? (isRequest(input) ? input.redirect : "follow")) === "follow";
  let step = from;
  let exchanged = await exchange(sender, step, first, firstAnswer);
  for (let redirects = 0; ; redirects += 1) {
    const { answer, isBound, again } = exchanged;
    if (answer.status === 403) {
      await checkScope(sender, step, answer);
    }
    const next = isBound && isFollowed ? afterRedirect(answer, step, again) : undefined;
    if (next === undefined) {
      return answer;
    }
    discard(answer);
    if (redirects === mostRedirects) {
      throw new TypeError(`${step.url.origin} redirected more than ${mostRedirects} times.`);
    }
    if (next.url.origin !== step.url.origin) {
      return await fetch(next.input, { ...next.init, headers: next.headers });
    }
    step = next;
    exchanged = await exchange(sender, step, await authorized(sender, step));
  }
}

type Pairs = [name: string, value: string][];

/** One request; the next one where the service redirects. */
interface Step {
  input: string | URL | Request;
  url: URL;
  init: RequestInit;
  /** The caller's headers, read once: an iterator is empty the second time. */
  headers: Pairs;
}

/** The headers for a request; the token and the nonce are those of now. */
function authorized(sender: Sender, { input, url, init }: Step, options?: TokenOptions) {
  const nonce = nonces.get(url.origin);
  const request: ResourceRequest = { method: methodOf(input, init), url: url.href };
  if (nonce !== undefined) {
    request.nonce = nonce;
  }
  const signal = signalOf(input, init);
  if (signal === undefined) {
    return sender.authorize(request, options);
  }
  return sender.authorize(request, options === undefined ? { signal } : { ...options, signal });
}

async function send({ input, url, init, headers }: Step, authorization: AuthorizationHeaders, body?: RequestInit) {
  // Not `{ ...init, headers }`: for V8 (Node 18, 20) each such object is of a class of its own, and dear to read.
  const sent: RequestInit = body === undefined ? { ...init } : { ...init, ...body };
  sent.headers = headers.length === 0 ? { ...authorization } : headers.concat(Object.entries(authorization));
  if (authorization.DPoP === undefined) {
    return fetch(input, sent);
  }
  // RFC 9449 section 4.2: a proof is for one URI, so `fetch` may not take it along to another.
  if (init.redirect !== "error") {
    sent.redirect = "manual";
  }
  const answer = await fetch(input, sent);
  // RFC 9449 section 8.2: the new nonce is for the next request and all that follow, until there is another.
  const nonce = answer.headers?.get("dpop-nonce");
  if (nonce && isFrom(url, answer)) {
    nonces.set(url.origin, nonce);
  }
  return answer;
}

/** `earlier`: the answer to the request with those headers, where it was sent already. */
async function exchange(sender: Sender, step: Step, authorization: AuthorizationHeaders, earlier?: Response) {
  const { input, url, init } = step;
  const { refusals } = sender;
  const { origin } = url;
  /** The token's refusal, not that of another origin, to which `fetch` took none along. */
  const isRefused = async (answer: Response) => {
    const isRefusal =
      answer.status === 401 || (sender.isRejected !== undefined && (await isRejected(answer, sender.isRejected)));
    if (!isRefusal) {
      refusals.forget(url);
    }
    return isRefusal && isFrom(url, answer);
  };

  let first = authorization;
  const { again, stop } = repetition(input, init);
  try {
    let answer = earlier ?? (await send(step, first));
    if (proofRefusal(answer) === "use_dpop_nonce" && answer.headers.has("dpop-nonce") && again() !== undefined) {
      discard(answer);
      first = await authorized(sender, step);
      answer = await send(step, first, again());
    }
    const isBound = first.DPoP !== undefined;
    if (isBound && isFrom(url, answer) && takesNoProofs(answer, origin)) {
      discard(answer);
      throw takesNoBoundTokens(origin);
    }
    if (isBound && answer.ok) {
      takesProofs.add(origin);
    }
    const rejectedToken = tokenOf(first);
    // Another token would not help against a refused proof, nor where new ones are refused.
    if (!(await isRefused(answer)) || proofRefusal(answer) !== undefined || refusals.has(url)) {
      return { answer, isBound, again };
    }
    // Also where the request cannot be sent again: the next one shall find a token that is good.
    const wasAccepted = refusals.helpful === rejectedToken;
    const second = await authorized(sender, step, { rejectedToken, ...(wasAccepted && { wasAccepted }) }).catch(
      (error) => {
        discard(answer);
        throw error;
      },
    );
    const token = tokenOf(second);
    if (token === rejectedToken || again() === undefined) {
      return { answer, isBound, again };
    }
    discard(answer);
    answer = await send(step, second, again());
    if (await isRefused(answer)) {
      refusals.note(url);
    } else {
      refusals.helpful = token;
    }
    return { answer, isBound: second.DPoP !== undefined, again };
  } finally {
    stop();
  }
}

/**
 * The request that a redirect asks for, as `fetch` makes it; nothing where there is no redirect that can be followed.
 */
function afterRedirect(
  answer: Response,
  { input, url: from, init, headers: given }: Step,
  again: () => RequestInit | undefined,
) {
  const location = answer.headers?.get("location") ?? null;
  if (![301, 302, 303, 307, 308].includes(answer.status) || location === null) {
    return undefined;
  }
  const to = new URL(location, from);
  const method = methodOf(input, init);
  // Neither token nor proof goes along to another origin, which could use the one and learn from the other.
  const left = to.origin === from.origin ? [] : ["cookie", "host"];
  const signal = signalOf(input, init) ?? null;
  // RFC 9110 sections 15.4.2 to 15.4.4: after these, clients ask with GET.
  const isGet =
    answer.status === 303 ? !/^(GET|HEAD)$/i.test(method) : answer.status < 303 && method.toUpperCase() === "POST";
  if (isGet) {
    left.push(...["encoding", "language", "length", "location", "type"].map((name) => `content-${name}`));
  }
  const headers = given.filter(([name]) => !left.includes(name.toLowerCase()));
  if (isGet) {
    const { body: _, ...others } = init;
    return { input: to, url: to, init: { ...others, method: "GET", signal }, headers };
  }
  const body = again();
  return body && { input: to, url: to, init: { ...init, ...body, method, signal }, headers };
}

function urlOf(input: string | URL | Request): URL {
  const given = isRequest(input) ? input.url : input;
  try {
    return new URL(given);
  } catch {
    // The text after a question mark may be a secret.
    const [path] = String(given).split(/[?#]/);
    throw invalidConfig(
      `auth.fetch takes a whole URL, such as https://api.example.com/notes; it got ${JSON.stringify(path)}.`,
    );
  }
}

function methodOf(input: string | URL | Request, init: RequestInit): string {
  return init.method ?? (isRequest(input) ? input.method : "GET");
}

function signalOf(input: string | URL | Request, init: RequestInit): AbortSignal | undefined {
  return init.signal ?? (isRequest(input) ? input.signal : undefined) ?? undefined;
}

/** Without those that are set here. */
function pairs(headers: NonNullable<RequestInit["headers"]> | undefined): Pairs {
  if (headers === undefined) {
    return [];
  }
  const all = Symbol.iterator in headers ? (headers as Iterable<[string, string]>) : Object.entries(headers);
  const others: Pairs = [];
  for (const pair of all as Pairs) {
    // `fetch` takes any iterable as a pair, and anything that has a text as a name.
    const [given] = pair;
    const name = `${given}`.toLowerCase();
    if (name !== "authorization" && name !== "dpop") {
      others.push(pair);
    }
  }
  return others;
}

/** The last nonce of each service, by origin: none is good anywhere else (RFC 9449 section 9). */
const nonces = new Map<string, string>();

/** Why the service does not take the proof, if it is that (RFC 9449 section 7.1). */
function proofRefusal(answer: Response): string | undefined {
  const challenges = answer.status === 401 ? challengesOf(answer) : [];
  const error = challenges.find(({ scheme }) => scheme === "dpop")?.parameters.get("error");
  return error === "use_dpop_nonce" || error === "invalid_dpop_proof" ? error : undefined;
}

/** The origins that have accepted a bound token: they take proofs, even if a later challenge does not say so. */
const takesProofs = new Set<string>();

/** Whether the service knows no bound tokens: RFC 9449 section 7.1 has its challenges say so. */
function takesNoProofs(answer: Response, origin: string): boolean {
  const challenges = answer.status === 401 && !takesProofs.has(origin) ? challengesOf(answer) : [];
  return challenges.some(({ scheme }) => scheme === "bearer") && !challenges.some(({ scheme }) => scheme === "dpop");
}

function takesNoBoundTokens(origin: string): AuthError {
  const message = `${origin} takes no tokens that are bound to a key (its challenge is not DPoP): leave \`dpop\` out and log in again.`;
  // The constructor is not part of the API.
  const Made = AuthError as unknown as new (details: object) => AuthError;
  return new Made({ code: "INVALID_CONFIG", message, retryable: false, needsLogin: false });
}

/**
 * Rejects with what to do where the token lacks a scope; not where the login has all of them, so that no other would
 * help.
 */
async function checkScope(sender: Sender, { input, url, init }: Step, answer: Response): Promise<void> {
  const requiredScope = isFrom(url, answer) ? missingScope(answer) : undefined;
  if (requiredScope === undefined) {
    return;
  }
  await sender.authorize({ method: methodOf(input, init), url: url.href }, { requiredScope }).catch((error) => {
    discard(answer);
    throw error;
  });
}

/** The scopes that the token lacks (RFC 6750 section 3.1), as the service names them. */
function missingScope(answer: Response): string | undefined {
  const challenges = answer.status === 403 ? challengesOf(answer) : [];
  const refusal = challenges.find(
    ({ scheme, parameters }) => ["bearer", "dpop"].includes(scheme) && parameters.get("error") === "insufficient_scope",
  );
  return refusal && (refusal.parameters.get("scope") ?? "");
}

/** A mock's answer says nothing about where it comes from. */
function isFrom(asked: URL, { url }: Response): boolean {
  return !url || url === asked.href || new URL(url).origin === asked.origin;
}

async function isRejected(answer: Response, ask: NonNullable<Sender["isRejected"]>): Promise<boolean> {
  const copy = answer.clone?.() ?? answer;
  try {
    return (await ask(copy)) === true;
  } catch {
    // It cannot be determined, for example where the answer breaks off; the caller will see that as well.
    return false;
  } finally {
    discard(copy);
  }
}

/** Gives up a body, so that its connection is free. Whether that works decides nothing. */
async function discard({ body }: Pick<Response, "body">): Promise<void> {
  try {
    await body?.cancel?.();
    // The body of node-fetch is a stream of Node's.
    (body as { destroy?(): void } | null)?.destroy?.();
  } catch {
    // The body broke off, or is being read.
  }
}

/** The token in an `Authorization` header. */
export function tokenOf({ Authorization }: AuthorizationHeaders): string {
  return Authorization.slice(Authorization.indexOf(" ") + 1);
}
