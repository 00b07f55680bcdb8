/**
 * Seeds of the corpora: the documented answers of public providers, what the real oidc-provider answers, files as the
 * store writes them, and things that no honest party would send.
 *
 *     node --import tsx fuzz/seed.mts
 *
 * Then `npm run fuzz` grows them, and `npm run fuzz -- --minimize` keeps what each adds.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { AuthorizationServer } from "../__test__/support/authorization-server.ts";
import { type ExchangeAnswer, exchange } from "../__test__/support/exchange.ts";
import { ForeignFile, formats, layouts } from "../__test__/support/foreign-file.ts";
import { Scope } from "../__test__/support/lifetime.ts";
import { Person } from "../__test__/support/person.ts";
import { providerShapes } from "../__test__/support/provider-stub.ts";

// As src/oauth/fuzzing.rs reads them.
const statuses = [200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 422, 429, 500, 501, 503];

function seed(target: string, ...parts: (string | Buffer | number[])[]): void {
  const input = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  const corpus = fileURLToPath(new URL(`corpus/${target}.base64`, import.meta.url));
  const line = `${input.toString("base64")}\n`;
  const known = existsSync(corpus) ? readFileSync(corpus, "utf8") : "";
  if (!`\n${known}`.includes(`\n${line}`)) appendFileSync(corpus, line);
}

/** An answer as an input. */
function answer(status: number, body: unknown, retryAfter = 0): Buffer {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const index = statuses.indexOf(status);
  return Buffer.concat([Buffer.from([index === -1 ? 8 : index, retryAfter]), Buffer.from(text)]);
}

/** A redirect as an input of each endpoint. */
function redirects(body: string): void {
  for (let endpoint = 0; endpoint < 6; endpoint += 1) seed("redirect", [43 * endpoint + (endpoint % 9), 0], body);
}

const responses = ["device_authorization", "token_response", "error_response", "verification"];

function foreignFiles(): void {
  const more = { counter: 1, lastRefresh: "2026-01-01T00:00:00Z" };
  for (const [index, format] of formats.entries()) {
    seed(
      "foreign_file",
      [index],
      layouts[format].text(ForeignFile.theirs(), more).replaceAll("memory:work", "memory:default"),
    );
  }
  seed("foreign_file", [2], '{"OPENAI_API_KEY":"sk-1","tokens":null}');
  seed("foreign_file", [4], '{"memory":{"access":"a","refresh":"r","expires":1},"anthropic":{}}');
}

function fromShapes(): void {
  for (const { step, status, body } of providerShapes()) {
    const played = answer(status ?? 400, body);
    for (const target of responses) {
      const own = step.startsWith("device_authorization")
        ? ["device_authorization", "verification"]
        : responses.slice(1, 3);
      if (own.includes(target) || target === "error_response") {
        seed(target, played);
      }
    }
    if (step.endsWith("ok") || step.endsWith("pending")) {
      redirects(typeof body === "string" ? body : JSON.stringify(body));
    }
    if (status === null) {
      seed("token_response", answer(200, body));
    }
    seed("server_text", typeof body === "string" ? body : Object.values(body).join(" "));
  }
}

async function fromRealServer(): Promise<void> {
  const scope = new Scope();
  try {
    const server = await AuthorizationServer.start(scope, { interval: 1 });
    const { deviceAuthorizationEndpoint, tokenEndpoint, revocationEndpoint, registrationEndpoint } = server.endpoints;
    const form = (url: string, members: Record<string, string>) =>
      exchange(url, { body: new URLSearchParams({ client_id: "public", ...members }) });
    const documents = await Promise.all(
      ["oauth-authorization-server", "openid-configuration"].map((name) =>
        exchange(`${server.origin}/.well-known/${name}`),
      ),
    );
    const named = documents.map(({ text }) => text.replaceAll(server.origin, "http://localhost:8080"));
    const secure = named.map((text) => text.replaceAll("http://localhost:8080", "https://a.example/tenant"));
    seed("metadata", [1], answer(200, named[0]), [0xff], answer(200, named[1]));
    seed("metadata", [0], answer(200, secure[0]), [0xff], answer(200, secure[1]));
    seed("metadata", [0], answer(404, "Not Found"), [0xff], answer(200, secure[1]));

    const keep = (targets: string[], { status, text }: ExchangeAnswer) => {
      for (const target of targets) seed(target, answer(status, text));
      redirects(text);
    };
    const registered = await exchange(registrationEndpoint, {
      body: JSON.stringify({ redirect_uris: [], grant_types: [], response_types: [], client_name: "x" }),
      headers: { "content-type": "application/json" },
    });
    keep(["registration"], registered);
    const refused = await exchange(registrationEndpoint, {
      body: JSON.stringify({ redirect_uris: ["no"] }),
      headers: { "content-type": "application/json" },
    });
    keep(["registration", "error_response"], refused);
    seed("registration", answer(refused.status, refused.text), [0xff], answer(registered.status, registered.text));

    const device = await form(deviceAuthorizationEndpoint, { scope: "memory offline_access" });
    keep(["device_authorization", "verification"], device);
    keep(["error_response"], await form(deviceAuthorizationEndpoint, { client_id: "nobody" }));
    const { device_code, verification_uri_complete } = JSON.parse(device.text) as Record<string, string>;
    const poll = {
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      device_code: String(device_code),
    };
    keep(["token_response", "error_response"], await form(tokenEndpoint, poll));
    await new Person({}).approve(String(verification_uri_complete));
    const tokens = await form(tokenEndpoint, poll);
    keep(["token_response"], tokens);
    const { refresh_token } = JSON.parse(tokens.text) as Record<string, string>;
    const refresh = { grant_type: "refresh_token", refresh_token: String(refresh_token) };
    keep(["token_response"], await form(tokenEndpoint, refresh));
    keep(["token_response", "error_response"], await form(tokenEndpoint, refresh));
    keep(["error_response"], await form(revocationEndpoint, { token: "x" }));
  } finally {
    await scope.end();
  }
}

function byHand(): void {
  const tokens = { access_token: "canary-access", token_type: "bearer", expires_in: 3600, refresh_token: "canary-r" };
  const jwt = `e30.${Buffer.from('{"exp":1700003600,"iat":1700000000}').toString("base64url")}.s`;
  for (const more of [
    {},
    { scope: "a b", id_token: "x.y.z" },
    { scope: ["a", "b"], expires_in: "3600" },
    { access_token: jwt, expires_in: null },
    { expires_in: 1e308 },
    { error: "", error_description: "canary-access" },
    { access_token: "a\r\nX: y" },
    { token_type: "DPoP" },
  ]) {
    seed("token_response", answer(200, { ...tokens, ...more }));
  }
  seed("token_response", answer(200, new URLSearchParams({ access_token: "a", scope: "x,y" }).toString()));
  for (const body of [
    { error: "authorization_pending" },
    { error: "slow_down", interval: 10 },
    { error: "access_denied", error_description: "\u001b]8;;https://evil.example\u0007no\u202e" },
    { error: "invalid_grant", error_description: "canary-refresh+/= is old", error_uri: "https://a.example/help" },
    { error: { code: 1, message: "canary-client-secret expired_token" }, refresh_token: "canary-mine" },
    { errors: [{ message: "invalid_client" }], message: "Unauthorized" },
    { error: "Bad Request", message: ["x"] },
    "<html>502",
    "",
    "[]",
    "error=slow_down&interval=7",
  ]) {
    for (const status of [400, 200, 401, 503]) seed("error_response", answer(status, body, 200));
  }
  const device = {
    device_code: "canary-device",
    user_code: "WDJB-MJHT",
    verification_uri: "https://a.example/device",
    expires_in: 900,
  };
  for (const more of [
    { verification_uri_complete: "https://a.example/device?user_code=WDJB-MJHT", interval: 5 },
    { user_code: 123456, interval: "5" },
    { user_code: "\u001b[31mAB\u202eCD", verification_uri: "https://a.example\\@evil.example/" },
    { verification_uri: "https://user@evil.example/", verification_url: "https://a.example/x" },
    { interval: -1 },
    { interval: 0.001, expires_in: 1e-300 },
    { verification_uri: "https://xn--pple-43d.com/é" },
  ]) {
    seed("device_authorization", answer(200, { ...device, ...more }));
    seed("verification", answer(200, { ...device, ...more }));
  }
  const client = {
    client_id: "canary-id",
    client_secret: "canary-s",
    client_secret_expires_at: 1893456000,
    registration_client_uri: "https://a.example/register/c",
    registration_access_token: "canary-r",
  };
  seed("registration", answer(201, client));
  seed("registration", answer(201, { ...client, token_endpoint_auth_method: "none", client_id: "a\u202eb" }));
  seed("registration", answer(400, { error: "invalid_redirect_uri" }), [0xff], answer(201, client));
  const foreign = { issuer: "https://evil.example", token_endpoint: "http://127.0.0.1/x" };
  seed("metadata", [0], answer(200, foreign), [0xff], answer(503, ""));
  seed("metadata", [0], answer(200, { ...foreign, issuer: "https://a.example/tenant" }));

  for (const text of [
    "120",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT|Sun, 06 Nov 1994 08:49:07 GMT",
    "Sun Nov  6 08:49:37 1994|Sun Nov  6 08:49:37 1994",
    "Fri, 31 Dec 9999 23:59:60 GMT",
  ]) {
    seed("retry_after", text);
  }
  for (const text of [
    "https://a.example/token?tenant=1",
    "https://user:pass@a.example/",
    "http://localhost.:8080/a@b",
    "http://[::1]:9/",
    "http://2130706433/",
    "https:\\\\a.example\\@b.example",
    "https://a.example/#x",
    "https://xn--pple-43d.com/",
    "https://аpple.com/",
    " https://a.example/\t\n",
    "ms-msdt:/id PCWDiagnostic",
    "javascript:alert(1)",
    "https://a.example/\u202e\u001b[2J",
  ]) {
    for (const target of ["endpoint", "issuer", "server_text"]) seed(target, text);
  }
  for (const head of [
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n",
    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n",
    "HTTP/1.1 307 Temporary Redirect\r\nlocation: //evil.example/?\u00e9\r\n",
    "HTTP/1.1 308 Permanent Redirect\r\nLocation: /token\r\nSet-Cookie: a=b\r\n",
    "HTTP/1.1 301 \r\nlocation:\r\nlocation: https://[::1\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 429 Slow\r\nretry-after: 5\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "HTTP/1.0 200 OK\r\ncontent-encoding: gzip\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n",
    "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n",
  ]) {
    seed("answer", `${head}content-length: 2\r\n\r\n{}`);
    seed("answer", `${head}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n`);
    seed("answer", `${head}\r\n{}`);
    seed("answer", `${head}content-length: 999999999999\r\n\r\n{}`);
  }
  seed("answer", "{}");

  const credential = {
    version: 1,
    access: "canary-secret-a",
    refresh: "canary-secret-r",
    expires: 1700003600000,
    createdAt: 1700000000000,
    refreshedAt: 1700000000000,
    tokenType: "Bearer",
    scopes: ["memory"],
    issuer: "https://a.example",
    tokenEndpoint: "https://a.example/token",
    revocationEndpoint: "https://a.example/revoke",
    clientId: "c",
    clientAuthentication: "none",
    registeredClient: true,
    idToken: "x.y.z",
    foreign: { a: [1, 2.5, null, "x"] },
  };
  const failed = {
    failedAt: 1,
    nextAttemptAt: 1700000060000,
    code: "NETWORK",
    message: "x",
    final: false,
    boundTo: "0",
  };
  for (const file of [
    credential,
    { ...credential, lastRefresh: failed },
    { ...credential, lastRefresh: { ...failed, failedAt: -1e300, nextAttemptAt: 1e300 } },
    { version: 1, access: "a", expires: -9e18 },
    { version: 1, loggedOutAt: 1700000000000, adopted: { path: "/x", sha256: "0" } },
    { version: 2, access: "a" },
    { version: 1, access: "a", refresh: null, scopes: null },
  ]) {
    seed("credential_file", JSON.stringify(file, null, 2));
  }
  // Fingerprint::of("spent"): each part after its length in eight bytes.
  const spent = createHash("sha256")
    .update(Buffer.from([0, 0, 0, 0, 0, 0, 0, 5]))
    .update("spent")
    .digest("hex");
  seed("leftover_file", JSON.stringify({ ...credential, replaces: spent }), Buffer.alloc(8));
  seed("leftover_file", JSON.stringify({ version: 1, access: "a", refresh: "spent", refreshedAt: 5, replaces: spent }));
  seed("leftover_file", JSON.stringify({ version: 2, replaces: spent }));
  seed("leftover_file", JSON.stringify(credential));
  for (const login of [
    {
      access: "canary-secret-a",
      refresh: "r",
      expires: 1700000000000,
      clientId: "c",
      tokenEndpoint: "t",
      scopes: ["x"],
    },
    {
      access_token: "a",
      refresh_token: "r",
      expires_at: "1700000000",
      client_id: "c",
      created_at: 1.6e9,
      scope: "x y",
    },
    { accessToken: "a", expiresAt: -1, version: 1 },
  ]) {
    seed("handwritten_login", JSON.stringify(login));
  }
  const stored = {
    clientId: "c",
    clientSecret: "canary-secret-s",
    secretExpiresAt: 1,
    authentication: "none",
    createdAt: 1,
  };
  const many = Array.from({ length: 9 }, (_, index) => ({ clientId: `c${index}` }));
  seed("registrations_file", JSON.stringify({ version: 1, clients: [stored, { clientId: "new", x: 1 }], y: 2 }));
  seed("registrations_file", JSON.stringify({ version: 1, clients: many }));
  for (const name of ["my-memory", "@scope/name", "..", "con.txt", "%63on", "A%41", "a\u0000/../b"]) {
    seed("file_name", name);
  }
  for (const config of [
    { pluginId: "m", issuer: "https://a.example", scopes: ["a", "offline_access"] },
    {
      pluginId: "m",
      tokenEndpoint: "http://localhost/t",
      deviceAuthorizationEndpoint: "https://a.example/d",
      clientId: "c",
      clientSecret: "canary-secret",
      clientAuthentication: "client_secret_post",
      clientMetadata: { client_uri: null },
      resource: ["https://r.example"],
      extraParameters: { prompt: "login" },
      pkce: true,
      refreshBufferMs: 1,
      requestTimeoutMs: 1000.5,
      lockTimeoutMs: 0,
      profile: "work",
      audience: "x",
      stateDir: "/x",
    },
    { pluginId: "m", isuer: "x" },
    { pluginId: "m", extraParameters: { client_id: "x" } },
  ]) {
    seed("config", JSON.stringify(config));
  }
}

foreignFiles();
fromShapes();
byHand();
await fromRealServer();
