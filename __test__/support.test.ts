// Tests the foundation of the other tests: each part of support/ does what it says.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { connect } from "node:tls";
import { getValidAccessToken } from "../index.js";
import { AuthorizationServer, type AuthorizationServerOptions, clients } from "./support/authorization-server.ts";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { Child } from "./support/child.ts";
import { exchange } from "./support/exchange.ts";
import { Scope } from "./support/lifetime.ts";
import { approvedLogin, configFor, grantedLogin } from "./support/login.ts";
import { nodeMajors } from "./support/nodes.ts";
import { Person } from "./support/person.ts";
import { ProtectedApi } from "./support/protected-api.ts";
import { ProviderStub, providerShape, providerShapes, shapeAnswer } from "./support/provider-stub.ts";
import { HttpProxy, Wire } from "./support/proxy.ts";
import { decodedQrCode } from "./support/qr-decoder.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Members = Record<string, string>;
interface Answer {
  status: number;
  body: Members;
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

/** A client that speaks the protocol by hand. */
class Client {
  readonly #server: AuthorizationServer;
  readonly #parameters: Members;
  readonly #options: { ca?: string; headers?: Members };

  constructor(server: AuthorizationServer, parameters: Members = { client_id: "public" }, options = {}) {
    this.#server = server;
    this.#parameters = parameters;
    this.#options = options;
  }

  async post(url: string, parameters: Members): Promise<Answer> {
    const body = new URLSearchParams({ ...this.#parameters, ...parameters });
    const { status, text } = await exchange(url, { body, ...this.#options });
    return { status, body: text === "" ? {} : (JSON.parse(text) as Members) };
  }

  authorize(more: Members = {}): Promise<Answer> {
    const scope = "openid memory offline_access";
    return this.post(this.#server.endpoints.deviceAuthorizationEndpoint, { scope, ...more });
  }

  poll({ body }: Answer, more: Members = {}): Promise<Answer> {
    const device_code = body.device_code ?? "";
    return this.post(this.#server.endpoints.tokenEndpoint, { grant_type: deviceGrant, device_code, ...more });
  }

  refresh({ body }: Answer): Promise<Answer> {
    const refresh_token = body.refresh_token ?? "";
    return this.post(this.#server.endpoints.tokenEndpoint, { grant_type: "refresh_token", refresh_token });
  }

  /** A whole login. */
  async tokens(person = new Person(), more: Members = {}): Promise<Answer> {
    const device = await this.authorize(more);
    await person.approve(device.body.verification_uri_complete ?? "");
    const answer = await this.poll(device);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer;
  }
}

async function start(t: TestContext, options?: AuthorizationServerOptions) {
  const server = await AuthorizationServer.start(t, options);
  return { server, client: new Client(server) };
}

test("a person approves, and the code becomes tokens", async (t) => {
  const { server, client } = await start(t);
  const device = await client.authorize();
  assert.equal(device.body.interval, 1);
  assert.equal((await client.poll(device)).body.error, "authorization_pending");
  await new Person({ name: "grace" }).approve(device.body.verification_uri_complete ?? "");
  const { status, body } = await client.poll(device);
  assert.equal(status, 200);
  assert.equal(body.token_type, "Bearer");
  assert.equal(body.scope, "openid memory offline_access");
  assert.deepEqual(
    (await server.requests({ grant: "device_code" })).map((request) => [request.status, request.error]),
    [
      [400, "authorization_pending"],
      [200, undefined],
    ],
  );
});

test("a login that was granted at the server is stored as one that a person approved", async (t) => {
  const server = await AuthorizationServer.start(t);
  const posting = { ...clients.post, clientAuthentication: "client_secret_post" as const };
  for (const more of [{}, clients.basic, posting]) {
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir, more);
    const stored = async (login: typeof approvedLogin | typeof grantedLogin) => {
      const { status } = await login(config);
      const {
        access,
        refresh,
        expires = 0,
        createdAt,
        refreshedAt,
        ...others
      } = new StoredCredential(status.path).read();
      assert.ok(Math.abs(expires - refreshedAt - 3_600_000) < 60_000 && createdAt === refreshedAt);
      assert.ok(access !== refresh && access.length === refresh?.length);
      const token = await getValidAccessToken(config, { rejectedToken: access });
      assert.notEqual(token, access);
      assert.equal(new StoredCredential(status.path).read().access, token);
      return others;
    };
    const ofLogin = await stored(approvedLogin);
    rmSync(home.credentialPath("memory"));
    const { sequence } = (await server.requests()).at(-1) ?? assert.fail();
    assert.deepEqual(await stored(grantedLogin), ofLogin);
    const later = (await server.requests()).filter((request) => request.sequence > sequence);
    assert.deepEqual(
      later.map(({ grant }) => grant),
      ["refresh_token"],
    );
  }
});

test("a refresh rotates, and using a spent refresh token kills the newest", async (t) => {
  const { server, client } = await start(t);
  const first = await client.tokens();
  const second = await client.refresh(first);
  assert.equal(second.status, 200);
  assert.notEqual(second.body.refresh_token, first.body.refresh_token);
  const third = await client.refresh(second);
  assert.equal(third.status, 200);
  assert.equal((await client.refresh(first)).body.error, "invalid_grant");
  assert.equal((await client.refresh(third)).body.error, "invalid_grant");
  const spent = (await server.requests({ grant: "refresh_token" })).map(({ form }) => form?.refresh_token);
  assert.deepEqual(
    spent,
    [first, second, first, third].map(({ body }) => body.refresh_token),
  );
});

test("without rotation the refresh token stays, and an edit can leave it out", async (t) => {
  const { server, client } = await start(t, { rotation: false });
  const first = await client.tokens();
  assert.equal((await client.refresh(first)).body.refresh_token, first.body.refresh_token);
  await server.intercept({ grant: "refresh_token" }, { remove: ["refresh_token"], edit: { token_type: "bearer" } });
  const { body } = await client.refresh(first);
  assert.equal(body.refresh_token, undefined);
  assert.equal(body.token_type, "bearer");
});

test("redeeming a code twice revokes the login", async (t) => {
  const { client } = await start(t);
  const device = await client.authorize();
  await new Person().approve(device.body.verification_uri_complete ?? "");
  const tokens = await client.poll(device);
  assert.equal((await client.poll(device)).body.error, "invalid_grant");
  assert.equal((await client.refresh(tokens)).body.error, "invalid_grant");
});

test("a person denies the code, or refuses consent", async (t) => {
  const { client } = await start(t);
  for (const refusal of ["deny", "refuseConsent"] as const) {
    const device = await client.authorize();
    await new Person()[refusal](device.body.verification_uri_complete ?? "");
    assert.equal((await client.poll(device)).body.error, "access_denied", refusal);
  }
});

test("a device code expires", async (t) => {
  const { client } = await start(t, { deviceCodeTtl: 1 });
  const device = await client.authorize();
  const errors = new Set<string>();
  while (!errors.has("expired_token")) {
    errors.add((await client.poll(device)).body.error ?? "none");
  }
  assert.deepEqual([...errors], ["authorization_pending", "expired_token"]);
});

test("confidential clients, with reserved characters in id and secret", async (t) => {
  const { server } = await start(t);
  const { basic, post } = clients;
  const encoded = [basic.clientId, basic.clientSecret].map(encodeURIComponent).join(":");
  const authorization = `Basic ${Buffer.from(encoded).toString("base64")}`;
  await new Client(server, {}, { headers: { authorization } }).tokens();
  await new Client(server, { client_id: post.clientId, client_secret: post.clientSecret }).tokens();
  const seen = (await server.requests({ grant: "device_code" })).map((request) => [
    request.clientAuthentication,
    request.clientId,
    request.clientSecret,
  ]);
  assert.deepEqual(seen, [
    ["client_secret_basic", basic.clientId, basic.clientSecret],
    ["client_secret_post", post.clientId, post.clientSecret],
  ]);
});

test("a client registers itself, and is forgotten", async (t) => {
  const { server } = await start(t);
  const metadata = {
    token_endpoint_auth_method: "none",
    grant_types: [deviceGrant, "refresh_token"],
    response_types: [],
    redirect_uris: [],
  };
  const { status, text } = await exchange(server.endpoints.registrationEndpoint, {
    headers: { "content-type": "application/json" },
    body: JSON.stringify(metadata),
  });
  assert.equal(status, 201, text);
  const client = new Client(server, { client_id: (JSON.parse(text) as Members).client_id ?? "" });
  const tokens = await client.tokens();
  assert.deepEqual((await server.requests({ endpoint: "registration" }))[0]?.json, metadata);
  await server.forgetClients();
  assert.equal((await client.refresh(tokens)).body.error, "invalid_client");
});

test("logins and access tokens are revoked at the server", async (t) => {
  const { server, client } = await start(t);
  const api = await ProtectedApi.start(t, server);
  const tokens = await client.tokens(new Person({ name: "grace" }));
  assert.equal((await api.call(tokens.body.access_token ?? "")).subject, "grace");
  await server.revokeAccessTokens();
  assert.equal((await api.call(tokens.body.access_token ?? "")).status, 401);
  const refreshed = await client.refresh(tokens);
  assert.equal((await api.call(refreshed.body.access_token ?? "")).status, 200);
  await server.revokeLogins();
  assert.equal((await api.call(refreshed.body.access_token ?? "")).status, 401);
  assert.equal((await client.refresh(refreshed)).body.error, "invalid_grant");
  assert.equal(await server.stored("RefreshToken"), 0);
  assert.deepEqual(
    api.requests.map((request) => request.status),
    [200, 401, 200, 401],
  );
});

test("revocation by the client takes the refresh token", async (t) => {
  const { server, client } = await start(t);
  const tokens = await client.tokens();
  const { revocationEndpoint } = server.endpoints;
  assert.equal((await client.post(revocationEndpoint, { token: tokens.body.refresh_token ?? "" })).status, 200);
  assert.equal((await client.refresh(tokens)).body.error, "invalid_grant");
});

test("access tokens for a resource are JWTs, which the API checks by the server's keys", async (t) => {
  const resource = "https://memory.example.com/";
  const { server, client } = await start(t, { resources: [resource] });
  const api = await ProtectedApi.start(t, server, { check: "jwks" });
  const tokens = await client.tokens(new Person(), { resource });
  assert.equal(tokens.body.access_token?.split(".").length, 3);
  assert.deepEqual((await api.call(tokens.body.access_token ?? "")).subject, "ada");
  assert.equal((await api.call("not.a.token")).status, 401);
  const other = await client.authorize({ resource: "https://elsewhere.example.com/" });
  assert.equal(other.body.error, "invalid_target");
});

test("an access token ends after its seconds", async (t) => {
  const { server, client } = await start(t, { accessTokenTtl: 1 });
  const api = await ProtectedApi.start(t, server);
  const tokens = await client.tokens();
  let status = 200;
  while (status === 200) {
    ({ status } = await api.call(tokens.body.access_token ?? ""));
  }
  assert.equal(status, 401);
  assert.ok(api.requests.length > 1);
});

test("polls that come too early are told to slow down", async (t) => {
  const { server, client } = await start(t, { interval: 5, slowDown: { interval: 7 } });
  const device = await client.authorize();
  assert.equal(device.body.interval, 5);
  assert.equal((await client.poll(device)).body.error, "authorization_pending");
  assert.deepEqual((await client.poll(device)).body, { error: "slow_down", interval: 7 });
  assert.deepEqual(
    (await server.requests({ grant: "device_code" })).map((request) => request.early),
    [false, true],
  );
});

test("interval null names none", async (t) => {
  const { client } = await start(t, { interval: null });
  assert.equal("interval" in (await client.authorize()).body, false);
});

test("interceptions answer, replace, hold and break", async (t) => {
  const { server, client } = await start(t);
  const tokens = await client.tokens();

  const gateway = { status: 502, headers: { "content-type": "text/html" }, body: "<h1>Bad Gateway</h1>" };
  const answered = await server.intercept({ endpoint: "device_authorization", nth: 2 }, { respond: gateway });
  assert.equal((await client.authorize()).status, 200);
  const { status, text } = await exchange(server.endpoints.deviceAuthorizationEndpoint, {
    body: new URLSearchParams({ client_id: "public" }),
  });
  assert.deepEqual([status, text], [502, gateway.body]);
  assert.equal((await answered.arrived).endpoint, "device_authorization");
  assert.equal((await client.authorize()).status, 200);

  // Handled by the provider, held back: the refresh token is spent though no answer has come.
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const refreshing = client.refresh(tokens);
  assert.equal((await held.arrived).status, undefined);
  await held.release();
  const second = await refreshing;
  assert.equal(second.status, 200);
  assert.equal((await server.request({ grant: "refresh_token" }, 1)).status, 200);
  await held.remove();

  for (const destroy of ["before", "after", "within"] as const) {
    const broken = await server.intercept({ endpoint: "device_authorization" }, { destroy });
    await assert.rejects(client.authorize(), { code: "ECONNRESET" }, destroy);
    await broken.remove();
  }
  assert.equal((await client.authorize()).status, 200);

  // The answer is replaced after the provider has rotated: the client's refresh token is spent.
  await server.intercept({ grant: "refresh_token", nth: 1 }, { replace: { status: 503, body: { error: "busy" } } });
  assert.deepEqual((await client.refresh(second)).body, { error: "busy" });
  assert.equal((await client.refresh(second)).body.error, "invalid_grant");
});

test("https, with an authority that has to be trusted", async (t) => {
  const authority = await CertificateAuthority.create(TempHome.create(t).path);
  const tls = await authority.issue();
  const ca = authority.certificate;
  const server = await AuthorizationServer.start(t, { tls, host: "localhost" });
  assert.match(server.issuer, /^https:\/\/localhost:\d+$/);
  const client = new Client(server, { client_id: "public" }, { ca });
  const tokens = await client.tokens(new Person({ ca }));
  const api = await ProtectedApi.start(t, server, { ca });
  assert.equal((await api.call(tokens.body.access_token ?? "")).status, 200);
  assert.equal(readFileSync(authority.path, "utf8"), ca);

  await assert.rejects(exchange(server.issuer), { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" });
  const stranger = await StubServer.start(t, { tls: await authority.issue({ names: ["elsewhere.example"] }) });
  await assert.rejects(exchange(stranger.origin, { ca }), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
  const old = await StubServer.start(t, { tls: await authority.issue({ expired: true }) });
  await assert.rejects(exchange(old.origin, { ca }), { code: "CERT_HAS_EXPIRED" });
  // The whole chain also holds for IP addresses.
  const agent = new https.Agent({ ca });
  const byAddress = server.origin.replace("localhost", "127.0.0.1");
  await new Promise((resolve, reject) => {
    https.get(`${byAddress}/jwks`, { agent }, resolve).on("error", reject);
  });
  agent.destroy();
});

test("an issuer with a path, its metadata where RFC 8414 puts it", async (t) => {
  const { server, client } = await start(t, { path: "/tenant" });
  assert.match(server.issuer, /\/tenant$/);
  const inserted = await exchange(`${server.origin}/.well-known/oauth-authorization-server/tenant`);
  const metadata = JSON.parse(inserted.text) as Members;
  assert.equal(metadata.issuer, server.issuer);
  assert.equal(metadata.token_endpoint, server.endpoints.tokenEndpoint);
  assert.equal(metadata.device_authorization_endpoint, server.endpoints.deviceAuthorizationEndpoint);
  assert.equal(metadata.revocation_endpoint, server.endpoints.revocationEndpoint);
  assert.equal(metadata.registration_endpoint, server.endpoints.registrationEndpoint);
  assert.equal((await exchange(`${server.issuer}/.well-known/oauth-authorization-server`)).status, 404);
  assert.equal((await exchange(`${server.issuer}/.well-known/openid-configuration`)).status, 200);
  assert.equal((await client.tokens()).status, 200);
});

test("discovery by RFC 8414 alone, by OpenID Connect alone, or none", async (t) => {
  const found = async (discovery: "oidc" | "rfc8414" | "none") => {
    const { issuer } = await AuthorizationServer.start(t, { discovery });
    const names = ["oauth-authorization-server", "openid-configuration"];
    return Promise.all(names.map(async (name) => (await exchange(`${issuer}/.well-known/${name}`)).status));
  };
  assert.deepEqual(await found("rfc8414"), [200, 404]);
  assert.deepEqual(await found("oidc"), [404, 200]);
  assert.deepEqual(await found("none"), [404, 404]);
});

test("a server ends with its lifetime, and another may take its port", async (t) => {
  const scope = new Scope();
  const first = await AuthorizationServer.start(scope);
  await scope.end();
  await assert.rejects(exchange(first.issuer), { code: "ECONNREFUSED" });
  await assert.rejects(first.requests(), /has ended/);
  const second = await AuthorizationServer.start(t, { port: Number(new URL(first.origin).port) });
  assert.equal(second.issuer, first.issuer);
  await second.stop();
  await second.stop();
});

test("a server that cannot start says why", async (t) => {
  const first = await AuthorizationServer.start(t);
  const port = Number(new URL(first.origin).port);
  await assert.rejects(AuthorizationServer.start(t, { port }), /did not start.*EADDRINUSE/s);
});

test("a stub answers as configured", async (t) => {
  const stub = await StubServer.start(t, {
    routes: {
      "/turns": [
        { status: 500, body: "no" },
        { status: 200, body: { yes: true } },
      ],
      "/odd": { bytes: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut" },
      "/reset": "reset",
      "/silent": "stall",
      "/asked": ({ form }, nth) => ({ status: 200, body: `${form.get("who")} ${nth}` }),
    },
  });
  stub.describe({ extra: 1 });
  const texts = await Promise.all([1, 2, 3].map(async () => (await exchange(`${stub.origin}/turns`)).text));
  assert.deepEqual(texts.sort(), ["no", '{"yes":true}', '{"yes":true}']);
  await assert.rejects(exchange(`${stub.origin}/odd`), { code: "ECONNRESET" });
  await assert.rejects(exchange(`${stub.origin}/reset`), { code: "ECONNRESET" });
  const silent = assert.rejects(exchange(`${stub.origin}/silent`), { code: "ECONNRESET" });
  assert.equal((await stub.request("/silent")).method, "GET");
  const asked = await exchange(`${stub.origin}/asked`, { body: new URLSearchParams({ who: "ada" }) });
  assert.equal(asked.text, "ada 1");
  assert.equal((await exchange(`${stub.origin}/elsewhere`)).status, 404);
  const metadata = await exchange(`${stub.origin}/.well-known/oauth-authorization-server`);
  assert.equal((JSON.parse(metadata.text) as Members).issuer, stub.origin);
  assert.equal(stub.requestsOf("/turns").length, 3);
  await stub.stop();
  await silent;
});

test("every documented provider answer can be replayed", async (t) => {
  assert.ok(providerShapes().length > 60);
  for (const shape of providerShapes()) {
    const stub = await ProviderStub.start(t, { polls: [shapeAnswer(shape)] });
    const { status, text } = await exchange(`${stub.issuer}/token`, {
      body: new URLSearchParams({ grant_type: deviceGrant }),
    });
    assert.equal(status, shape.status ?? 400);
    assert.equal(text, typeof shape.body === "string" ? shape.body : JSON.stringify(shape.body));
    await stub.server.stop();
  }
});

test("a provider stub plays polls and refreshes in turn", async (t) => {
  const answer = (step: string) => shapeAnswer(providerShape("GitHub", step));
  const stub = await ProviderStub.start(t, {
    polls: [answer("token.pending.default"), answer("token.ok.github_app")],
    refreshes: [answer("refresh.fail")],
  });
  const ask = async (grant_type: string) =>
    (await exchange(`${stub.issuer}/token`, { body: new URLSearchParams({ grant_type }) })).text;
  assert.equal(await ask(deviceGrant), "error=authorization_pending");
  assert.match(await ask("refresh_token"), /bad_refresh_token/);
  assert.match(await ask(deviceGrant), /ghu_PLACEHOLDER/);
});

test("a wire passes on, refuses, resets, cuts and stalls", async (t) => {
  const stub = await StubServer.start(t, { routes: { "/": { status: 200, body: "x".repeat(1000) } } });
  const wire = await Wire.start(t, stub.origin);
  const through = wire.through(stub.origin);
  assert.equal((await exchange(through)).text.length, 1000);

  await wire.refuse();
  await assert.rejects(exchange(through), { code: "ECONNREFUSED" });
  await wire.accept();
  assert.equal((await exchange(through)).status, 200);

  wire.misbehave({ atRequestByte: 0 });
  await assert.rejects(exchange(through), { code: "ECONNRESET" });
  wire.misbehave({ atRequestByte: 10 });
  await assert.rejects(exchange(through), { code: "ECONNRESET" });
  assert.equal(stub.requests.length, 2);
  for (const ending of ["reset", "close"] as const) {
    wire.misbehave({ atResponseByte: 500, ending });
    await assert.rejects(exchange(through), { code: "ECONNRESET" });
  }
  assert.equal(stub.requests.length, 4);

  wire.misbehave({ atResponseByte: 500, ending: "stall" });
  const stalled = assert.rejects(exchange(through), { code: "ECONNRESET" });
  await stub.request("/", 5);
  wire.breakConnections();
  await stalled;

  wire.misbehave({ latency: 10 });
  assert.equal((await exchange(through)).text.length, 1000);
  wire.misbehave();
  assert.equal((await exchange(through)).text.length, 1000);
  assert.equal(wire.connections, 9);
});

test("an HTTP proxy forwards, tunnels, and wants its password", async (t) => {
  const authority = await CertificateAuthority.create(TempHome.create(t).path);
  const routes = { "/": { status: 200, body: "hello" } };
  const plain = await StubServer.start(t, { routes });
  const secure = await StubServer.start(t, { routes, tls: await authority.issue({ names: ["named.example"] }) });
  const proxy = await HttpProxy.start(t, {
    credentials: "me:secret",
    resolve: { "named.example:80": new URL(plain.origin).host, "named.example:443": new URL(secure.origin).host },
  });
  const { hostname, port } = new URL(proxy.url);
  const credentials = { "proxy-authorization": `Basic ${Buffer.from("me:secret").toString("base64")}` };
  // A proxy is asked for a whole URL where a server is asked for a path.
  const forward = async (headers: Members) => {
    const request = http.get({ hostname, port, path: "http://named.example/", headers, agent: false });
    const [answer] = (await once(request, "response")) as [http.IncomingMessage];
    return answer.resume().statusCode;
  };
  assert.equal(await forward({}), 407);
  assert.equal(await forward(credentials), 200);
  assert.equal(plain.requests[0]?.headers["proxy-authorization"], undefined);

  const tunnel = async (headers: Members) => {
    const options = { hostname, port, method: "CONNECT", path: "named.example:443", headers, agent: false as const };
    const [answer, socket] = (await once(http.request(options).end(), "connect")) as [http.IncomingMessage, Socket];
    return { status: answer.statusCode, socket };
  };
  assert.equal((await tunnel({})).status, 407);
  const { status, socket } = await tunnel(credentials);
  assert.equal(status, 200);
  const ca = authority.certificate;
  const through = https.get("https://named.example/", {
    ca,
    createConnection: () => connect({ socket, ca, servername: "named.example" }),
  });
  const [answer] = (await once(through, "response")) as [http.IncomingMessage];
  assert.equal(answer.resume().statusCode, 200);
  assert.deepEqual(
    proxy.requests.map((request) => `${request.method} ${request.target} ${request.status}`),
    [
      "GET http://named.example/ 407",
      "GET http://named.example/ 200",
      "CONNECT named.example:443 407",
      "CONNECT named.example:443 200",
    ],
  );
});

test("children on every Node report, listen, and end", async (t) => {
  const home = TempHome.create(t);
  await Promise.all(
    nodeMajors.map(async (node) => {
      const child = Child.start(t, "echo.mjs", { node, env: home.env() });
      const ready = await child.event("ready");
      assert.match(String(ready.version), new RegExp(`^v${node}\\.`));
      assert.equal(ready.home, home.path);
      assert.equal(ready.proxy, undefined);
      child.send({ hello: node });
      assert.deepEqual((await child.event("heard")).said, { hello: node });
      child.endInput();
      assert.deepEqual(await child.exit, { code: 0, signal: null });
      await assert.rejects(child.event("more"), /ended .* without "more"/);
    }),
  );
});

test("a child is killed by a real signal, and with its lifetime", async (t) => {
  const home = TempHome.create(t);
  const child = Child.start(t, "echo.mjs", { env: home.env() });
  await child.event("ready");
  const waiting = assert.rejects(child.event("never"), /without "never"/);
  child.signal("SIGTERM");
  assert.deepEqual(await child.exit, { code: null, signal: "SIGTERM" });
  await waiting;

  const scope = new Scope();
  const other = Child.start(scope, "echo.mjs", { env: home.env() });
  await other.event("ready");
  await scope.end();
  assert.deepEqual(await other.exit, { code: null, signal: "SIGKILL" });
});

test("a temporary home goes with its lifetime", async () => {
  const scope = new Scope();
  const home = TempHome.create(scope);
  assert.ok(existsSync(home.path));
  assert.equal(home.credentialPath("memory"), `${home.stateDir}/credentials/memory/default.json`);
  assert.equal(home.env({ A: "1" }).A, "1");
  await scope.end();
  assert.equal(existsSync(home.path), false);
});

test("a QR code is read from a dark terminal, and one whose colours are swapped is not", () => {
  const drawing = readFileSync(new URL("fixtures/qr-code.txt", import.meta.url), "utf8").trimEnd();
  const text = "https://example.com/device?user_code=ABCD-EFGH";
  assert.equal(decodedQrCode(drawing), text);
  const swapped: Members = { "█": " ", " ": "█", "▀": "▄", "▄": "▀" };
  const inverted = [...drawing].map((character) => swapped[character] ?? character).join("");
  assert.equal(decodedQrCode(`\u001b[97m${drawing}\u001b[0m`), text);
  assert.throws(() => decodedQrCode(inverted), /No QR code/);
  assert.throws(() => decodedQrCode("  \n  "), /No QR code/);
});
