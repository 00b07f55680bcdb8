/** The kit's `fetch` and token as SDKs use them: where the token goes, what is sent again, what a refusal means. */
import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { test } from "node:test";
import { AuthError, getValidAccessToken, importToken, status } from "../index.js";
import { loginNeeded, type PluginAuthOptions, pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { rejection } from "./support/rejection.ts";
import { type StubHandler, type StubRequest, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const hour = 3_600_000;

/** A login at a token endpoint that rotates; `ended` says which access tokens a service refuses. */
async function plugin(t: Lifetime, options: Partial<PluginAuthOptions> = {}) {
  const ended = new Set<string>();
  const state = { isRefused: false, given: 1 };
  const token: StubHandler = () => {
    if (state.isRefused) {
      return { status: 400, body: { error: "invalid_grant" } };
    }
    state.given += 1;
    const [access_token, refresh_token] = [`a${state.given}`, `r${state.given}`];
    return { status: 200, body: { access_token, refresh_token, token_type: "Bearer", expires_in: 3600 } };
  };
  const server = await StubServer.start(t, { routes: { "/token": token } });
  const { stateDir } = TempHome.create(t);
  const at = { tokenEndpoint: `${server.origin}/token`, clientId: "public" };
  const raw = { pluginId: "my-memory", stateDir, ...at };
  await importToken(raw, { access: "a1", refresh: "r1", expires: Date.now() + hour });
  const host = new FakeHost({ stateDir });
  const auth = pluginAuth(host.api, { ...at, ...options });
  const route: StubHandler = (request) => {
    const bearer = tokenIn(request);
    return { status: bearer === undefined || ended.has(bearer) ? 401 : 200, body: { ok: true } };
  };
  const service = (routes: Record<string, StubHandler> = {}) =>
    StubServer.start(t, { routes: { "/": route, "/good": route, ...routes } });
  return { auth, host, raw, server, service, ended, state, refreshes: () => server.requestsOf("/token").length };
}

function tokenIn({ headers }: StubRequest): string | undefined {
  return headers.authorization?.replace(/^Bearer /, "");
}

const always401: StubHandler = () => ({ status: 401, body: { sorry: true } });

/** Another `fetch` in place of the global one. */
function withFetch(t: Lifetime, fetch: (input: string | URL | Request, init?: RequestInit) => unknown): void {
  const { fetch: own } = globalThis;
  globalThis.fetch = fetch as typeof own;
  t.after(() => {
    globalThis.fetch = own;
  });
}

test("a refused token that cannot be replaced is not handed out again, nor sent", async (t) => {
  const { auth, raw, service, ended, state, refreshes } = await plugin(t);
  const api = await service();
  ended.add("a1");
  state.isRefused = true;
  for (const call of [() => auth.fetch(api.origin), () => auth.getValidAccessToken(), () => auth.fetch(api.origin)]) {
    const { message } = await rejection(call(), "LOGIN_REQUIRED");
    assert.match(message, /^My Memory needs a login: run `openclaw my-memory login`/);
  }
  await rejection(getValidAccessToken({ ...raw }), "LOGIN_REQUIRED");
  assert.equal(api.requests.length, 1);
  assert.equal(refreshes(), 1);
  assert.equal((await auth.status()).state, "login_required");
});

test("the token goes to the origin of the first request alone, despite redirects and links", async (t) => {
  const { auth, host, service, refreshes } = await plugin(t);
  const others = [await service(), await service({ "/refuses": always401 })] as const;
  const api = await service({
    "/away": () => ({ status: 302, headers: { location: `${others[1].origin}/good` } }),
    "/refused": () => ({ status: 307, headers: { location: `${others[1].origin}/refuses` } }),
  });
  assert.deepEqual((await auth.status()).origins, []);
  await auth.fetch(api.origin);
  assert.deepEqual((await auth.status()).origins, [api.origin]);
  assert.deepEqual((await host.call("my-memory.status")).origins, [api.origin]);

  assert.equal((await auth.fetch(`${others[0].origin}/good`, { method: "PUT", body: "upload" })).status, 401);
  assert.equal((await auth.fetch(new Request(`${others[1].origin}/good`))).status, 401);
  assert.equal((await auth.fetch(`${api.origin}/away`)).status, 401);
  // Our token was not refused: it was not sent there.
  assert.equal((await auth.fetch(`${api.origin}/refused`, { method: "POST", body: "x" })).status, 401);
  assert.equal(refreshes(), 0);
  const seen = others.flatMap(({ requests }) => requests);
  assert.equal(seen.length, 4);
  for (const { headers } of seen) {
    assert.equal(headers.authorization, undefined);
    assert.equal(JSON.stringify(headers).includes("a1"), false);
  }
});

test("origins: as the config names them, subdomains only by a wildcard; else those of resource", async (t) => {
  const origins = ["https://api.example.com", "files.example.com:8443", "*.example.org"];
  const { auth, raw } = await plugin(t, { origins });
  const sent: string[] = [];
  withFetch(t, (input, init) => {
    sent.push(`${new Headers(init?.headers).get("authorization") ?? "none"} ${input}`);
    return Promise.resolve(new Response());
  });
  const urls = [
    "https://api.example.com/a",
    "https://files.example.com:8443/b",
    "https://deep.er.example.org/c",
    "https://example.org/no",
    "https://files.example.com/no",
    "https://sub.api.example.com/no",
    "https://api.example.com.evil.net/no",
    "https://evilexample.org/no",
    "http://deep.example.org/no",
  ];
  for (const url of urls) {
    await auth.fetch(url);
  }
  assert.deepEqual(
    sent,
    urls.map((url, index) => `${index < 3 ? "Bearer a1" : "none"} ${url}`),
  );
  assert.deepEqual((await auth.status()).origins, origins);

  const resource = ["https://mcp.example.com/mcp", "api://no-url"];
  const other = pluginAuth(new FakeHost({ stateDir: raw.stateDir }).api, { ...raw, resource });
  assert.deepEqual((await other.status()).origins, ["https://mcp.example.com"]);
  for (const wrong of ["*", "*.com", "https://api.example.com/path", "ftp://x.example.com", ""]) {
    assert.throws(
      () => pluginAuth(new FakeHost({ stateDir: null }).api, { origins: [wrong] }),
      /`origins` holds ".*": give https:/,
    );
  }
});

test("a 401 whose body breaks off is a 401", {
  skip: process.platform === "win32" ? "there a connection that breaks off is reset, answer and all" : false,
}, async (t) => {
  const { auth, service, state } = await plugin(t);
  const api = await service({
    "/broken": (request) =>
      tokenIn(request) === "a2"
        ? { status: 200, body: { ok: true } }
        : { bytes: "HTTP/1.1 401 No\r\ncontent-length: 1000\r\n\r\n{", ending: "reset" },
  });
  assert.equal((await auth.fetch(`${api.origin}/broken`)).status, 200);
  await auth.reject("a2");
  state.isRefused = true;
  await rejection(auth.fetch(`${api.origin}/broken`), "LOGIN_REQUIRED");
});

test("an endpoint that refuses every token does not use up the refreshes of a token that has ended", async (t) => {
  const { auth, service, ended, refreshes } = await plugin(t);
  const paths = ["/admin", "/admin/", "/admin/users/1", "/admin?page=2"];
  const api = await service(Object.fromEntries(paths.map((path) => [path.replace(/\?.*/, ""), always401])));
  assert.equal((await auth.fetch(`${api.origin}/good`)).status, 200);
  for (const path of [...paths, ...paths]) {
    assert.equal((await auth.fetch(api.origin + path)).status, 401);
  }
  assert.equal(refreshes(), 1);
  // One after the other really ends; all are replaced, though it is more than three in a minute.
  for (const token of ["a2", "a3", "a4", "a5", "a6"]) {
    ended.add(token);
    assert.equal((await auth.fetch(`${api.origin}/good`)).status, 200);
  }
  assert.equal(refreshes(), 6);
});

test("a place that accepted a token since is looked at with new eyes", async (t) => {
  const { auth, service, ended, refreshes } = await plugin(t);
  const api = await service();
  for (const token of ["a1", "a2"]) {
    ended.add(token);
  }
  assert.equal((await auth.fetch(`${api.origin}/good`)).status, 401);
  assert.equal(refreshes(), 1);
  ended.delete("a2");
  assert.equal((await auth.fetch(`${api.origin}/good`)).status, 200);
  ended.add("a2");
  assert.equal((await auth.fetch(`${api.origin}/good`)).status, 200);
  assert.equal(refreshes(), 2);
});

test("the body of a Request is sent again up to 1 MiB; one that is longer goes out once, whole", async (t) => {
  const { auth, service, ended } = await plugin(t);
  const api = await service();
  const form = new FormData();
  form.set("file", new Blob(["in a form"]), "name.txt");
  const bodies: [body: NonNullable<RequestInit["body"]>, size: number][] = [
    ["text", 4],
    [new Uint8Array(1024 * 1024), 1024 * 1024],
    [form, -1],
  ];
  let turn = 0;
  for (const [body, size] of bodies) {
    turn += 1;
    ended.add(`a${turn}`);
    const answer = await auth.fetch(new Request(api.origin, { method: "POST", body, headers: { "x-own": "kept" } }));
    assert.equal(answer.status, 200);
    const [first, second] = api.requests.splice(0);
    assert.equal(first?.body, second?.body);
    assert.ok(size === -1 || second?.body.length === size);
    assert.deepEqual(
      [second?.headers["content-type"], second?.headers["x-own"]],
      [first?.headers["content-type"], "kept"],
    );
  }
  ended.add("a4");
  const long = new Request(api.origin, { method: "POST", body: "x".repeat(1024 * 1024 + 1) });
  assert.equal((await auth.fetch(long)).status, 401);
  assert.deepEqual(
    api.requests.map(({ body }) => body.length),
    [1024 * 1024 + 1],
  );
  assert.equal((await auth.fetch(api.origin)).status, 200);
});

test("a signal that fires while a refresh is waited for rejects as fetch does", async (t) => {
  const { auth, server, service, ended } = await plugin(t);
  const api = await service();
  server.route("/token", "stall");
  ended.add("a1");
  const reason = new Error("enough");
  const stop = new AbortController();
  server.request("/token").then(() => stop.abort(reason));
  await assert.rejects(auth.fetch(api.origin, { signal: stop.signal }), (error) => error === reason);
  await assert.rejects(auth.fetch(new Request(api.origin, { signal: stop.signal })), (error) => error === reason);
  const aborted = AbortSignal.abort();
  await assert.rejects(auth.fetch(api.origin, { signal: aborted }), { name: "AbortError" });
  const late = auth.fetch(api.origin, { signal: AbortSignal.timeout(50) });
  await assert.rejects(late, { name: "TimeoutError" });
});

test("a request that the service takes costs a few promises, no Headers, and no listener on its signal", async (t) => {
  const { auth } = await plugin(t);
  const answer = Promise.resolve(new Response("ok"));
  withFetch(t, () => answer);
  const { signal } = new AbortController();
  const listened = t.mock.method(signal, "addEventListener");
  const { Headers: own } = globalThis;
  const made = t.mock.fn();
  globalThis.Headers = class extends own {
    constructor(init?: ConstructorParameters<typeof own>[0]) {
      super(init);
      made();
    }
  };
  t.after(() => {
    globalThis.Headers = own;
  });
  const ask = () => auth.fetch("https://api.example.com/", { headers: { accept: "application/json" }, signal });
  await ask();
  let promises = 0;
  const hook = createHook({
    init(_id, type) {
      promises += type === "PROMISE" ? 1 : 0;
    },
  }).enable();
  t.after(() => hook.disable());
  for (let call = 0; call < 10; call += 1) await ask();
  hook.disable();
  assert.deepEqual([made.mock.callCount(), listened.mock.callCount()], [0, 0]);
  assert.ok(promises <= 100, `${promises} promises for 10 calls`);
});

test("mocks that are no whole answers, null, iterators and other packages' bodies", async (t) => {
  const { auth, ended } = await plugin(t);
  const sent: { token: string | null; own: string | null; body: unknown }[] = [];
  withFetch(t, (_input, init) => {
    const headers = new Headers(init?.headers);
    const token = headers.get("authorization");
    sent.push({ token, own: headers.get("x-own"), body: init?.body });
    const status = ended.has(token?.slice(7) ?? "") ? 401 : 200;
    return Promise.resolve({ ok: status === 200, status, json: async () => ({ status }) });
  });
  const url = "https://api.example.com/";
  assert.deepEqual(await (await auth.fetch(url, null)).json(), { status: 200 });
  ended.add("a1");
  const headers = new Map([["x-own", "kept"]]).entries() as unknown as Headers;
  assert.equal((await auth.fetch(url, { headers })).status, 200);
  assert.deepEqual(
    sent.splice(0).map(({ token, own }) => [token, own]),
    [
      ["Bearer a1", null],
      ["Bearer a1", "kept"],
      ["Bearer a2", "kept"],
    ],
  );
  ended.add("a2");
  // Like those of formdata-node: not this realm's FormData.
  const form = { get: () => "x", append() {}, [Symbol.toStringTag]: "FormData" };
  assert.equal((await auth.fetch(url, { method: "POST", body: form as unknown as FormData })).status, 200);
  assert.deepEqual(
    sent.splice(0).map(({ body }) => body),
    [form, form],
  );
  ended.add("a3");
  async function* once() {
    yield "x";
  }
  assert.equal((await auth.fetch(url, { method: "POST", body: once() as unknown as string })).status, 401);
  assert.equal(sent.length, 1);
});

test("getToken gives token and end together; reject has it replaced, or says later that it cannot be", async (t) => {
  const { auth, state, refreshes } = await plugin(t);
  const first = await auth.getToken();
  assert.equal(first.token, "a1");
  assert.equal(first.expiresAt, (await auth.status()).expiresAt);
  await auth.reject("a1");
  const second = await auth.getToken();
  assert.equal(second.token, "a2");
  assert.ok((second.expiresAt ?? 0) > Date.now());
  // Late news of a token that was replaced already.
  await auth.reject("a1");
  assert.equal((await auth.account("default").getToken()).token, "a2");
  assert.equal(refreshes(), 1);
  state.isRefused = true;
  await auth.reject("a2");
  await rejection(auth.getToken(), "LOGIN_REQUIRED");
});

test("isRejected: a service that says 200 with an error", async (t) => {
  const asked: number[] = [];
  const { auth, service, refreshes } = await plugin(t, {
    isRejected: async (answer) => {
      asked.push(answer.status);
      return ((await answer.json()) as { error?: string }).error === "invalid_auth";
    },
  });
  const api = await service({
    "/slack": (request) => ({
      status: 200,
      body: tokenIn(request) === "a2" ? { ok: true } : { ok: false, error: "invalid_auth" },
    }),
    "/file": () => ({ status: 200, body: "no JSON" }),
  });
  assert.deepEqual(await (await auth.fetch(`${api.origin}/slack`)).json(), { ok: true });
  assert.deepEqual(asked, [200, 200]);
  assert.equal(await (await auth.fetch(`${api.origin}/file`)).text(), "no JSON");
  assert.equal(refreshes(), 1);
});

test("loginNeeded finds the sentence in what an SDK made of it", async (t) => {
  const { auth, service, ended, state } = await plugin(t);
  const api = await service();
  ended.add("a1");
  state.isRefused = true;
  const ours = await auth.fetch(api.origin).catch((error: unknown) => error);
  assert.ok(ours instanceof AuthError);
  const hidden = [
    ours,
    new Error("Connection error.", { cause: new TypeError("fetch failed", { cause: ours }) }),
    Object.assign(new Error("An error occurred with our connection"), { detail: ours }),
    Object.assign(new Error("A request error occurred"), { original: ours, code: "slack_webapi_request_error" }),
    new AggregateError([new Error("other"), Object.assign(new Error("inner"), { reason: ours })]),
  ];
  for (const error of hidden) {
    assert.equal(loginNeeded(error), ours);
  }
  const circle = new Error("circle");
  circle.cause = circle;
  for (const other of [circle, new Error("x"), "text", undefined, null]) {
    assert.equal(loginNeeded(other), other);
  }
});

test("insufficient_scope: what is missing is said, kept for the next login, and nothing is repeated", async (t) => {
  const { auth, raw, service, refreshes } = await plugin(t);
  await importToken(raw, { access: "a1", refresh: "r1", expires: Date.now() + hour, scopes: ["memory"] });
  const challenge = (header: string): StubHandler => {
    return () => ({ status: 403, headers: { "www-authenticate": header }, body: {} });
  };
  const api = await service({
    "/write": challenge('Basic realm="a, b", Bearer error="insufficient_scope", scope="files:write  files:read"'),
    "/unsaid": challenge("DPoP error=insufficient_scope"),
    "/forbidden": challenge('Bearer error="invalid_request"'),
    "/plain": () => ({ status: 403, body: {} }),
  });
  const error = await rejection(auth.fetch(`${api.origin}/write`), "SCOPE_REQUIRED");
  assert.deepEqual(error.scopes, ["files:write", "files:read"]);
  assert.equal(error.needsLogin, true);
  assert.match(error.message, /\(files:write, files:read\).*run `openclaw my-memory login` in a terminal/);
  // The token is good for everything else, and a new process knows what the next login has to ask for.
  assert.equal((await auth.fetch(api.origin)).status, 200);
  assert.deepEqual((await status(raw)).missingScopes, ["files:write", "files:read"]);
  const { scopes } = await rejection(auth.fetch(`${api.origin}/unsaid`), "SCOPE_REQUIRED");
  assert.deepEqual(scopes, []);
  for (const path of ["/forbidden", "/plain"]) assert.equal((await auth.fetch(api.origin + path)).status, 403);
  assert.equal(api.requests.length, 5);
  assert.equal(refreshes(), 0);

  // Where the login has it, another one would not help.
  await importToken(raw, {
    access: "a1",
    refresh: "r1",
    expires: Date.now() + hour,
    scopes: ["files:write", "files:read"],
  });
  assert.equal((await auth.fetch(`${api.origin}/write`)).status, 403);
});

/** An SSE stream that says what a test lets it say, for as long as the test does. */
function eventStream() {
  const said: string[] = [];
  let isOver = false;
  let wake = () => {};
  async function* chunks() {
    yield "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    while (!isOver || said.length > 0) {
      const event = said.shift();
      if (event !== undefined) {
        yield `data: ${event}\n\n`;
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    answer: { chunks },
    say(event: string) {
      said.push(event);
      wake();
    },
    end() {
      isOver = true;
      wake();
    },
  };
}

test("streams are read while they are open, even after their token ends; DELETE and 202 pass unchanged", async (t) => {
  const { auth, service, ended, refreshes } = await plugin(t);
  const streams = [eventStream(), eventStream()] as const;
  const waiting = [...streams];
  const guarded = (answer: StubHandler): StubHandler => {
    return (request, nth) => (ended.has(tokenIn(request) ?? "") ? { status: 401 } : answer(request, nth));
  };
  const api = await service({
    "/events": guarded(() => waiting.shift()?.answer ?? { status: 500 }),
    "/message": guarded(() => ({ status: 202 })),
    "/session": guarded(({ method }) => ({ status: method === "DELETE" ? 204 : 405 })),
  });
  const headers = { accept: "text/event-stream", "mcp-session-id": "s1" };
  const opened = async () => {
    const answer = await auth.fetch(`${api.origin}/events`, { headers });
    assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "text/event-stream"]);
    return (answer.body ?? assert.fail("no body")).pipeThrough(new TextDecoderStream()).getReader();
  };
  // One with a token that is good, one with the token after it.
  const first = await opened();
  ended.add("a1");
  const second = await opened();
  const bothHear = async (event: string) => {
    for (const stream of streams) stream.say(event);
    for (const reader of [first, second]) assert.equal((await reader.read()).value, `data: ${event}\n\n`);
  };
  await bothHear("one");

  // That token ends as well: other requests get the next, and the streams go on.
  ended.add("a2");
  const message = { method: "POST", headers, body: '{"jsonrpc":"2.0","method":"notifications/initialized"}' };
  const [sent, deleted] = await Promise.all([
    auth.fetch(`${api.origin}/message`, message),
    auth.fetch(new Request(`${api.origin}/session`, { method: "DELETE", headers })),
  ]);
  assert.deepEqual([sent.status, await sent.text()], [202, ""]);
  assert.equal(deleted.status, 204);
  assert.equal(refreshes(), 2);
  for (const [path, method, body] of [
    ["/message", "POST", message.body],
    ["/session", "DELETE", ""],
  ] as const) {
    const seen = api.requestsOf(path);
    assert.ok(seen.every((request) => request.method === method && request.headers["mcp-session-id"] === "s1"));
    assert.equal(seen.at(-1)?.body, body);
  }
  await bothHear("two");
  for (const stream of streams) stream.end();
  for (const reader of [first, second]) assert.equal((await reader.read()).done, true);
  assert.deepEqual(api.requestsOf("/events").map(tokenIn), ["a1", "a1", "a2"]);
});
