/** Answers of real servers: usable parts are used, the server's words are believed, and no login is lost to a flaw. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import {
  type AuthConfig,
  type AuthErrorCode,
  type AuthStatus,
  doctor,
  getValidAccessToken,
  importToken,
  login,
  status,
  type Verification,
} from "../index.js";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { rejection } from "./support/rejection.ts";
import { type StubAnswer, type StubRequest, type StubRoute, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

/** A login with an expired access token, at a token endpoint that gives that answer. */
async function ended(t: Test, token: StubRoute): Promise<{ server: StubServer; config: AuthConfig }> {
  const server = await StubServer.start(t, { routes: { "/token": token } });
  const config = {
    pluginId: "memory",
    stateDir: TempHome.create(t).stateDir,
    tokenEndpoint: `${server.origin}/token`,
    clientId: "c",
  };
  await importToken(config, { access: "old", refresh: "r1", expires: Date.now() - 1000 });
  return { server, config };
}

/** A token endpoint that rotates: every refresh token is good once. */
function rotating(flaw: Record<string, unknown>): StubRoute {
  let live = "r1";
  return ({ form }) => {
    if (form.get("refresh_token") !== live) {
      return { status: 400, body: { error: "invalid_grant" } };
    }
    live = `r${Number(live.slice(1)) + 1}`;
    const body = { access_token: `access-${live}`, token_type: "Bearer", expires_in: 3600, refresh_token: live };
    return { status: 200, body: live === "r2" ? { ...body, ...flaw } : body };
  };
}

for (const flaw of [{ expires_in: "1h" }, { expires_in: [1] }, { id_token: 7 }, { id_token: "none today" }]) {
  test(`a refresh with ${JSON.stringify(flaw)}: the token is used, the flaw is said`, async (t) => {
    const { config } = await ended(t, rotating(flaw));
    assert.equal(await getValidAccessToken(config), "access-r2");
    const { state, lastError } = await status(config);
    assert.deepEqual([state, lastError?.code], ["valid", "INVALID_RESPONSE"]);
    assert.equal(await getValidAccessToken(config, { rejectedToken: "access-r2" }), "access-r3");
    assert.equal((await status(config)).lastError, undefined);
  });
}

test("a refresh with a token type that nobody asked for: nothing is handed out, and the new refresh token is kept", async (t) => {
  const { server, config } = await ended(t, rotating({ token_type: "mac" }));
  const refused = await rejection(getValidAccessToken(config), "INVALID_RESPONSE");
  assert.match(refused.message, /token_type/);
  assert.equal((await status(config)).lastError?.code, "INVALID_RESPONSE");
  // A failure is followed by a pause of one second; the next request then spends the new refresh token.
  assert.equal(await patiently(config), "access-r3");
  assert.deepEqual(
    server.requestsOf("/token").map(({ form }) => form.get("refresh_token")),
    ["r1", "r2"],
  );
});

/** Asks until the pause that the error names is over. */
async function patiently(config: AuthConfig): Promise<string> {
  for (;;) {
    try {
      return await getValidAccessToken(config);
    } catch (error) {
      const { retryAfterMs } = error as { retryAfterMs?: number };
      if (retryAfterMs === undefined) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }
}

const ofTheLogin: Record<string, { status: number; body: unknown }> = {
  "a session that is gone, as invalid_request": {
    status: 400,
    body: { error: "invalid_request", error_description: "The session is no longer active" },
  },
  "a revoked refresh token, as invalid_request with a hint and 401": {
    status: 401,
    body: { error: "invalid_request", message: "The refresh token is invalid.", hint: "Token has been revoked" },
  },
  "an unknown refresh token, as unauthorized_client with 403": {
    status: 403,
    body: { error: "unauthorized_client", error_description: "Unknown refresh_token" },
  },
  "a refresh token that is not there, with 404": {
    status: 404,
    body: { error: "NotFound", message: "No such refresh token" },
  },
  "an entry for the refresh token": {
    status: 400,
    body: { message: "Bad Request", errors: [{ resource: "RefreshToken", field: "refresh_token", code: "invalid" }] },
  },
  "an expired token in a sentence, with 403": { status: 403, body: "Refresh token expired" },
  "a code of their own, with 200": { status: 200, body: { ok: false, error: "account_inactive" } },
};
for (const [name, answer] of Object.entries(ofTheLogin)) {
  test(`a refusal of the login is known by its words: ${name}`, async (t) => {
    const { server, config } = await ended(t, answer);
    assert.equal((await rejection(getValidAccessToken(config), "LOGIN_REQUIRED")).needsLogin, true);
    assert.equal((await status(config)).state, "login_required");
    await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.equal(server.requests.length, 1, "asked again at most hourly");
  });
}

const notOfTheLogin: Record<string, { status: number; body: unknown; code: AuthErrorCode }> = {
  "another parameter": {
    status: 400,
    body: { error: "invalid_request", error_description: "The parameter audience is missing" },
    code: "OAUTH_ERROR",
  },
  "the client": {
    status: 401,
    body: { message: "Client authentication failed" },
    code: "OAUTH_ERROR",
  },
  "what the client may do": {
    status: 403,
    body: { error: "unauthorized_client", error_description: "The client is not allowed to use refresh tokens" },
    code: "OAUTH_ERROR",
  },
  "a route": {
    status: 404,
    body: { statusCode: 404, error: "Not Found", message: "Route POST:/token not found" },
    code: "INVALID_RESPONSE",
  },
};
for (const [name, { code, ...answer }] of Object.entries(notOfTheLogin)) {
  test(`a refusal that names ${name} asks nobody to log in`, async (t) => {
    const { config } = await ended(t, answer);
    assert.equal((await rejection(getValidAccessToken(config), code)).needsLogin, false);
    assert.equal((await status(config)).state, "valid");
  });
}

test("a busy server that says invalid_grant is asked once more, and the login goes on", async (t) => {
  const { config } = await ended(t, [
    {
      status: 400,
      body: { error: "invalid_grant", error_description: "Another request with this token is in progress" },
    },
    { status: 200, body: { access_token: "new", token_type: "Bearer", expires_in: 3600 } },
  ]);
  assert.equal(await getValidAccessToken(config), "new");
});

for (const member of ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"]) {
  test(`a refresh token that ends, by ${member}: status says when the login ends, and that it has ended`, async (t) => {
    const tokens = { access_token: "a", token_type: "Bearer", expires_in: 1, refresh_token: "r", [member]: 3 };
    const server = await StubServer.start(t, { routes: { "/token": { status: 200, body: tokens } } });
    server.route("/device", {
      status: 200,
      body: {
        device_code: "d",
        user_code: "AB-CD",
        verification_uri: `${server.origin}/go`,
        expires_in: 60,
        interval: 1,
      },
    });
    const config = {
      pluginId: "memory",
      stateDir: TempHome.create(t).stateDir,
      deviceAuthorizationEndpoint: `${server.origin}/device`,
      tokenEndpoint: `${server.origin}/token`,
      clientId: "c",
    };
    const { state, loginEndsAt } = await login(config, { onVerification() {} });
    assert.equal(state, "expiring");
    assert.ok(loginEndsAt !== undefined && loginEndsAt > Date.now() && loginEndsAt < Date.now() + 4000);
    await new Promise((resolve) => setTimeout(resolve, loginEndsAt - Date.now() + 1));
    const over = await status(config);
    assert.deepEqual([over.state, over.lastError?.code], ["login_required", "LOGIN_REQUIRED"]);
    assert.equal(server.requestsOf("/token").length, 1, "nobody was asked");
  });
}

/** A server with metadata that registers clients and lets each log in at once. */
async function registering(
  t: Test,
  metadata: Record<string, unknown>,
  register: StubRoute,
  isLetIn: (request: StubRequest) => boolean | undefined = () => true,
): Promise<{ server: StubServer; config: AuthConfig }> {
  const server = await StubServer.start(t);
  server.describe({ registration_endpoint: `${server.origin}/register`, ...metadata });
  const code = { device_code: "d", user_code: "AB-CD", verification_uri: `${server.origin}/go`, interval: 1 };
  const guarded =
    (body: unknown): StubRoute =>
    (request) =>
      isLetIn(request) ? { status: 200, body } : { status: 401, body: "<!DOCTYPE html><h1>Unauthorized</h1>" };
  server.route("/register", register);
  server.route("/device", guarded(code));
  server.route("/token", guarded({ access_token: "a", token_type: "Bearer", expires_in: 3600 }));
  return { server, config: { pluginId: "memory", stateDir: TempHome.create(t).stateDir, issuer: server.origin } };
}

function asked(server: StubServer): unknown[] {
  return server.requestsOf("/register").map(({ body }) => JSON.parse(body).token_endpoint_auth_method);
}

/** RFC 7591 §3.2.1: the metadata as it was registered, and a secret where the method has one. */
const registers: StubRoute = ({ body }) => {
  const document = JSON.parse(body);
  const secret = document.token_endpoint_auth_method === "none" ? {} : { client_secret: "s" };
  return { status: 201, body: { ...document, client_id: "c", ...secret } };
};

test("a server that takes no public clients, as its metadata says: a client with a secret is registered", async (t) => {
  const methods = { token_endpoint_auth_methods_supported: ["client_secret_post", "private_key_jwt"] };
  const posted = ({ form, headers }: StubRequest) =>
    form.get("client_secret") === "s" && headers.authorization === undefined;
  const { server, config } = await registering(t, methods, registers, posted);
  await login(config, { onVerification() {} });
  assert.deepEqual(asked(server), ["client_secret_post"]);
});

test("a server that refuses `none` and says nothing of methods: client_secret_basic", async (t) => {
  const refuses: StubRoute = (request, nth) =>
    JSON.parse(request.body).token_endpoint_auth_method === "none"
      ? { status: 400, body: { error: "invalid_client_metadata", error_description: "'none' is no auth_method here" } }
      : (registers as (request: StubRequest, nth: number) => never)(request, nth);
  const { server, config } = await registering(t, {}, refuses, ({ headers }) =>
    headers.authorization?.startsWith("Basic "),
  );
  await login(config, { onVerification() {} });
  assert.deepEqual(asked(server), ["none", "client_secret_basic"]);
});

test("a server that registers a public client and then answers it with a bare 401 (Prosody): one with a secret", async (t) => {
  const methods = { token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "none"] };
  const { server, config } = await registering(t, methods, registers, ({ headers }) =>
    headers.authorization?.startsWith("Basic "),
  );
  await login(config, { onVerification() {} });
  assert.deepEqual(asked(server), ["none", "client_secret_basic"]);
  // The second login uses what the first has learnt.
  await login(config, { onVerification() {} });
  assert.equal(server.requestsOf("/register").length, 2);
});

test("a bare 401 to the client of the config is about the client", async (t) => {
  const { config } = await registering(t, {}, registers, () => false);
  const refused = await rejection(login({ ...config, clientId: "mine" }, { onVerification() {} }), "OAUTH_ERROR");
  assert.match(refused.message, /clientId/);
  assert.doesNotMatch(refused.message, /has a problem/);
  assert.equal(refused.retryable, false);
});

for (const flaw of [
  { registration_endpoint: "" },
  { registration_endpoint: false },
  { revocation_endpoint: "" },
  { revocation_endpoint: "/revoke" },
  { revocation_endpoint: "http://keycloak.internal:8080/revoke" },
  { authorization_endpoint: "authorize" },
]) {
  test(`${JSON.stringify(flaw)} in the metadata is no matter to a login that does not need it, and the doctor names it`, async (t) => {
    const { config } = await registering(t, flaw, registers);
    const mine = { ...config, clientId: "mine" };
    await login(mine, { onVerification() {} });
    const [name] = Object.keys(flaw);
    const { ok, checks } = await doctor(mine);
    assert.ok(ok, "it is no error");
    assert.ok(checks.some(({ level, message }) => level === "warning" && message.includes(`\`${name}\``)));
  });
}

test("an endpoint that is needed and cannot be used is named", async (t) => {
  const { config } = await registering(t, { registration_endpoint: "/register" }, registers);
  const refused = await rejection(login(config, { onVerification() {} }), "INVALID_RESPONSE");
  assert.match(refused.message, /registration_endpoint/);
});

/** Answers of a gateway before the server, or of a server that asks for another try; none is a verdict. */
const passingAnswers: Record<string, StubAnswer> = {
  "a firewall's page": { status: 403, headers: { "content-type": "text/html" }, body: "<html>Just a moment" },
  "a captive portal's page": { status: 200, headers: { "content-type": "text/html" }, body: "<html>Welcome" },
  "a gateway's page": { status: 404, headers: { "content-type": "text/html" }, body: "<html>default backend" },
  "429": { status: 429, body: { error: "rate_limit_exceeded" } },
  "503 with Retry-After": { status: 503, headers: { "retry-after": "1" }, body: "" },
};

describe("what passes in one place passes in all", { concurrency: 8 }, () => {
  for (const [name, answer] of Object.entries<StubAnswer>({
    ...passingAnswers,
    "502": { status: 502 },
    reset: "reset",
  })) {
    test(`${name}, at discovery, registration and the device endpoint: the login goes on`, async (t) => {
      const { server, config } = await registering(t, {}, registers);
      for (const path of ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]) {
        server.once(path, answer);
      }
      server.once("/register", answer);
      server.once("/device", answer);
      await login(config, { onVerification() {} });
      assert.equal(server.requestsOf("/register").length, 2);
      assert.equal(server.requestsOf("/device").length, 2);
    });
  }

  test("a page for ever ends it, with the words that fit", async (t) => {
    const { server, config } = await registering(t, {}, registers);
    server.route("/device", passingAnswers["a gateway's page"] ?? "reset");
    const hurried = { ...config, requestTimeoutMs: 5000 };
    const refused = await rejection(login(hurried, { onVerification() {} }), "DEVICE_FLOW_UNSUPPORTED");
    assert.equal(refused.status, 404);
  });

  const authorization_endpoint = "https://auth.example.com/authorize";
  const byBrowser = (config: AuthConfig) =>
    login({ ...config, clientId: "mine", flow: "authorization_code" }, { remote: false, onVerification: visit });
  for (const [name, answer] of Object.entries(passingAnswers)) {
    test(`${name} for a code, which was not looked at: it is sent once more`, async (t) => {
      const { server, config } = await registering(t, { authorization_endpoint }, registers);
      server.once("/token", answer);
      await byBrowser(config);
      assert.equal(server.requestsOf("/token").length, 2);
    });
  }

  for (const status of [500, 502, 503]) {
    test(`${status} for a code, which may have been spent: it is sent once (RFC 6749 §4.1.2)`, async (t) => {
      const { server, config } = await registering(t, { authorization_endpoint }, registers);
      server.once("/token", { status });
      await rejection(byBrowser(config), "SERVER_ERROR");
      assert.equal(server.requestsOf("/token").length, 1);
    });
  }
});

/** Visits the page like a browser: the server's page redirects at once. */
async function visit({ verificationUri }: Verification): Promise<void> {
  const { redirect_uri = "", state = "" } = Object.fromEntries(new URL(verificationUri).searchParams);
  await fetch(`${redirect_uri}?${new URLSearchParams({ code: "k", state })}`);
}

const compressed = {
  gzip: gzipSync,
  "gzip, gzip": (text: string) => gzipSync(gzipSync(text)),
  deflate: deflateSync,
  // RFC 9110 §8.4.1.2: as "some non-conformant implementations" send it.
  Deflate: deflateRawSync,
  identity: gzipSync,
  // RFC 1952 §2.2: "a series of members", as a cache makes it that compresses piece by piece.
  "x-gzip": (text: string) => Buffer.concat([gzipSync(text.slice(0, 30)), gzipSync(text.slice(30))]),
};
for (const [coding, compress] of Object.entries(compressed)) {
  test(`an answer in ${coding} (${compress.name}), though none was asked for, is read; the refresh token is sent once`, async (t) => {
    const answer = JSON.stringify({ access_token: "new", token_type: "Bearer", expires_in: 3600, refresh_token: "r2" });
    const headers = { "content-type": "application/json", "content-encoding": coding };
    const { server, config } = await ended(t, { status: 200, headers, body: compress(answer) });
    assert.equal(await getValidAccessToken(config), "new");
    assert.deepEqual(
      server.requests.map(({ headers }) => headers["accept-encoding"]),
      ["identity"],
    );
  });
}

test("an answer that is compressed by what nobody here knows: the words say so, and it is not asked for twice", async (t) => {
  const body = brotliCompressSync(JSON.stringify({ access_token: "new", refresh_token: "r2" }));
  const { server, config } = await ended(t, { status: 200, headers: { "content-encoding": "br" }, body });
  const unreadable = await rejection(getValidAccessToken(config), "INVALID_RESPONSE");
  assert.match(unreadable.message, /compressed/);
  assert.equal(server.requests.length, 1);
});

for (const { status: code, body } of [
  { status: 403, body: "<!DOCTYPE html><title>Just a moment...</title>" },
  { status: 403, body: "error code: 1010" },
  { status: 406, body: "<html>Not Acceptable" },
]) {
  test(`what stands in front of the server and refuses is told as such: ${code}, ${body}`, async (t) => {
    const { config } = await ended(t, { status: code, headers: { "content-type": "text/html" }, body });
    const refresh = await rejection(getValidAccessToken(config), "SERVER_ERROR");
    assert.match(refresh.message, /something in front of the server refused this program.*another network/);
    assert.doesNotMatch(refresh.message, /has a problem/);
    assert.equal((await status(config)).state, "valid");
    const server = await StubServer.start(t);
    for (const path of ["oauth-authorization-server", "openid-configuration"]) {
      server.route(`/.well-known/${path}`, { status: code, headers: { "content-type": "text/html" }, body });
    }
    const { stateDir } = TempHome.create(t);
    const asked = { pluginId: "memory", stateDir, issuer: server.origin, clientId: "c", requestTimeoutMs: 1000 };
    const discovery = await rejection(login(asked, { onVerification() {} }), "SERVER_ERROR");
    assert.match(discovery.message, /something in front of the server refused this program/);
    assert.doesNotMatch(discovery.message, /publishes no metadata/);
  });
}

test("an issuer that is a template (Entra's common): ISSUER_MISMATCH, and what to configure", async (t) => {
  const server = await StubServer.start(t);
  server.describe({ issuer: `${server.origin}/{tenantid}/v2.0` });
  const { stateDir } = TempHome.create(t);
  const config = { pluginId: "memory", stateDir, issuer: server.origin, clientId: "c" };
  const refused = await rejection(login(config, { onVerification() {} }), "ISSUER_MISMATCH");
  assert.match(refused.message, /template.*the id of yours in the place of what stands in braces/);
});

test("a refusal in gzip is one; what is damaged or too large is none", async (t) => {
  const headers = { "content-encoding": "gzip" };
  const refusal = gzipSync(JSON.stringify({ error: "invalid_grant" }));
  const refused = await ended(t, { status: 400, headers, body: refusal });
  await rejection(getValidAccessToken(refused.config), "LOGIN_REQUIRED");
  const damaged = await ended(t, { status: 200, headers, body: refusal.subarray(0, 20) });
  await rejection(getValidAccessToken(damaged.config), "NETWORK");
  const bomb = await ended(t, { status: 200, headers, body: gzipSync(Buffer.alloc(8 * 1024 * 1024)) });
  await rejection(getValidAccessToken(bomb.config), "INVALID_RESPONSE");
});

for (const [how, head, before = ""] of [
  ["without a length, and the connection ends", "Connection: close"],
  ["shorter than its length", "Content-Length: 500"],
  ["shorter than its length, with a byte order mark before it", "Content-Length: 500", "\ufeff"],
  ["whose last chunk is missing", "Transfer-Encoding: chunked"],
] as const) {
  test(`a JSON answer that is whole was received whole: ${how}`, async (t) => {
    const answer = JSON.stringify({ access_token: "new", token_type: "Bearer", expires_in: 3600, refresh_token: "r2" });
    const body = head.endsWith("chunked") ? `${answer.length.toString(16)}\r\n${answer}\r\n` : before + answer;
    const bytes = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${head}\r\n\r\n${body}`;
    const { server, config } = await ended(t, { bytes, ending: "close" });
    assert.equal(await getValidAccessToken(config), "new");
    assert.equal(server.requests.length, 1);
  });
}

test("a JSON answer that is whole was received whole: without a length, and without TLS's close_notify", async (t) => {
  const home = TempHome.create(t);
  const authority = await CertificateAuthority.create(home.path);
  const answer = JSON.stringify({ access_token: "new", token_type: "Bearer", expires_in: 3600, refresh_token: "r2" });
  const bytes = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n${answer}`;
  const routes = { "/token": { bytes, ending: "cut" } } as const;
  const server = await StubServer.start(t, { routes, tls: await authority.issue(), host: "localhost" });
  const config = {
    pluginId: "memory",
    stateDir: home.stateDir,
    tokenEndpoint: `${server.origin}/token`,
    clientId: "c",
  };
  await importToken(config, { access: "old", refresh: "r1", expires: Date.now() - 1000 });
  const plugin = await PluginProcess.start(t, { env: { ...home.env(), NODE_EXTRA_CA_CERTS: authority.path } });
  assert.equal(await plugin.accessToken(config), "new");
  assert.equal(server.requests.length, 1);
});

test("a JSON answer that is cut off is not whole", async (t) => {
  const bytes = 'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"access_token":"new","token_type":"Bea';
  const { config } = await ended(t, { bytes, ending: "close" });
  const broken = await rejection(getValidAccessToken(config), "NETWORK");
  assert.doesNotMatch(broken.message, /https?:\/\/[^ ]*docs/);
});

test("an answer that is whole and never ends is used when the time is over", async (t) => {
  const answer = JSON.stringify({ access_token: "new", token_type: "Bearer", expires_in: 3600 });
  const bytes = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n${answer}`;
  const { config } = await ended(t, { bytes, ending: "stall" });
  assert.equal(await getValidAccessToken({ ...config, requestTimeoutMs: 500 }), "new");
});

/** A login through the browser, of a person who opens every page; the queries of the authorization requests. */
async function throughTheBrowser(
  t: Test,
  refuse: (query: URLSearchParams) => string | undefined,
  more: Partial<AuthConfig> = {},
): Promise<{ outcome: Promise<AuthStatus>; asked: URLSearchParams[] }> {
  const asked: URLSearchParams[] = [];
  const server = await StubServer.start(t);
  server.route("/authorize", ({ query }) => {
    const parameters = new URLSearchParams(query);
    asked.push(parameters);
    const answer = refuse(parameters) ?? "code=k";
    const location = `${parameters.get("redirect_uri")}?state=${parameters.get("state")}&${answer}`;
    return { status: 302, headers: { location }, body: "" };
  });
  server.route("/token", { status: 200, body: { access_token: "a", token_type: "Bearer", scope: "read,write" } });
  const config: AuthConfig = {
    pluginId: "memory",
    stateDir: TempHome.create(t).stateDir,
    flow: "authorization_code",
    clientId: "c",
    authorizationEndpoint: `${server.origin}/authorize`,
    tokenEndpoint: `${server.origin}/token`,
    scopes: ["read", "offline_access"],
    ...more,
  };
  const options = {
    remote: false,
    async onVerification({ verificationUri }: Verification) {
      const page = await fetch(verificationUri, { redirect: "manual" });
      await fetch(page.headers.get("location") ?? "");
    },
  };
  return { outcome: login(config, options), asked };
}

const noPrompt = "error=invalid_request&error_description=unsupported+prompt+value+requested";

test("a prompt that nobody asked for and the server refuses is left out the second time", async (t) => {
  const { outcome, asked } = await throughTheBrowser(t, (query) => (query.has("prompt") ? noPrompt : undefined));
  await outcome;
  assert.deepEqual(
    asked.map((query) => query.get("prompt")),
    ["consent", null],
  );
});

test('`prompt: ""` sends none; a prompt of the config is not taken back', async (t) => {
  const without = await throughTheBrowser(t, () => undefined, { extraParameters: { prompt: "", login_hint: "" } });
  await without.outcome;
  assert.deepEqual(
    [...(without.asked[0]?.keys() ?? [])].filter((name) => /prompt|hint/.test(name)),
    [],
  );
  const given = await throughTheBrowser(t, () => noPrompt, { extraParameters: { prompt: "login" } });
  const refused = await rejection(given.outcome, "OAUTH_ERROR");
  assert.doesNotMatch(refused.message, /extraParameters/);
  assert.equal(given.asked.length, 1);
});

test("a refusal names what was added to the request", async (t) => {
  const { outcome } = await throughTheBrowser(t, () => "error=server_says_no&error_description=Not+like+that");
  assert.match((await rejection(outcome, "OAUTH_ERROR")).message, /prompt=consent.*extraParameters/);
});

test("scopes with commas: asked for and answered", async (t) => {
  const scopes = ["read", "write"];
  const { outcome, asked } = await throughTheBrowser(t, () => undefined, { scopes, scopeDelimiter: "," });
  const status = await outcome;
  assert.equal(asked[0]?.get("scope"), "read,write");
  assert.deepEqual(status.scopes, scopes);
  assert.equal(status.missingScopes, undefined);
});

test("scopes with commas in the answer alone (GitHub) are split as well", async (t) => {
  const { outcome, asked } = await throughTheBrowser(t, () => undefined, { scopes: ["read", "write"] });
  const { scopes, missingScopes } = await outcome;
  assert.equal(asked[0]?.get("scope"), "read write");
  assert.deepEqual([scopes, missingScopes], [["read", "write"], undefined]);
});

for (const [name, asked, answered] of [
  [
    "Google's URLs",
    ["openid", "email", "profile"],
    "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile",
  ],
  ["a resource's full URIs", ["https://graph.example.com/User.Read"], "profile User.Read"],
  [".default", ["https://graph.example.com/.default"], "https://graph.example.com/Mail.Read"],
] as const) {
  test(`scopes that come back under other names are not missing: ${name}`, async (t) => {
    const body = { access_token: "a", token_type: "Bearer", expires_in: 3600, scope: answered };
    const { config } = await ended(t, { status: 200, body });
    const asking = { ...config, scopes: [...asked] };
    await getValidAccessToken(asking);
    assert.equal((await status(asking)).missingScopes, undefined);
    const more = { ...config, scopes: [...asked, "files:write"] };
    assert.deepEqual((await status(more)).missingScopes, ["files:write"]);
  });
}

test("a scope delimiter is a space or a comma", async (t) => {
  for (const [options, reason] of [
    [{ scopeDelimiter: ";" as "," }, /`scopeDelimiter` must be/],
    [{ scopeDelimiter: "," as const, scopes: ["a,b"] }, /entry with a comma/],
  ] as const) {
    const config = { pluginId: "memory", stateDir: TempHome.create(t).stateDir, ...options } as AuthConfig;
    assert.match((await rejection(status(config), "INVALID_CONFIG")).message, reason);
  }
});
