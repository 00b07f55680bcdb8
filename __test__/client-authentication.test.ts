/**
 * Client authentication (RFC 6749 §2.3.1), resource indicators (RFC 8707) and PKCE in the device flow (RFC 7636), to
 * the letter: by the real authorization server, by one that is stricter than any, and by one that does not decode.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { type AuthConfig, getValidAccessToken, login, logout, refreshTokens } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { approvedLogin, configFor, expireLogin } from "./support/login.ts";
import { quickDevice } from "./support/provider-stub.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { type StubAnswer, type StubRequest, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];
type Method = "client_secret_basic" | "client_secret_post";

const methods: Method[] = ["client_secret_basic", "client_secret_post"];
/** RFC 6749 appendix A.1, A.2: all that an id or a secret may hold. */
const everything = String.fromCharCode(...Array.from({ length: 95 }, (_, index) => 0x20 + index));
const pairs: [string, string, string][] = [
  ["every character of RFC 6749", `id${everything}`, `secret${everything}`],
  ["percent signs that look encoded", "my%20client%3A", "%41%2B%zz%"],
  ["plus signs and spaces", "a+b c", " +c d+ "],
  ["colons", "https://client.example/id:7", "a:b:c"],
  ["other scripts", "клиент-ü", "pässwörd€\u{1f511}"],
];

describe("client authentication", { concurrency: 8 }, () => {
  for (const method of methods) {
    for (const [name, clientId, clientSecret] of pairs.slice(0, 4)) {
      test(`${name}, by ${method}, at the real server`, async (t) => {
        const client = {
          client_id: clientId,
          client_secret: clientSecret,
          token_endpoint_auth_method: method,
          grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
          response_types: [],
          redirect_uris: [],
        };
        const server = await AuthorizationServer.start(t, { clients: [client] });
        const home = TempHome.create(t);
        const config = configFor(server, home.stateDir, { clientId, clientSecret, clientAuthentication: method });
        await approvedLogin(config);
        await expireLogin(config);
        await getValidAccessToken(config);
        assert.deepEqual(await logout(config), { revoked: true, removed: true });
        const refresh = await server.request({ grant: "refresh_token" });
        assert.deepEqual([refresh.clientAuthentication, refresh.status], [method, 200]);
      });
    }

    for (const [name, clientId, clientSecret] of pairs) {
      test(`${name}, by ${method}, at a server that decodes by the letter`, async (t) => {
        const { config, stub } = await deviceServer(t, (request) => {
          const { authorization } = request.headers;
          if (method === "client_secret_post") {
            return authorization === undefined && isClient(request, clientId, clientSecret);
          }
          // RFC 6749 §2.3: no more than one method in each request.
          if (request.form.has("client_secret")) return false;
          const [id, secret, ...more] = basic(request).split(":").map(decoded);
          return more.length === 0 && id === clientId && secret === clientSecret;
        });
        await life({ ...config, clientId, clientSecret, clientAuthentication: method });
        assert.ok(stub.requestsOf("/revoke").length > 0);
      });
    }
  }

  test("a server that does not decode: what needs no encoding arrives as it is", async (t) => {
    const [clientId, clientSecret] = ["0oa1-b_c.D~e*f", "S3cr3t-with_all.that~is*unreserved"];
    const { config } = await deviceServer(t, (request) => basic(request) === `${clientId}:${clientSecret}`);
    await life({ ...config, clientId, clientSecret });
  });

  test("a server that does not decode: else an error that says where to look, and the other method works", async (t) => {
    const [clientId, clientSecret] = ["my client", "canary/+=&"];
    const { config } = await deviceServer(
      t,
      (request) => basic(request) === `${clientId}:${clientSecret}` || isClient(request, clientId, clientSecret),
    );
    const client = { ...config, clientId, clientSecret };
    const error = await rejection(login(client, { onVerification: () => {} }), "OAUTH_ERROR");
    assert.equal(error.oauthError, "invalid_client");
    assert.match(error.message, /Check clientId, clientSecret and clientAuthentication\.$/);
    assert.doesNotMatch(error.message, /canary/);
    await life({ ...client, clientAuthentication: "client_secret_post" });
  });
});

describe("resource indicators", { concurrency: 4 }, () => {
  const [first, second] = ["https://memory.example.com/a?b=c&d=é", "https://calendar.example.com/"] as const;

  test("several, at login, at refresh and without a store: each is sent, and the token is for one of them", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [first, second], severalResources: true });
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir, { resource: [first, second] });
    await approvedLogin(config);
    await expireLogin(config);
    const token = await getValidAccessToken(config);
    assert.equal(audience(token), first);
    for (const match of [
      { endpoint: "device_authorization" },
      { grant: "device_code" },
      { grant: "refresh_token" },
    ] as const) {
      const { form, status } = await server.request(match);
      assert.deepEqual(form?.resource, [first, second]);
      assert.ok(status === 200 || match.grant === "device_code");
    }
    const { refresh = "" } = new StoredCredential(home.credentialPath("memory")).read();
    assert.equal(audience((await refreshTokens(config, refresh)).access), first);
  });

  test("a server that wants one at a time: the error says so", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [first, second] });
    const home = TempHome.create(t);
    const several = approvedLogin(configFor(server, home.stateDir, { resource: [first, second] }));
    const error = await rejection(several, "OAUTH_ERROR");
    assert.equal(error.oauthError, "invalid_target");
    assert.match(error.message, /Check the configured resource; some servers give a token for no more than one\.$/);
    const config = configFor(server, home.stateDir, { resource: [second] });
    await approvedLogin(config);
    await expireLogin(config);
    assert.equal(audience(await getValidAccessToken(config)), second);
  });

  test("one that the server does not know", async (t) => {
    const server = await AuthorizationServer.start(t, { resources: [first] });
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir, { resource: ["https://elsewhere.example.com"] });
    const error = await rejection(login(config, { onVerification: () => {} }), "OAUTH_ERROR");
    assert.equal(error.oauthError, "invalid_target");
  });
});

describe("PKCE in the device flow", { concurrency: 4 }, () => {
  for (const description of [
    "Missing parameter: code_challenge_method",
    "PKCE is required for this client",
    "Code challenge required",
  ]) {
    test(`demanded in the words "${description}": asked once more with it, and its verifier opens the token`, async (t) => {
      const { config, stub } = await deviceServer(t, () => true, description);
      await life({ ...config, clientId: "c" });
      assert.equal(stub.requestsOf("/device").length, 2);
      const refresh = stub.requestsOf("/token").at(-1);
      assert.deepEqual([...(refresh?.form.keys() ?? [])].sort(), ["client_id", "grant_type", "refresh_token"]);
    });
  }

  test("configured: in the first request already, and each login has a verifier of its own", async (t) => {
    const { config, stub } = await deviceServer(t, () => true, "Missing parameter: code_challenge");
    for (const profile of ["one", "two"]) {
      await login({ ...config, clientId: "c", pkce: true, profile }, { onVerification: () => {} });
    }
    const challenges = stub.requestsOf("/device").map(({ form }) => form.get("code_challenge"));
    assert.equal(challenges.length, 2);
    assert.equal(new Set(challenges).size, 2);
  });

  test("another invalid_request is not asked again", async (t) => {
    const stub = await StubServer.start(t);
    stub.describe();
    stub.route("/device", { status: 400, body: { error: "invalid_request", error_description: "scope is malformed" } });
    const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: TempHome.create(t).stateDir };
    await rejection(login(config, { onVerification: () => {} }), "OAUTH_ERROR");
    assert.equal(stub.requestsOf("/device").length, 1);
  });

  test("a server that demands it, but in a second request still does: its refusal, after two requests", async (t) => {
    const stub = await StubServer.start(t);
    stub.describe();
    const answer = { status: 400, body: { error: "invalid_request", error_description: "PKCE with plain, please" } };
    stub.route("/device", answer);
    const config = { pluginId: "memory", issuer: stub.origin, clientId: "c", stateDir: TempHome.create(t).stateDir };
    const error = await rejection(login(config, { onVerification: () => {} }), "OAUTH_ERROR");
    assert.equal(error.oauthErrorDescription, "PKCE with plain, please");
    assert.equal(stub.requestsOf("/device").length, 2);
  });
});

/** Login, refresh and logout, each as the client that the server wants. */
async function life(config: AuthConfig): Promise<void> {
  assert.equal((await login(config, { onVerification: () => {} })).state, "valid");
  await expireLogin(config);
  assert.equal(await getValidAccessToken(config), "refresh_token");
  assert.deepEqual(await logout(config), { revoked: true, removed: true });
}

/** A server that accepts only such a client, and where `pkce` holds an error text, only with PKCE. */
async function deviceServer(t: Test, isWelcome: (request: StubRequest) => boolean, pkce?: string) {
  const stub = await StubServer.start(t);
  stub.describe();
  let challenge: string | null = null;
  const refusal = (error: string, error_description = "no"): StubAnswer => ({
    status: error === "invalid_client" ? 401 : 400,
    body: { error, error_description },
  });
  stub.route("/device", (request) => {
    if (!isWelcome(request)) return refusal("invalid_client");
    challenge = request.form.get("code_challenge");
    const hasPkce = challenge !== null && request.form.get("code_challenge_method") === "S256";
    return pkce !== undefined && !hasPkce ? refusal("invalid_request", pkce) : quickDevice;
  });
  stub.route("/token", (request) => {
    if (!isWelcome(request)) return refusal("invalid_client");
    const grant = request.form.get("grant_type") ?? "";
    const verifier = request.form.get("code_verifier") ?? "";
    const proof = createHash("sha256").update(verifier).digest("base64url");
    if (pkce !== undefined && grant !== "refresh_token" && proof !== challenge) return refusal("invalid_grant");
    return { status: 200, body: { access_token: grant, refresh_token: "r", token_type: "Bearer", expires_in: 3600 } };
  });
  stub.route("/revoke", (request) => (isWelcome(request) ? { status: 200 } : refusal("invalid_client")));
  const config: AuthConfig = { pluginId: "memory", issuer: stub.origin, stateDir: TempHome.create(t).stateDir };
  return { config, stub };
}

function isClient({ form }: StubRequest, id: string, secret: string): boolean {
  return form.get("client_id") === id && form.get("client_secret") === secret;
}

/** The contents of the Basic header, not decoded. */
function basic({ headers }: StubRequest): string {
  const encoded = headers.authorization?.startsWith("Basic ") ? headers.authorization.slice(6) : "";
  return Buffer.from(encoded, "base64").toString();
}

/** RFC 6749 appendix B, and nothing that would not be so encoded. */
function decoded(part: string): string | undefined {
  if (!/^(?:[\w.~*+-]|%[\dA-F]{2})*$/.test(part)) return undefined;
  const bytes = part
    .replaceAll("+", " ")
    .replace(/%(..)/g, (_all, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(bytes, "latin1"));
}

function audience(token: string): string {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).aud;
}
