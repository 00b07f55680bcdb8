/**
 * A hostile or broken server, at every endpoint that is read. For any answer, the call ends with a documented code,
 * nothing reaches a terminal or a browser raw, and a stored credential survives.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { type AuthConfig, AuthError, getValidAccessToken, login, logout, status, type Verification } from "../index.js";
import { PluginProcess } from "./support/plugin-process.ts";
import { quickDevice } from "./support/provider-stub.ts";
import { rejection } from "./support/rejection.ts";
import { type StubAnswer, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const mebibyte = 1024 * 1024;

/** Clears the screen, colours it, renames the window, links and copies by OSC, turns text around, hides it. */
const tricks =
  "\u001b[2J\u001b[31m\u001b]0;title\u0007\u001b]8;;https://evil.example\u0007x\u001b]52;c;Y2FuYXJ5\u0007\u009b1A\r\n\u0000\u0008\u202egnp.exe\u2066\u200b\u{e0041}";

function* forever(head: string, chunk: string): Iterable<string> {
  yield head;
  for (;;) yield chunk;
}

async function* dripping(head: string, drop: string): AsyncIterable<string> {
  yield head;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    yield drop;
  }
}

function raw(bytes: string | Buffer): StubAnswer {
  return { bytes };
}

function body(text: string, headers = ""): StubAnswer {
  return raw(`${json}${headers}Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`);
}

type Code = Parameters<typeof rejection>[1];

/** The answer, and the code of a login that gets it from device authorization. */
const answers: Record<string, [Code, StubAnswer]> = {
  "a body over 1 MiB": ["INVALID_RESPONSE", body(`{"a":"${"x".repeat(2 * mebibyte)}"}`)],
  "an endless body": ["INVALID_RESPONSE", { chunks: () => forever(`${json}\r\n`, " ".repeat(65_536)) }],
  "an endless chunked body": [
    "INVALID_RESPONSE",
    { chunks: () => forever(`${json}Transfer-Encoding: chunked\r\n\r\n`, `10000\r\n${" ".repeat(65_536)}\r\n`) },
  ],
  "an endless chunk extension": [
    "NETWORK",
    { chunks: () => forever(`${json}Transfer-Encoding: chunked\r\n\r\n2;`, "x".repeat(65_536)) },
  ],
  "endless trailers": [
    "NETWORK",
    { chunks: () => forever(`${json}Transfer-Encoding: chunked\r\n\r\n0\r\n`, "a: b\r\n".repeat(10_000)) },
  ],
  "a body that drips": ["TIMEOUT", { chunks: () => dripping(`${json}Content-Length: 90000\r\n\r\n`, " ") }],
  "a head that drips": ["TIMEOUT", { chunks: () => dripping("HTTP/1.1 200 OK\r\n", "a: b\r\n") }],
  "an endless header": ["NETWORK", { chunks: () => forever("HTTP/1.1 200 OK\r\na: ", "x".repeat(65_536)) }],
  "a flood of headers": ["NETWORK", { chunks: () => forever("HTTP/1.1 200 OK\r\n", "a: b\r\n".repeat(10_000)) }],
  "endless 1xx answers": [
    "TIMEOUT",
    { chunks: () => forever("", `HTTP/1.1 103 Early Hints\r\nlink: </${"x".repeat(8000)}>\r\n\r\n`.repeat(8)) },
  ],
  "switching protocols": [
    "INVALID_RESPONSE",
    raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
  ],
  "a Content-Length too long": ["NETWORK", raw(`${json}Content-Length: 500\r\n\r\n{"device_code"`)],
  "a Content-Length of exabytes": ["INVALID_RESPONSE", raw(`${json}Content-Length: 9999999999999999999\r\n\r\n{}`)],
  "a Content-Length too short": [
    "INVALID_RESPONSE",
    raw(`${json}Content-Length: 2\r\n\r\n{}{"error":"access_denied"}`),
  ],
  "a negative Content-Length": ["NETWORK", raw(`${json}Content-Length: -1\r\n\r\n{}`)],
  "two lengths": ["NETWORK", raw(`${json}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `)],
  "a chunk of an odd size": ["NETWORK", raw(`${json}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}`)],
  "HTTP/0.9": ["NETWORK", raw('{"device_code":"x"}\n')],
  "HTTP/9.9": ["NETWORK", raw("HTTP/9.9 200 OK\r\n\r\n{}")],
  "another protocol": ["NETWORK", raw("SSH-2.0-OpenSSH_9.9\r\n")],
  "a TLS alert": ["NETWORK", raw(Buffer.from([21, 3, 1, 0, 2, 2, 70]))],
  "nothing but NUL": ["NETWORK", raw(Buffer.alloc(65_536))],
  "a status line with tricks in it": [
    "NETWORK",
    raw(`HTTP/1.1 999 ${tricks.replaceAll(/[\r\n\0]/g, "")}\r\nContent-Length: 0\r\n\r\n`),
  ],
  "a gzip bomb": [
    "INVALID_RESPONSE",
    { status: 200, headers: { "content-encoding": "gzip" }, body: gzipSync(Buffer.alloc(256 * mebibyte)) },
  ],
  "deep JSON": ["INVALID_RESPONSE", body(`{"device_code":${"[".repeat(400_000)}${"]".repeat(400_000)}}`)],
  "wide JSON": ["INVALID_RESPONSE", body(`{"device_code":[${"{},".repeat(340_000)}{}]}`)],
  "JSON with bytes that are no UTF-8": [
    "INVALID_RESPONSE",
    raw(Buffer.from(`${json}\r\n{"device_code":"\xff"}`, "latin1")),
  ],
  "JSON in UTF-16": [
    "INVALID_RESPONSE",
    raw(Buffer.concat([Buffer.from(`${json}\r\n`), Buffer.from("\ufeff{}", "utf16le")])),
  ],
  "a list": ["INVALID_RESPONSE", body('[{"device_code":"x"}]')],
  "a page": ["INVALID_RESPONSE", raw(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>${tricks}</title>`)],
  "a hostile error": [
    "OAUTH_ERROR",
    {
      status: 400,
      body: { error: "invalid_request", error_description: tricks.repeat(5), error_uri: "javascript:alert(1)" },
    },
  ],
  "an error whose code is hostile": ["INVALID_RESPONSE", { status: 403, body: { error: tricks, message: [tricks] } }],
  "an error nested a hundred levels down": [
    "INVALID_RESPONSE",
    body(`{"error":${'{"error":'.repeat(100)}"${"access_denied"}"${"}".repeat(101)}`),
  ],
  "an error with a description of 500 KB": [
    "OAUTH_ERROR",
    { status: 400, body: { error: "invalid_request", error_description: `${tricks}é `.repeat(3000) } },
  ],
  "an error page that is an ms-msdt link": [
    "OAUTH_ERROR",
    { status: 400, body: { error: "invalid_scope", error_uri: "ms-msdt:/id PCWDiagnostic /skip force" } },
  ],
  "an error page behind a user name": [
    "OAUTH_ERROR",
    { status: 400, body: { error: "invalid_scope", error_uri: "https://accounts.google.com@evil.example/" } },
  ],
  "an absurd Retry-After": [
    "SERVER_ERROR",
    { status: 503, headers: { "retry-after": "99999999999999999999" }, body: "" },
  ],
  "a Retry-After that is no date": [
    "SERVER_ERROR",
    { status: 429, headers: { "retry-after": "Sunday, 06-Nov-9223372036854775807 08:49:37 GMT" }, body: "" },
  ],
};

for (const [status, location] of [
  [301, "http://127.0.0.1:1/"],
  [302, "file:///etc/passwd"],
  [303, "javascript:alert(1)"],
  [307, "//evil.example/\u00e9"],
  [308, "/token"],
  [307, ""],
] as const) {
  answers[`a redirect (${status}) to ${JSON.stringify(location)}`] = [
    "INVALID_RESPONSE",
    raw(Buffer.from(`HTTP/1.1 ${status} X\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`, "latin1")),
  ];
}

interface Scene {
  stub: StubServer;
  config: AuthConfig;
  /** The stored credential's file. */
  path: string;
  before: string;
}

/** An honest server and a stored login, which `expires` then. */
function scene(
  t: Parameters<typeof TempHome.create>[0],
  stub: StubServer,
  expires: number,
  more: Partial<AuthConfig>,
): Scene {
  const home = TempHome.create(t);
  const path = home.credentialPath("memory");
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const before = JSON.stringify({
    version: 1,
    access: "stored-access",
    refresh: "stored-refresh",
    expires,
    createdAt: expires - 3_600_000,
    refreshedAt: expires - 3_600_000,
    tokenType: "Bearer",
    issuer: stub.origin,
    tokenEndpoint: `${stub.origin}/token`,
    revocationEndpoint: `${stub.origin}/revoke`,
    clientId: "c",
  });
  writeFileSync(path, before, { mode: 0o600 });
  stub.describe({ registration_endpoint: `${stub.origin}/register` });
  stub.route("/device", quickDevice);
  stub.route("/register", { status: 201, body: { client_id: "c" } });
  const config = {
    pluginId: "memory",
    issuer: stub.origin,
    clientId: "c",
    stateDir: home.stateDir,
    requestTimeoutMs: 1500,
    ...more,
  };
  return { stub, config, path, before };
}

const anHour = 3_600_000;

/** Each endpoint that is read; how a call comes to it, and what it then must have left. */
const endpoints: Record<
  string,
  { paths: string[]; expires: number; client?: "registered"; call: (s: Scene) => Promise<void> }
> = {
  discovery: {
    paths: ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"],
    expires: anHour,
    call: refusedLogin,
  },
  registration: { paths: ["/register"], expires: anHour, client: "registered", call: refusedLogin },
  "device authorization": { paths: ["/device"], expires: anHour, call: refusedLogin },
  "token, while polling": { paths: ["/token"], expires: anHour, call: refusedLogin },
  "token, at a refresh": { paths: ["/token"], expires: -1000, call: failedRefresh },
  revocation: { paths: ["/revoke"], expires: anHour, call: unheardLogout },
};

async function refusedLogin({ config, path, before }: Scene): Promise<void> {
  const error = await loginError(config);
  assert.ok(!["LOGIN_REQUIRED", "STORE_IO", "STORE_CORRUPT", "INVALID_CONFIG"].includes(error.code), error.code);
  assertPresentable(error);
  assert.equal(readFileSync(path, "utf8"), before);
  const now = await status(config);
  assertPresentable(now);
  assert.equal(now.state, "valid");
}

/** A transient failure is asked about again until the code ends; here, once is enough. */
async function loginError(config: AuthConfig): Promise<AuthError> {
  const stop = new AbortController();
  const error: unknown = await login(config, {
    onVerification: assertPresentable,
    onProgress: (event) => {
      assertPresentable(event);
      if (event.type === "retrying") stop.abort();
    },
    signal: stop.signal,
  }).then(
    (value) => assert.fail(`logged in: ${inspect(value)}`),
    (reason) => reason,
  );
  assert.ok(error instanceof AuthError, inspect(error));
  return error as AuthError;
}

async function failedRefresh({ config, path }: Scene): Promise<void> {
  const error = await getValidAccessToken(config).then(
    (token) => assert.fail(`a token: ${token}`),
    (reason) => reason,
  );
  assert.ok(error instanceof AuthError, inspect(error));
  assert.ok(["NETWORK", "TIMEOUT", "SERVER_ERROR", "INVALID_RESPONSE", "OAUTH_ERROR"].includes(error.code), error.code);
  assertPresentable(error);
  const { access, refresh, lastRefresh } = JSON.parse(readFileSync(path, "utf8"));
  assert.deepEqual([access, refresh], ["stored-access", "stored-refresh"]);
  assert.ok(lastRefresh.nextAttemptAt - lastRefresh.failedAt <= anHour, "no answer stops a login for good");
  assert.equal(lastRefresh.final, false);
  const now = await status(config);
  assertPresentable(now);
  assert.notEqual(now.state, "login_required");
}

async function unheardLogout({ config, path }: Scene): Promise<void> {
  const outcome = await logout(config);
  assert.equal(outcome.removed, true);
  assert.doesNotMatch(readFileSync(path, "utf8"), /stored-/);
}

const blocks = /^[ ▀▄█\n]*$/;

/** Nothing that a terminal obeys or a person cannot see, and nothing that fills a screen. */
function assertPresentable(value: object): void {
  const texts: [string, unknown][] = Object.entries(value);
  if (value instanceof Error) {
    texts.push(["message", value.message], ["inspect", inspect({ ...value, message: value.message })]);
  }
  for (const [name, text] of texts) {
    if (typeof text !== "string") continue;
    if (name === "qrCode") {
      assert.match(text, blocks);
      continue;
    }
    const line = ["message", "inspect"].includes(name) ? text.replaceAll("\n", " ") : text;
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, `${name}: ${JSON.stringify(text)}`);
    assert.ok(text.length < 8000, `${name} has ${text.length} characters`);
    if (/uri|url/i.test(name)) assertSafe(text);
  }
}

function assertSafe(url: string): void {
  const { protocol, username, password } = new URL(url);
  assert.match(protocol, /^https?:$/);
  assert.equal(username + password, "");
  assert.match(url, /^[!-~]+$/);
}

describe("whatever is answered", { concurrency: 16 }, () => {
  for (const [endpoint, { paths, expires, client, call }] of Object.entries(endpoints)) {
    for (const [name, [, answer]] of Object.entries(answers)) {
      test(`${name}: ${endpoint}`, async (t) => {
        const stub = await StubServer.start(t);
        const set = scene(t, stub, Date.now() + expires, {});
        if (client === "registered") delete set.config.clientId;
        for (const path of paths) stub.route(path, answer);
        await call(set);
        assert.ok(
          paths.some((path) => stub.requestsOf(path).length > 0),
          "the answer was given",
        );
        const asked = new Set(stub.requests.map(({ path }) => path));
        assert.ok(
          !asked.has("/etc/passwd") && stub.requests.length <= 8,
          "no redirect is followed, and nobody is flooded",
        );
      });
    }
  }
});

describe("what a login says of the device authorization answer", { concurrency: 16 }, () => {
  for (const [name, [elsewhere, answer]] of Object.entries(answers)) {
    // A 403 that is no page is about the client here.
    const code = name === "an error whose code is hostile" ? "OAUTH_ERROR" : elsewhere;
    test(`${name} is ${code}`, async (t) => {
      const stub = await StubServer.start(t);
      // On a busy machine a mebibyte takes its time.
      const requestTimeoutMs = code === "TIMEOUT" ? 1500 : 30_000;
      const { config } = scene(t, stub, Date.now() + anHour, { requestTimeoutMs });
      stub.route("/device", answer);
      const error = await rejection(login(config, { onVerification: () => assert.fail("shown") }), code);
      assert.equal(error.oauthErrorUri, undefined);
    });
  }
});

// Reading so many keeps the thread busy, for longer than the time limit at a time: once is enough.
test("endless small 1xx answers end with the time limit", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, {});
  stub.route("/device", { chunks: () => forever("", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000)) });
  await rejection(login(config, { onVerification: () => assert.fail("shown") }), "TIMEOUT");
});

test("no compressed answer is wanted", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, {});
  stub.route("/device", { status: 400, body: { error: "invalid_request" } });
  await rejection(login(config, { onVerification: () => {} }), "OAUTH_ERROR");
  for (const { headers } of stub.requests) assert.equal(headers["accept-encoding"], "identity");
});

interface Shown {
  verification: Verification;
  opened: string;
  /** When the first poll is due, milliseconds from now. */
  firstPoll: number;
}

/** A login that is answered with these members, over those of an honest answer: of two the last one counts. */
async function answered(t: Parameters<typeof TempHome.create>[0], members: string): Promise<AuthConfig> {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, {});
  stub.route(
    "/device",
    body(`{"device_code":"D","user_code":"ABCD","verification_uri":"https://a.example/",${members}}`),
  );
  return config;
}

/** The text that a person sees of it. */
async function shown(t: Parameters<typeof TempHome.create>[0], members: string): Promise<Shown> {
  const config = await answered(t, members);
  const stop = new AbortController();
  let verification: Verification | undefined;
  let opened = "";
  let firstPoll = Number.NaN;
  await rejection(
    login(config, {
      onVerification: (seen) => {
        verification = seen;
      },
      openUrl: (url) => {
        opened = url;
      },
      onProgress: ({ nextPollAt = Number.NaN }) => {
        firstPoll = nextPollAt - Date.now();
        stop.abort();
      },
      signal: stop.signal,
    }),
    "ABORTED",
  );
  assert.ok(verification !== undefined);
  assertPresentable(verification);
  assertSafe(opened);
  return { verification, opened, firstPoll };
}

async function refusedCode(t: Parameters<typeof TempHome.create>[0], members: string): Promise<void> {
  const config = await answered(t, members);
  const options = { onVerification: () => assert.fail("shown"), openUrl: () => assert.fail("opened") };
  assertPresentable(await rejection(login(config, options), "INVALID_RESPONSE"));
}

describe("numbers", { concurrency: 16 }, () => {
  // The lifetime of a code, or a token, in seconds: more than a century counts as a century.
  const century = 36_525 * 24 * anHour;
  for (const [interval, seconds] of [
    ["0", 1],
    ["0.001", 1],
    ['"5"', 5],
    ["7", 7],
    ["null", 5],
    ['""', 5],
    // An unreadable value counts as absent.
    ...["-1", "1e308", '"1e308"', '"NaN"', "[]", "{}", "true", '"soon"', "-1e308"].map((odd) => [odd, 5] as const),
  ] as const) {
    test(`an interval of ${interval}`, async (t) => {
      const { firstPoll } = await shown(t, `"expires_in":900,"interval":${interval}`);
      assert.ok(firstPoll > seconds * 1000 - 900 && firstPoll <= seconds * 1000, `${firstPoll} ms`);
    });
  }
  test("an interval longer than the code lives is refused", async (t) => {
    await refusedCode(t, '"expires_in":900,"interval":901');
  });
  for (const [expiresIn, life] of [
    ['"600"', 600_000],
    ["null", 900_000],
    ["1e10", century],
    ["18446744073709551615", century],
    ...["0", "-1", "1e308", '"1e308"', "1e-300", "[]", '"Infinity"', "false", "-1e308"].map(
      (odd) => [odd, 900_000] as const,
    ),
  ] as const) {
    test(`expires_in of ${expiresIn} for a code`, async (t) => {
      const { verification } = await shown(t, `"expires_in":${expiresIn}`);
      const left = verification.expiresAt - Date.now();
      assert.ok(left <= life && left > life - 60_000, `${left} ms`);
    });
  }
  for (const expiresIn of ["0", "-1", "null", '"5"', "1e-300", "18446744073709551615", "1e308", '"1e308"', "[]"]) {
    test(`expires_in of ${expiresIn} for a token`, async (t) => {
      const stub = await StubServer.start(t);
      const { config } = scene(t, stub, Date.now() - 1000, {});
      stub.route("/token", body(`{"access_token":"new","token_type":"Bearer","expires_in":${expiresIn}}`));
      assert.equal(await getValidAccessToken(config), "new");
      const { expiresAt, refreshable } = await status(config);
      assert.ok(expiresAt === undefined || (expiresAt > Date.now() - 60_000 && expiresAt <= Date.now() + century));
      assert.equal(refreshable, true);
      assert.equal(await getValidAccessToken(config), "new");
    });
  }
});

describe("what a person is shown", { concurrency: 16 }, () => {
  const quoted = JSON.stringify(tricks);
  test("a code full of tricks is only letters", async (t) => {
    const { verification } = await shown(t, `"user_code":${quoted}`);
    assert.ok(verification.message.includes(verification.userCode));
  });
  test("of duplicate members the last one counts, everywhere", async (t) => {
    const { verification, opened } = await shown(
      t,
      '"verification_uri":"javascript:alert(1)","verification_uri":"https://b.example/","user_code":"EFGH"',
    );
    assert.equal(verification.verificationUri, "https://b.example/");
    assert.equal(opened, "https://b.example/");
    assert.ok(verification.message.includes("EFGH") && !verification.message.includes("ABCD"));
  });
  for (const [name, members] of Object.entries({
    "a code of 10 MB": `"user_code":"${"A".repeat(10 * mebibyte)}"`,
    "a code of 900 KB": `"user_code":"${"A".repeat(900_000)}"`,
    "a code that shows nothing": '"user_code":"\\u200b\\u202e\\u0000"',
    "a code with a NUL for the server": '"device_code":"a\\u0000b"',
    "a URL of 900 KB": `"verification_uri":"https://a.example/${"a".repeat(900_000)}"`,
  })) {
    test(`${name} is refused`, async (t) => {
      await refusedCode(t, members);
    });
  }
  for (const uri of [
    "file:///etc/passwd",
    "javascript:alert(1)//https://a.example",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "ms-msdt:/id PCWDiagnostic /skip force",
    "search-ms:query=x",
    "\\\\evil.example\\share",
    "//evil.example/",
    "ftp://a.example/",
    "https://accounts.google.com@evil.example/",
    "https://accounts.google.com:443@evil.example/",
    "https://:@:@evil.example/",
    "https://",
    "https:///",
    "https://[::1",
    "https://a.example:99999/",
    "https://аpple.com/",
    "https://a.example\u2044evil.example/",
    "https://a.example\u3002evil.example/",
    "-https://a.example/",
  ]) {
    test(`${JSON.stringify(uri)} is shown to nobody`, async (t) => {
      await refusedCode(t, `"verification_uri":${JSON.stringify(uri)}`);
      const { verification, opened } = await shown(t, `"verification_uri_complete":${JSON.stringify(uri)}`);
      assert.equal(verification.verificationUriComplete, undefined);
      assert.equal(opened, "https://a.example/");
    });
  }
  test("a URL that readers take apart differently is shown as it is opened", async (t) => {
    const { opened, verification } = await shown(
      t,
      '"verification_uri_complete":"https:\\\\\\\\a.example\\\\@evil.example"',
    );
    assert.equal(opened, "https://a.example/@evil.example");
    assert.equal(verification.verificationUriComplete, opened);
    assert.ok(verification.message.includes(opened));
  });
});

test("a registration cannot put tricks into status", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, {});
  delete config.clientId;
  for (const id of ["c\u202ed", "c\u001b[2J", "c".repeat(5000)]) {
    stub.route("/register", { status: 201, body: { client_id: id } });
    await rejection(login(config, { onVerification: () => assert.fail("shown") }), "REGISTRATION_FAILED");
  }
});

test("a token in the place of its type is not quoted", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() - 1000, {});
  stub.route("/token", { status: 200, body: { access_token: "Bearer", token_type: "canary-access-token" } });
  const error = await rejection(getValidAccessToken(config), "INVALID_RESPONSE");
  assert.ok(!inspect(error).includes("canary"), error.message);
});

test("a million scopes are no work", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() - 1000, {});
  const scope = Array.from({ length: 180_000 }, (_, index) => index.toString(36)).join(" ");
  stub.route("/token", { status: 200, body: { access_token: "new", token_type: "Bearer", expires_in: 60, scope } });
  assert.equal(await getValidAccessToken(config), "new");
  assert.ok(((await status(config)).scopes ?? []).length <= 1000);
});

test("an endpoint as long as a book is refused, and named in no message", async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, {});
  stub.describe({ token_endpoint: `${stub.origin}/${"x".repeat(500_000)}` });
  const error = await rejection(login(config, { onVerification: () => assert.fail("shown") }), "INVALID_RESPONSE");
  assert.ok(error.message.length < 1000);
});

test("memory stays bounded under any flood", { skip: process.platform !== "linux" }, async (t) => {
  const stub = await StubServer.start(t);
  const { config } = scene(t, stub, Date.now() + anHour, { requestTimeoutMs: 10_000 });
  const plugin = await PluginProcess.start(t, { env: TempHome.create(t).env() });
  const peak = () => {
    const text = readFileSync(`/proc/${plugin.child.pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(text)?.[1]) / 1024;
  };
  const pour = async (name: string) => {
    const [code, answer] = answers[name] ?? assert.fail(name);
    stub.route("/device", answer);
    const error = await plugin.login(config).catch((reason) => reason);
    assert.equal(error.code, code, name);
  };
  await pour("a list");
  const before = peak();
  const poured = [
    "an endless body",
    "an endless chunked body",
    "a gzip bomb",
    "an endless header",
    "a flood of headers",
  ];
  for (const name of [...poured, "an endless chunk extension", "a body over 1 MiB"]) {
    for (let round = 0; round < 5; round += 1) await pour(name);
  }
  const afterBytes = peak();
  for (const name of ["deep JSON", "wide JSON", "an error with a description of 500 KB"]) {
    for (let round = 0; round < 5; round += 1) await pour(name);
  }
  const afterJson = peak();
  t.diagnostic(`peak RSS ${before} MiB, ${afterBytes} MiB after bytes, ${afterJson} MiB after JSON`);
  // The answer, twice; and a mebibyte of JSON as values.
  assert.ok(afterBytes - before < 16, `${before} → ${afterBytes} MiB`);
  assert.ok(afterJson - before < 160, `${before} → ${afterJson} MiB`);
});
