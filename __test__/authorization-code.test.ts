/** The authorization code flow with PKCE against the real authorization server, by a person who speaks plain HTTP. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { chownSync, readdirSync, readFileSync } from "node:fs";
import net from "node:net";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type AuthConfig, authorizeDevice, getValidAccessToken, type LoginOptions, login, status } from "../index.js";
import { AuthorizationServer, clients } from "./support/authorization-server.ts";
import { approve, begin, browserConfig } from "./support/browser-login.ts";
import { exchange } from "./support/exchange.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, configFor, expireLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { rejection } from "./support/rejection.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

async function site(t: Lifetime, more: Partial<AuthConfig> = {}) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  return { server, home, config: browserConfig(server, home.stateDir, more) };
}

const redeemed = (server: AuthorizationServer) => server.requests({ grant: "authorization_code" });

/** Whether a program listens there. */
async function isOpen(redirectUri: string): Promise<boolean> {
  const { hostname, port } = new URL(redirectUri);
  const socket = net.connect(Number(port), hostname.replace(/[[\]]/g, ""));
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** The redirect URL with other parameters; undefined takes one away. */
function changed(url: URL, parameters: Record<string, string | undefined>): URL {
  const copy = new URL(url);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) {
      copy.searchParams.delete(name);
    } else {
      copy.searchParams.set(name, value);
    }
  }
  return copy;
}

test("a public client logs in, its token opens the API and is refreshed", async (t) => {
  const { server, home, config } = await site(t);
  const api = await ProtectedApi.start(t, server);
  const opened: string[] = [];
  const progress: string[] = [];
  const begun = await begin(config, {
    openUrl: (url) => void opened.push(url),
    onProgress: ({ type }) => void progress.push(type),
  });

  const { searchParams, origin, pathname } = new URL(begun.url);
  assert.equal(origin + pathname, server.endpoints.authorizationEndpoint);
  // By RFC 3986, "+" in a URL is a plus.
  assert.match(new URL(begun.url).search, /[?&]scope=\w+%20/);
  assert.equal(searchParams.get("response_type"), "code");
  assert.equal(searchParams.get("code_challenge_method"), "S256");
  assert.match(searchParams.get("code_challenge") ?? "", /^[\w-]{43}$/);
  assert.match(searchParams.get("state") ?? "", /^[\w-]{43}$/);
  assert.match(begun.redirectUri, /^http:\/\/127\.0\.0\.1:\d+\/callback$/);
  assert.equal(begun.verification.userCode, "");
  assert.equal(begun.verification.qrCode, "");
  assert.ok(begun.verification.message.includes(begun.url));
  assert.ok(Math.abs(begun.verification.expiresAt - Date.now() - 600_000) < 60_000);

  const page = await approve(begun);
  assert.equal(page.status, 200);
  assert.match(page.text, /<h1>The login was approved<\/h1>/);
  assert.equal(page.headers["cache-control"], "no-store");
  assert.equal(page.headers["referrer-policy"], "no-referrer");
  assert.match(String(page.headers["content-security-policy"]), /default-src 'none'/);
  const loggedIn = await begun.outcome;
  assert.equal(loggedIn.state, "valid");
  assert.equal(loggedIn.refreshable, true);
  assert.equal(loggedIn.issuer, server.issuer);
  assert.deepEqual(loggedIn.scopes, ["memory", "offline_access"]);
  assert.deepEqual(opened, [begun.url]);
  assert.deepEqual(progress, ["waiting", "approved"]);
  assert.equal(await isOpen(begun.redirectUri), false, "the port is closed");

  const [redemption, ...more] = await redeemed(server);
  assert.deepEqual(more, []);
  assert.equal(redemption?.form?.redirect_uri, begun.redirectUri);
  assert.match(String(redemption?.form?.code_verifier), /^[\w-]{43}$/);

  assert.equal((await api.call(await getValidAccessToken(config))).status, 200);
  await expireLogin(config);
  assert.equal((await api.call(await getValidAccessToken(config))).status, 200);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
  const stored = readFileSync(home.credentialPath("memory"), "utf8");
  for (const spent of [redemption?.form?.code, redemption?.form?.code_verifier, searchParams.get("state")]) {
    assert.ok(!stored.includes(String(spent)));
  }
});

test("a confidential client authenticates at the exchange and at the refresh", async (t) => {
  const { server, config } = await site(t, clients.browserBasic);
  const begun = await begin(config);
  await approve(begun);
  await begun.outcome;
  await expireLogin(config);
  await getValidAccessToken(config);
  for (const request of await server.requests({ endpoint: "token" })) {
    assert.equal(request.clientAuthentication, "client_secret_basic");
    assert.equal(request.status, 200);
  }
});

test("a client is registered for this flow, apart from that of the device flow, and used again", async (t) => {
  const { server, home, config } = await site(t);
  const { clientId: _, ...unregistered } = config;
  const { flow: __, ...device } = unregistered;
  const first = await approvedLogin(device);
  const redirectUris = new Set<string>();
  for (let round = 0; round < 2; round++) {
    const begun = await begin(unregistered);
    redirectUris.add(begun.redirectUri);
    await approve(begun);
    const loggedIn = await begun.outcome;
    assert.notEqual(loggedIn.clientId, first.status.clientId);
    assert.equal(new URL(begun.url).searchParams.get("client_id"), loggedIn.clientId);
  }
  assert.equal((await approvedLogin(device)).status.clientId, first.status.clientId);
  const registrations = await server.requests({ endpoint: "registration" });
  assert.equal(registrations.length, 2);
  const asked = registrations[1]?.json as Record<string, unknown>;
  // Servers that compare the text know this one alone.
  assert.deepEqual(asked.redirect_uris, [...redirectUris]);
  assert.deepEqual(asked.grant_types, ["authorization_code", "refresh_token"]);
  assert.deepEqual(asked.response_types, ["code"]);
  assert.equal(asked.application_type, "native");
  const folder = join(dirname(home.credentialPath("memory")), "clients");
  assert.equal(readdirSync(folder).filter((name) => name.endsWith(".json")).length, 1);
});

test("a registration that the server has forgotten is renewed before a person is troubled", async (t) => {
  const { server, config } = await site(t);
  const { clientId: _, ...unregistered } = config;
  const before = await begin(unregistered);
  await approve(before);
  const { clientId } = await before.outcome;
  await server.forgetClients(clientId);
  const after = await begin(unregistered);
  assert.notEqual(new URL(after.url).searchParams.get("client_id"), clientId);
  await approve(after);
  assert.equal((await after.outcome).state, "valid");
});

test("a client's port is taken: another client registers another, and both are used again", async (t) => {
  const { server, config } = await site(t);
  const { clientId: _, ...unregistered } = config;
  const clientOf = ({ url }: { url: string }) => new URL(url).searchParams.get("client_id");
  const one = await begin(unregistered);
  const other = await begin({ ...unregistered, profile: "work" });
  assert.notEqual(clientOf(one), clientOf(other));
  for (const begun of [one, other]) {
    await approve(begun);
    await begun.outcome;
  }
  const again = [await begin(unregistered), await begin({ ...unregistered, profile: "work" })];
  assert.deepEqual(new Set(again.map(clientOf)), new Set([one, other].map(clientOf)));
  assert.deepEqual(
    new Set(again.map(({ redirectUri }) => redirectUri)),
    new Set([one, other].map(({ redirectUri }) => redirectUri)),
  );
  for (const begun of again) {
    await approve(begun);
    await begun.outcome;
  }
  const registered = (await server.requests({ endpoint: "registration" })).map(
    ({ json }) => (json as { redirect_uris: string[] }).redirect_uris,
  );
  assert.deepEqual(registered, [[one.redirectUri], [other.redirectUri]]);
});

test("no consent: ACCESS_DENIED, the page says so, and the old login stays", async (t) => {
  const { server, config } = await site(t);
  const before = await begin(config);
  await approve(before);
  await before.outcome;
  const begun = await begin(config);
  const page = await exchange(await new Person().refuseAuthorization(begun.url));
  assert.equal(page.status, 400);
  assert.match(page.text, /<h1>The login failed<\/h1>/);
  const error = await rejection(begun.outcome, "ACCESS_DENIED");
  assert.equal(error.oauthError, "access_denied");
  assert.equal(await isOpen(begun.redirectUri), false);
  assert.equal((await status(config)).state, "valid");
  assert.equal((await redeemed(server)).length, 1);
});

test("a request that does not belong to the login changes nothing, from any sender", async (t) => {
  const { server, config } = await site(t);
  const begun = await begin(config);
  const back = await new Person().authorize(begun.url);
  for (const parameters of [
    { state: "x" },
    { state: undefined },
    { state: `${back.searchParams.get("state")}x` },
    { code: undefined, state: undefined, error: "access_denied" },
    { code: undefined, state: "x", error: "access_denied" },
  ]) {
    const page = await exchange(changed(back, parameters));
    assert.equal(page.status, 400);
    assert.match(page.text, /This page belongs to no login/);
    assert.ok(!page.text.includes("access_denied"), "nothing of the request is shown again");
  }
  const twice = new URL(back);
  twice.searchParams.append("code", "another");
  assert.equal((await exchange(twice)).status, 400);
  assert.deepEqual(await redeemed(server), []);

  assert.equal((await exchange(back)).status, 200);
  assert.equal((await begun.outcome).state, "valid");
});

for (const [what, iss] of [
  ["of another issuer", "https://evil.example.com"],
  ["without the issuer, of a server that always names itself", undefined],
] as const) {
  test(`an answer ${what}: ISSUER_MISMATCH, and its code is not used`, async (t) => {
    const { server, config } = await site(t);
    const begun = await begin(config);
    const page = await exchange(changed(await new Person().authorize(begun.url), { iss }));
    assert.match(page.text, /The login failed/);
    const error = await rejection(begun.outcome, "ISSUER_MISMATCH");
    assert.ok(error.message.includes(server.issuer));
    assert.deepEqual(await redeemed(server), []);
  });
}

test("a server that passes another's login off as its own gets no code (mix-up)", async (t) => {
  const { server: honest, home } = await site(t);
  const evil = await StubServer.start(t);
  evil.describe({
    authorization_endpoint: honest.endpoints.authorizationEndpoint,
    token_endpoint: `${evil.origin}/token`,
  });
  const begun = await begin({ ...browserConfig(honest, home.stateDir), issuer: evil.origin });
  await approve(begun);
  const error = await rejection(begun.outcome, "ISSUER_MISMATCH");
  assert.ok(error.message.includes(honest.issuer) && error.message.includes(evil.origin), error.message);
  assert.deepEqual(evil.requestsOf("/token"), []);
});

test("the page loaded again meanwhile: the same page, and the code is redeemed once", async (t) => {
  const { server, config } = await site(t);
  const held = await server.intercept({ grant: "authorization_code" }, { hold: "before" });
  const begun = await begin(config);
  const back = await new Person().authorize(begun.url);
  const pages = [exchange(back), exchange(back)];
  await held.arrived;
  // A stranger meanwhile gets its answer at once.
  assert.equal((await exchange(changed(back, { state: "x" }))).status, 400);
  pages.push(exchange(back));
  // Answered in the order of their arrival: when this one is, that one has been seen.
  assert.equal((await exchange(changed(back, { code: "other" }))).status, 400);
  await held.release();
  for (const page of await Promise.all(pages)) {
    assert.match(page.text, /The login was approved/);
  }
  await begun.outcome;
  assert.equal((await redeemed(server)).length, 1);
});

for (const [what, action, code] of [
  ["fails", { respond: { status: 503, body: "<html>" } }, "SERVER_ERROR"],
  ["breaks the connection", { destroy: "after" }, "NETWORK"],
  ["knows no such code", { respond: { status: 400, body: { error: "invalid_grant" } } }, "OAUTH_ERROR"],
] as const) {
  test(`a token endpoint that ${what}: ${code}, and the code is not sent again`, async (t) => {
    const { server, config } = await site(t);
    await server.intercept({ grant: "authorization_code" }, action);
    const begun = await begin(config);
    assert.match((await approve(begun)).text, /The login failed/);
    const error = await rejection(begun.outcome, code);
    const [sent, ...more] = await redeemed(server);
    assert.deepEqual(more, []);
    assert.ok(!error.message.includes(String(sent?.form?.code)));
  });
}

// --- paste ---

/** Answers each question with the next text; the last one stays unanswered. */
function pasting(...texts: (string | (() => Promise<string>))[]) {
  const messages: string[] = [];
  const signals: AbortSignal[] = [];
  const onPaste: NonNullable<LoginOptions["onPaste"]> = async ({ message, signal }) => {
    messages.push(message);
    signals.push(signal);
    const text = texts.shift();
    return text === undefined ? new Promise(() => {}) : typeof text === "string" ? text : text();
  };
  return { onPaste, messages, signals };
}

/** An answer that is given when the test knows it. */
function later() {
  let give: (text: unknown) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    give = (text) => resolve(String(text));
  });
  return { answer: () => answer, give: (text: unknown) => give(text) };
}

const forms: [string, (back: URL) => string][] = [
  ["the address of the last page", (back) => `  ${back}\n`],
  ["its query", ({ search }) => search],
  ["the code", ({ searchParams }) => searchParams.get("code") ?? ""],
  ["code#state", ({ searchParams }) => `${searchParams.get("code")}#${searchParams.get("state")}`],
];
for (const redirectUri of ["http://127.0.0.1/callback", "https://console.example.com/oauth/code"]) {
  for (const [what, text] of forms) {
    test(`pasted: ${what}, of ${redirectUri}`, async (t) => {
      const { server, config } = await site(t, { redirectUri });
      const { answer, give } = later();
      const person = pasting(answer);
      const begun = await begin(config, { onPaste: person.onPaste, remote: true });
      give(text(await new Person().authorize(begun.url)));
      assert.equal((await begun.outcome).state, "valid");
      assert.equal(person.messages.length, 1);
      assert.match(person.messages[0] ?? "", /address/);
      assert.equal(person.signals[0]?.aborted, true);
      assert.equal((await redeemed(server)).length, 1);
      assert.notEqual(begun.verification.qrCode, "", "any device may open it");
      if (redirectUri.startsWith("http:")) {
        assert.equal(await isOpen(begun.redirectUri), false);
      }
    });
  }
}

test("a wrong paste says what is wrong and asks again, three times in all", async (t) => {
  const { server, config } = await site(t);
  const wrong = await begin(config, {
    remote: true,
    onPaste: pasting("I do not know", "https://auth.example.com/login?next=/", "x#y").onPaste,
  });
  const error = await rejection(wrong.outcome, "INVALID_RESPONSE");
  assert.match(error.message, /belongs to another login.*last of 3 tries/);
  assert.deepEqual(await redeemed(server), []);

  const { answer, give } = later();
  const person = pasting("", "not-the-code", answer);
  const begun = await begin(config, { remote: true, onPaste: person.onPaste });
  give(await new Person().authorize(begun.url));
  assert.equal((await begun.outcome).state, "valid");
  assert.equal(person.messages.length, 3);
  assert.match(person.messages[1] ?? "", /^What was pasted has no code in it\. At the end/);
  assert.match(person.messages[2] ?? "", /^What was pasted is no code that the server knows\. At the end/);
  assert.equal((await redeemed(server)).length, 2, "the wrong one and the right one");
});

test("a pasted denial, and a pasted answer of another issuer, end the login", async (t) => {
  const { config } = await site(t);
  for (const [parameters, code] of [
    [{ code: undefined, error: "access_denied" }, "ACCESS_DENIED"],
    [{ iss: "https://evil.example.com" }, "ISSUER_MISMATCH"],
  ] as const) {
    const { answer, give } = later();
    const begun = await begin(config, { onPaste: answer, remote: true });
    give(changed(await new Person().authorize(begun.url), parameters));
    await rejection(begun.outcome, code);
  }
});

test("the browser comes back first: the question is taken back", async (t) => {
  const { config } = await site(t);
  const person = pasting();
  const begun = await begin(config, { onPaste: person.onPaste, remote: true });
  assert.equal((await approve(begun)).status, 200);
  await begun.outcome;
  assert.equal(person.messages.length, 1);
  assert.equal(person.signals[0]?.aborted, true);
});

test("the browser comes back while something else that was pasted is tried: the login is that of the browser", async (t) => {
  const { server, config } = await site(t);
  const held = await server.intercept({ grant: "authorization_code", nth: 1 }, { hold: "before" });
  const begun = await begin(config, { onPaste: pasting("not-the-code").onPaste, remote: true });
  await held.arrived;
  assert.equal((await approve(begun)).status, 200);
  assert.equal((await begun.outcome).state, "valid");
});

test("on this machine nothing is asked, unless the session is remote", async (t) => {
  const { config } = await site(t);
  const local = pasting();
  const begun = await begin(config, { onPaste: local.onPaste, remote: false });
  await approve(begun);
  await begun.outcome;
  assert.deepEqual(local.messages, []);

  const before = process.env.SSH_CONNECTION;
  process.env.SSH_CONNECTION = "192.0.2.1 50000 192.0.2.2 22";
  t.after(() => {
    if (before === undefined) delete process.env.SSH_CONNECTION;
    else process.env.SSH_CONNECTION = before;
  });
  const overSsh = pasting();
  const remote = await begin(config, { onPaste: overSsh.onPaste });
  assert.equal((await approve(remote)).status, 200, "the port is open all the same");
  await remote.outcome;
  assert.equal(overSsh.messages.length, 1);
});

test("what onPaste rejects with ends the login unchanged", async (t) => {
  const { config } = await site(t);
  const reason = new Error("the terminal is gone");
  const begun = await begin(config, { onPaste: () => Promise.reject(reason), remote: true });
  await assert.rejects(begun.outcome, (error) => error === reason);
  assert.equal((await status(config)).state, "logged_out");
});

// --- the port ---

async function occupied(t: Lifetime, host = "127.0.0.1"): Promise<number> {
  const other = net.createServer().listen(0, host);
  await once(other, "listening");
  t.after(() => void other.close());
  return (other.address() as net.AddressInfo).port;
}

async function freePort(): Promise<number> {
  const other = net.createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as net.AddressInfo;
  other.close();
  await once(other, "close");
  return port;
}

test("a port that is taken: the person is asked, or the login fails before anything is shown", async (t) => {
  const { server, config } = await site(t, { redirectUri: `http://127.0.0.1:${await occupied(t)}/callback` });
  const error = await rejection(login(config, { onVerification: () => assert.fail("shown") }), "NETWORK");
  assert.match(error.message, /the port is in use, perhaps by another login/);

  const { answer, give } = later();
  const begun = await begin(config, { onPaste: answer, remote: false });
  give(await new Person().authorize(begun.url));
  assert.equal((await begun.outcome).state, "valid");
  assert.equal((await redeemed(server))[0]?.form?.redirect_uri, config.redirectUri);
});

test("a fixed port, and localhost for both families", async (t) => {
  const port = await freePort();
  const { config } = await site(t, { redirectUri: `http://localhost:${port}/callback` });
  const begun = await begin(config);
  assert.equal(begun.redirectUri, config.redirectUri);
  const back = await new Person().authorize(begun.url);
  assert.equal(await isOpen(`http://127.0.0.1:${port}`), true);
  assert.equal(await isOpen(`http://[::1]:${port}`), true);
  const byAddress = new URL(back);
  byAddress.hostname = "127.0.0.1";
  assert.equal((await exchange(byAddress)).status, 421, "under its own name alone");
  assert.equal((await exchange(back)).status, 200);
  await begun.outcome;

  const busy = await occupied(t, "::1");
  const taken = { ...config, redirectUri: `http://localhost:${busy}/callback` };
  await rejection(login(taken, { onVerification: () => assert.fail("shown") }), "NETWORK");
});

test("a redirect URI elsewhere needs onPaste", async (t) => {
  const { config } = await site(t, { redirectUri: "https://console.example.com/oauth/code" });
  const error = await rejection(login(config, { onVerification: () => assert.fail("shown") }), "INVALID_CONFIG");
  assert.match(error.message, /onPaste/);
});

test("an abort ends it at once and closes the port", async (t) => {
  const { server, config } = await site(t);
  const stop = new AbortController();
  const question = new EventEmitter<{ asked: [AbortSignal] }>();
  const onPaste: LoginOptions["onPaste"] = ({ signal }) => {
    question.emit("asked", signal);
    return new Promise(() => {});
  };
  const asked = once(question, "asked");
  const begun = await begin(config, { signal: stop.signal, onPaste, remote: true });
  const [taken] = (await asked) as [AbortSignal];
  const reason = new Error("enough");
  stop.abort(reason);
  assert.equal((await rejection(begun.outcome, "ABORTED")).cause, reason);
  assert.equal(taken.aborted, true);
  while (await isOpen(begun.redirectUri)) await new Promise(setImmediate);
  assert.deepEqual(await redeemed(server), []);
  assert.equal((await status(config)).state, "logged_out");
});

test("two logins at once have a port and a state each", async (t) => {
  const { config } = await site(t);
  const [one, other] = await Promise.all([begin(config), begin({ ...config, profile: "work" })]);
  assert.notEqual(one.redirectUri, other.redirectUri);
  const back = await new Person().authorize(one.url);
  const astray = new URL(back);
  astray.port = new URL(other.redirectUri).port;
  assert.equal((await exchange(astray)).status, 400);
  assert.equal((await exchange(back)).status, 200);
  assert.equal((await one.outcome).profile, "default");
  await approve(other);
  assert.equal((await other.outcome).profile, "work");
});

/** Writes raw bytes; returns all that came back before the other side hung up. */
async function raw(redirectUri: string, bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(redirectUri);
  const socket = net.connect(Number(port), hostname);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  // The other side may hang up before it has read everything.
  socket.on("error", () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

test("hostile and odd requests change nothing, and the browser gets through", async (t) => {
  const { server, config } = await site(t);
  const begun = await begin(config);
  const { host, port } = new URL(begun.redirectUri);
  const back = await new Person().authorize(begun.url);
  const { pathname, search } = back;

  // Browsers connect in advance and send nothing; others send byte by byte, and there are more of them than are let in.
  const idle = Array.from({ length: 40 }, () => net.connect(Number(port), "127.0.0.1"));
  for (const [index, socket] of idle.entries()) {
    socket.on("error", () => {});
    await once(socket, "connect");
    if (index % 2 === 0) socket.write("GET /callback?code=x&st");
  }
  t.after(() => idle.map((socket) => socket.destroy()));

  const request = (line: string, headers = `Host: ${host}\r\n`) => raw(begun.redirectUri, `${line}\r\n${headers}\r\n`);
  for (const [answer, expected] of [
    [await request(`GET ${pathname}${search} HTTP/1.1`, `Host: evil.example.com:${port}\r\n`), 421],
    [await request(`GET ${pathname}${search} HTTP/1.1`, `Host: localhost:${port}\r\n`), 421],
    [await request(`GET ${pathname}${search} HTTP/1.1`, "Host: 127.0.0.1\r\n"), 421],
    [await request(`GET ${pathname}${search} HTTP/1.1`, `Host: ${host}\r\nHost: ${host}\r\n`), 400],
    [await request(`GET ${pathname}${search} HTTP/1.1`, ""), 400],
    [await request(`GET http://${host}${pathname}${search} HTTP/1.1`), 404],
    [await request(`POST ${pathname}${search} HTTP/1.1`), 405],
    [await request(`OPTIONS ${pathname}${search} HTTP/1.1`), 405],
    [await request("GET /favicon.ico HTTP/1.1"), 404],
    [await request(`GET ${pathname}/${search} HTTP/1.1`), 404],
    [await request(`GET ${pathname}${search} HTTP/2`), 400],
    [await request("\u0016\u0003\u0001\u0002"), 400],
    [await request(`GET ${pathname}${search} HTTP/1.1`, `Host: ${host}\r\nX: ${"x".repeat(40_000)}\r\n`), 431],
  ] as const) {
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${expected} `));
    assert.doesNotMatch(answer, /The login was approved|x-evil/);
  }
  assert.doesNotMatch(await raw(begun.redirectUri, "x".repeat(1024 * 1024)), / 200 /);
  assert.deepEqual(await redeemed(server), []);

  assert.equal((await exchange(back)).status, 200);
  assert.equal((await begun.outcome).state, "valid");
});

test("the cookies of all programs on this machine come along: as many as Node takes, in any encoding", async (t) => {
  const { config } = await site(t);
  const begun = await begin(config);
  const { host } = new URL(begun.redirectUri);
  const { pathname, search } = await new Person().authorize(begun.url);
  const cookie = `name=Jos\u00e9; jar=${"x".repeat(16_000)}`;
  const head = `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n\r\n`;
  assert.match(await raw(begun.redirectUri, Buffer.from(head, "latin1")), /^HTTP\/1\.1 200 /);
  assert.equal((await begun.outcome).state, "valid");
});

test("a browser that is refused: the person learns why, three times at most", async (t) => {
  const { config } = await site(t);
  const told: string[] = [];
  const begun = await begin(config, {
    onProgress: ({ type, detail }) => void (detail !== undefined && told.push(`${type}: ${detail}`)),
  });
  const { host, port } = new URL(begun.redirectUri);
  const back = await new Person().authorize(begun.url);
  const { pathname, search } = back;
  const large = `Host: ${host}\r\nCookie: ${"x".repeat(40_000)}\r\n`;
  await raw(begun.redirectUri, `GET /favicon.ico HTTP/1.1\r\n${large}\r\n`);
  await raw(begun.redirectUri, `GET ${pathname}${search} HTTP/1.1\r\n${large}\r\n`);
  await raw(begun.redirectUri, `GET ${pathname}${search} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  assert.equal((await exchange(changed(back, { state: "other" }))).status, 400);
  assert.equal((await exchange(changed(back, { state: undefined }))).status, 400);
  assert.equal((await exchange(back)).status, 200);
  await begun.outcome;
  const refused = "waiting: a browser came and was refused, because";
  assert.deepEqual(told, [
    `${refused} its headers are larger than 32 KiB: clear the cookies that the browser has for this host, or take another browser`,
    `${refused} it names another host than the redirect URI`,
    `${refused} its answer belongs to another login`,
  ]);
});

test("a port that this user may not have: said as such, with advice that fits", {
  skip:
    process.platform !== "linux" || process.getuid?.() !== 0 ? "takes Linux, and root to become somebody else" : false,
}, async (t) => {
  const { config } = await site(t);
  const home = TempHome.create(t);
  chownSync(home.path, 65534, 65534);
  const program = `const { login } = require(${JSON.stringify(fileURLToPath(new URL("..", import.meta.url)))});
    login(${JSON.stringify({ ...config, stateDir: home.stateDir, redirectUri: "http://localhost:80/callback" })}, { onVerification() {} })
      .catch(({ code, retryable, message }) => console.log(JSON.stringify({ code, retryable, message })));`;
  // In a name space of its own the port would be anybody's.
  const child = spawnSync(process.execPath, ["-e", program], { encoding: "utf8", uid: 65534, gid: 65534 });
  const { code, retryable, message } = JSON.parse(child.stdout) as Record<string, string>;
  assert.deepEqual([code, retryable], ["NETWORK", false]);
  assert.match(
    String(message),
    /^Cannot listen at http:\/\/localhost:80\/callback: this user has no permission for that port/,
  );
  assert.doesNotMatch(String(message), /in use|End what/);
});

// --- what the config and the server have to fit ---

test("what cannot be is said before anything is shown", async (t) => {
  const { server, home, config } = await site(t);
  const shown = { onVerification: () => assert.fail("shown") };
  const device = await rejection(authorizeDevice(config, shown), "INVALID_CONFIG");
  assert.match(device.message, /authorizeDevice is the device flow/);

  const stub = await StubServer.start(t);
  const stubbed = { ...config, issuer: stub.origin };
  stub.describe({ device_authorization_endpoint: undefined });
  const { flow: _, ...deviceFlow } = stubbed;
  assert.match((await rejection(login(deviceFlow, shown), "DEVICE_FLOW_UNSUPPORTED")).message, /neither a device/);
  assert.match((await rejection(login(stubbed, shown), "INVALID_CONFIG")).message, /no authorization endpoint/);
  stub.describe({
    authorization_endpoint: `${stub.origin}/auth`,
    require_pushed_authorization_requests: true,
  });
  assert.match((await rejection(login(stubbed, shown), "INVALID_CONFIG")).message, /RFC 9126/);

  const wrong = { ...config, onPaste: 1 };
  await rejection(login(wrong as never, shown), "INVALID_CONFIG");
  const { message } = await rejection(login(config, { ...shown, onPaste: 1 } as never), "INVALID_CONFIG");
  assert.equal(message, "`onPaste` must be a function.");
  await rejection(login(config, { ...shown, remote: "yes" } as never), "INVALID_CONFIG");

  // Endpoints alone do as well, without discovery; then there is no issuer to compare.
  const { issuer: __, ...rest } = configFor(server, home.stateDir, { ...clients.browser, flow: "authorization_code" });
  const { authorizationEndpoint, tokenEndpoint } = server.endpoints;
  const begun = await begin({ ...rest, profile: "plain", authorizationEndpoint, tokenEndpoint });
  await approve(begun);
  assert.equal((await begun.outcome).state, "valid");
});
