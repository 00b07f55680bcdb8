// Logins at real protected resources by their URL alone, and real MCP clients over the kit's `fetch`: `npm run
// test:servers`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { pluginAuth } from "../../dist/index.js";
import { AuthError, getValidAccessToken, login, logout, status } from "../../index.js";
import { Person } from "../support/person.ts";
import { betterAuthServer } from "./better-auth.mjs";
import { cloudflareServer } from "./cloudflare.mjs";
import { mcpSdkExample } from "./mcp-sdk.mjs";
import { oidcServer } from "./oidc.mjs";
import { fastmcpProxy, pythonServer } from "./python.mjs";

/** The PDS needs a built SQLite: `npm run test:servers -- --pds` builds it, which takes minutes. */
const pdsMissing = existsSync(new URL("pds/node_modules/better-sqlite3/build/Release", import.meta.url))
  ? false
  : "the PDS is not installed: node scripts/test-servers.mjs --pds";

function stateDir(t) {
  const folder = mkdtempSync(join(tmpdir(), "servers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Logs in as a person would; resolves to the page that was shown and the status. */
async function logIn(config, server) {
  let page;
  const abort = new AbortController();
  const status = await login(config, {
    remote: false,
    signal: abort.signal,
    onVerification: ({ verificationUri }) => {
      page = new URL(verificationUri);
      const approved = server.approve(verificationUri).then((last) => {
        if (last.status >= 400) throw new Error(`${last.url}: ${last.status} ${last.text}`);
      });
      approved.catch((error) => abort.abort(error));
    },
  }).catch((error) => {
    throw error.cause ?? error;
  });
  return { page, status };
}

/** Logs in from a process of its own. */
async function logInElsewhere(config, server) {
  const script = new URL("log-in.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, JSON.stringify(config)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said += text;
    if (said.endsWith("\n") && said.startsWith("http") && !child.isApproved) {
      child.isApproved = true;
      server.approve(said.trim()).catch((error) => child.kill() && console.error(error));
    }
  });
  const [code] = await once(child, "close");
  assert.equal(code, 0, said);
  return new URL(said.split("\n")[0]);
}

function clientOf(kind, { fetch }, resource) {
  const [Kind, Transport] = kind === 1 ? [Client1, Transport1] : [Client, StreamableHTTPClientTransport];
  return { client: new Kind({ name: "lab", version: "1" }), transport: new Transport(new URL(resource), { fetch }) };
}

/** One call of a tool by that client. */
async function call(kind, auth, { resource, tool = ["tea", {}] }, name = tool[0]) {
  const { client, transport } = clientOf(kind, auth, resource);
  await client.connect(transport);
  try {
    const { content } = await client.callTool({ name, arguments: name === tool[0] ? tool[1] : {} });
    return content[0].text;
  } finally {
    await client.close();
  }
}

async function expire(config) {
  const { path } = await status(config);
  const stored = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...stored, expires: Date.now() - 1000 }), { mode: 0o600 });
}

/**
 * A copy of the file, as a thief would have it, is good for nothing: neither its access token nor its refresh token.
 */
async function assertEnded(copy, { config, path, use }, { hasSelfContainedTokens = false }) {
  for (const expires of hasSelfContainedTokens ? [Date.now() - 1000] : [copy.expires, Date.now() - 1000]) {
    writeFileSync(path, JSON.stringify({ ...copy, expires }), { mode: 0o600 });
    // Nothing on this machine knows better: only the server refuses it.
    assert.equal((await status(config)).state, "valid");
    const error = await use().then(assert.fail, (reason) => reason);
    assert.equal(error.code, "LOGIN_REQUIRED", error.message);
  }
}

const clientIdOf = (page) => page.searchParams.get("client_id");

/** The life of a login; `can` says what the server cannot. */
async function life(t, server, { canRefresh = true, canRevoke = true, canRaise = false, options = {} } = {}) {
  const { resource, answer = /green/ } = server;
  const config = { pluginId: "lab", clientName: "Lab", stateDir: stateDir(t), resource: [resource], ...options };
  const { pluginId, ...kit } = config;
  const auth = pluginAuth({ id: pluginId, name: "Lab", logger: console }, { ...kit, keepFresh: false });

  const first = await logIn(config, server);
  assert.equal(first.status.state, canRefresh ? "valid" : "expiring");
  assert.match(await call(1, auth, server), answer);
  assert.match(await call(2, auth, server), answer);

  if (canRefresh) {
    assert.equal(first.status.refreshable, true);
    const before = await getValidAccessToken(config);
    await expire(config);
    server.requests?.splice(0);
    // Concurrent calls at expiry cost one refresh, and nothing is discovered.
    await Promise.all([call(1, auth, server), call(2, auth, server), call(2, auth, server)]);
    assert.notEqual(await getValidAccessToken(config), before);
    const asked = server.requests ?? [];
    assert.equal(asked.filter((line) => line.startsWith("POST /token")).length, server.requests ? 1 : 0, asked.join());
    assert.deepEqual(
      asked.filter((line) => line.includes("well-known")),
      [],
    );
  }

  server.requests?.splice(0);
  const second = await logInElsewhere(config, server);
  assert.equal(clientIdOf(second), clientIdOf(first.page), "the client is kept");
  // The page of a pushed request shows nothing of it.
  assert.deepEqual(
    server.requests?.filter((line) => line === "POST /reg"),
    server.requests && [],
  );
  assert.match(await call(2, auth, server), answer);

  if (canRaise) {
    for (const kind of [1, 2]) {
      const error = await call(kind, auth, server, "write").then(assert.fail, (reason) => reason);
      assert.ok(error instanceof AuthError, error);
      assert.equal(error.code, "SCOPE_REQUIRED");
      assert.equal(error.needsLogin, true);
      assert.deepEqual(error.scopes, ["write"]);
      assert.match(error.message, /\(write\).*run `openclaw lab login`/);
    }
    assert.deepEqual((await auth.status()).missingScopes, ["write"]);
    const raised = await logIn(config, server);
    assert.equal(raised.status.missingScopes, undefined);
    for (const scope of ["read", "write"]) assert.ok(raised.status.scopes.includes(scope), raised.status.scopes.join());
    assert.match(await call(2, auth, server, "write"), answer);
  }

  const { path } = await status(config);
  const copy = JSON.parse(readFileSync(path, "utf8"));
  assert.deepEqual(await logout(config), { revoked: canRevoke, removed: true });
  const error = await call(2, auth, server).then(assert.fail, (reason) => reason);
  assert.match(error.message, /Lab needs a login: run `openclaw lab login`/);
  if (canRevoke) await assertEnded(copy, { config, path, use: () => call(2, auth, server) }, server);
  return first;
}

describe("by its URL alone", { concurrency: 3 }, () => {
  test("@modelcontextprotocol/sdk 1.x, its example server with --oauth-strict", async (t) => {
    const { page } = await life(t, await mcpSdkExample(t), { canRefresh: false, canRevoke: false });
    assert.equal(page.searchParams.get("scope"), "mcp:tools");
  });

  test("the 2.x server packages before oidc-provider with registration", async (t) => {
    const server = await oidcServer(t);
    const { page } = await life(t, server, { canRaise: true });
    assert.equal(page.searchParams.get("scope"), "read offline_access");
    assert.equal(page.searchParams.get("resource"), server.resource);
  });

  test("@cloudflare/workers-oauth-provider", async (t) => {
    await life(t, await cloudflareServer(t), { canRaise: true });
  });

  test("better-auth's MCP plugin, which answers to POST alone", async (t) => {
    const server = { ...(await betterAuthServer(t)), hasSelfContainedTokens: true };
    const { page } = await life(t, server, { canRaise: true });
    assert.equal(page.searchParams.get("scope"), "read offline_access");
  });

  for (const kind of ["fastmcp", "sdk"]) {
    test(`${kind} of Python`, async (t) => {
      await life(t, await pythonServer(t, kind), { canRevoke: kind === "fastmcp" });
    });
  }

  test("FastMCP's OAuth proxy", async (t) => {
    await life(t, await fastmcpProxy(t), { canRevoke: false });
  });
});

describe("streams", () => {
  for (const kind of [1, 2]) {
    test(`of client ${kind}.x: open while their token is replaced; 202, and DELETE`, async (t) => {
      let release;
      const { promise: isHeld, resolve: arrived } = Promise.withResolvers();
      const hold = () =>
        new Promise((resolve) => {
          release = resolve;
          arrived();
        });
      const server = await oidcServer(t, { hold });
      const config = { pluginId: "lab", clientName: "Lab", stateDir: stateDir(t), resource: [server.resource] };
      await logIn(config, server);
      const { pluginId, ...kit } = config;
      const auth = pluginAuth({ id: pluginId, name: "Lab", logger: console }, { ...kit, keepFresh: false });

      const answers = [];
      const { promise: isListening, resolve: listens } = Promise.withResolvers();
      const fetch = async (input, init) => {
        const answer = await auth.fetch(input, init);
        answers.push(`${init.method} ${answer.status}`);
        if (init.method === "GET") listens();
        return answer;
      };
      const { client, transport } = clientOf(kind, { fetch }, server.resource);
      await client.connect(transport);
      const text = async (name) => (await client.callTool({ name, arguments: {} })).content[0].text;
      const held = text("hold");
      await Promise.all([isHeld, isListening]);

      // The server no longer knows the token: the next request costs a refresh, and the open answer goes on.
      const first = await getValidAccessToken(config);
      await (await server.provider.AccessToken.find(first)).destroy();
      server.requests.splice(0);
      assert.equal(await text("tea"), "green");
      assert.deepEqual(server.requests, ["POST /mcp", "POST /token", "POST /mcp"]);
      assert.notEqual(await getValidAccessToken(config), first);
      release();
      assert.equal(await held, "green");
      await transport.terminateSession();
      await client.close();
      assert.deepEqual(answers.sort(), ["DELETE 200", "GET 200", "POST 200", "POST 200", "POST 200", "POST 202"]);
    });
  }
});

describe("strict servers", { concurrency: 3 }, () => {
  /** A key pair: the path of the private half in a file, and the public half for the server. */
  function keyPair(t, form) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const path = join(stateDir(t), "key");
    const text =
      form === "pem"
        ? privateKey.export({ format: "pem", type: "pkcs8" })
        : JSON.stringify({ ...privateKey.export({ format: "jwk" }), kid: "k1" });
    writeFileSync(path, text, { mode: 0o600 });
    const jwk = { ...publicKey.export({ format: "jwk" }), ...(form === "jwk" && { kid: "k1" }) };
    return { path, jwks: { keys: [{ ...jwk, use: "sig", alg: "ES256" }] } };
  }

  for (const [form, isKnown] of [
    ["pem", false],
    ["jwk", true],
  ]) {
    const who = isKnown ? "a client that is known there" : "a client that is registered";
    test(`FAPI 2.0 of oidc-provider: private_key_jwt with a ${form} of ${who}, pushed requests, DPoP with nonces`, async (t) => {
      const { path, jwks } = keyPair(t, form);
      const client = {
        client_id: "strict",
        application_type: "native",
        redirect_uris: ["http://127.0.0.1/callback"],
        grant_types: ["authorization_code", "refresh_token"],
        token_endpoint_auth_method: "private_key_jwt",
        token_endpoint_auth_signing_alg: "ES256",
        dpop_bound_access_tokens: true,
        jwks,
      };
      const methods = ["private_key_jwt"];
      const clients = isKnown ? [client] : [];
      const server = await oidcServer(t, {
        profile: "fapi",
        pushed: "required",
        methods,
        dpop: true,
        clients,
        registration: !isKnown,
      });
      const known = isKnown ? { clientId: "strict" } : {};
      const base = { pluginId: "lab", stateDir: stateDir(t), resource: [server.resource], ...known };

      const pushedProofs = [];
      server.provider.on("pushed_authorization_request.success", ({ headers }) => pushedProofs.push(headers.dpop));

      // Before a person is troubled.
      const refused = await login(base, { onVerification: assert.fail }).then(assert.fail, (error) => error);
      assert.equal(refused.code, "INVALID_CONFIG");
      assert.match(refused.message, /takes no other client authentication than private_key_jwt\. Give .*clientKey/);

      const options = { ...known, clientAuthentication: "private_key_jwt", clientKey: path, dpop: true };
      const { page, status: found } = await life(t, server, { canRaise: true, options });
      // The page is on this machine, and nothing of the request is in the address that the server gets.
      assert.equal(page.hostname, "127.0.0.1");
      assert.equal(page.search, "");
      assert.equal(found.dpop, true);
      // The challenge's, not all that the resource lists.
      assert.deepEqual(found.scopes, ["read"]);
      // RFC 9449 section 10.1: with a proof the code, too, is bound to the key.
      assert.equal(pushedProofs.filter(Boolean).length, 3);
    });
  }

  test("pushed requests where they are demanded, by URL alone", async (t) => {
    const server = await oidcServer(t, { pushed: "required" });
    const { page } = await life(t, server, { canRaise: true });
    assert.equal(page.search, "");
  });

  test("a pushed request that has expired before the page was opened elsewhere: another one", async (t) => {
    const server = await oidcServer(t, { pushed: "required" });
    const config = { pluginId: "lab", stateDir: stateDir(t), resource: [server.resource] };
    const pages = [];
    const questions = [];
    const status = await login(config, {
      remote: true,
      onVerification: ({ verificationUri }) => pages.push(verificationUri),
      async onPaste({ message }) {
        questions.push(message);
        if (questions.length === 1) return "";
        const back = await new Person().authorize(pages.at(-1));
        return back.href;
      },
    });
    assert.equal(status.state, "valid");
    assert.equal(pages.length, 2);
    for (const page of pages) assert.match(page, /\/auth\?client_id=[^&]*&request_uri=urn/);
    assert.notEqual(pages[0], pages[1]);
    assert.match(questions[0], /says that it has expired, enter nothing/);
  });

  test("a client id metadata document", async (t) => {
    const clientMetadataUrl = "https://lab.example/oauth-client.json";
    const document = {
      client_id: clientMetadataUrl,
      client_name: "Lab",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/callback"],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
    const server = await oidcServer(t, {
      registration: false,
      features: { clientIdMetadataDocument: { enabled: true, ack: "draft-02" } },
      fetch: async (url) => {
        assert.equal(String(url), clientMetadataUrl);
        return Response.json(document);
      },
    });
    const base = { pluginId: "lab", stateDir: stateDir(t), resource: [server.resource] };
    const without = await login(base, { onVerification: assert.fail }).then(assert.fail, (error) => error);
    assert.equal(without.code, "REGISTRATION_FAILED");
    assert.match(
      without.message,
      /client id metadata document, which it takes, and give its URL as `clientMetadataUrl`/,
    );
    const { page } = await life(t, server, { options: { clientMetadataUrl } });
    assert.equal(clientIdOf(page), clientMetadataUrl);
  });

  test("Bluesky's PDS: pushed requests, DPoP, and a revocation that holds", { skip: pdsMissing }, async (t) => {
    const { pdsServer } = await import("./pds/server.mjs");
    const server = await pdsServer(t);
    // atproto's clients for development are named like this, with all that they may ever ask for.
    const named = { redirect_uri: "http://127.0.0.1/callback", scope: "atproto transition:generic" };
    const clientId = `http://localhost?${new URLSearchParams(named)}`;
    const resource = [server.resource];
    const config = { pluginId: "lab", stateDir: stateDir(t), resource, clientId, scopes: ["atproto"], dpop: true };
    const { pluginId, ...kit } = config;
    const auth = pluginAuth({ id: pluginId, name: "Lab", logger: console }, { ...kit, keepFresh: false });
    const xrpc = (name, init) => auth.fetch(`${server.origin}/xrpc/com.atproto.${name}`, init);
    const session = async () => (await xrpc("server.getSession")).json();
    const record = { $type: "app.bsky.feed.post", text: "green", createdAt: new Date().toISOString() };
    const body = JSON.stringify({ repo: server.did, collection: record.$type, record });
    const post = () =>
      xrpc("repo.createRecord", { method: "POST", headers: { "content-type": "application/json" }, body });

    const { page, status: found } = await logIn(config, server);
    assert.equal(page.hostname, "127.0.0.1");
    assert.deepEqual(found.account, { id: server.did });
    assert.deepEqual(found.scopes, ["atproto"]);
    assert.equal((await session()).did, server.did);

    const before = await getValidAccessToken(config);
    await expire(config);
    const dids = await Promise.all([session(), session(), session()]);
    assert.deepEqual(
      dids.map(({ did }) => did),
      [server.did, server.did, server.did],
    );
    const refreshed = await getValidAccessToken(config);
    assert.notEqual(refreshed, before);

    await logInElsewhere(config, server);
    assert.equal((await session()).did, server.did);
    assert.notEqual(await getValidAccessToken(config), refreshed);

    // The answer names the scope in its body alone: the plugin reads it there.
    const refused = await post();
    assert.equal(refused.status, 403);
    assert.equal(refused.headers.get("www-authenticate"), null);
    assert.equal((await refused.json()).error, "ScopeMissingError");
    const lacking = await getValidAccessToken(config, { requiredScope: "transition:generic" }).then(
      assert.fail,
      (error) => error,
    );
    assert.equal(lacking.code, "SCOPE_REQUIRED");
    assert.deepEqual(lacking.scopes, ["transition:generic"]);
    const raised = await logIn(config, server);
    assert.deepEqual(raised.status.scopes, ["atproto", "transition:generic"]);
    assert.equal(raised.status.missingScopes, undefined);
    const posted = await post();
    assert.equal(posted.status, 200);
    assert.match((await posted.json()).uri, new RegExp(`^at://${server.did}/app.bsky.feed.post/`));

    const { path } = await status(config);
    const copy = JSON.parse(readFileSync(path, "utf8"));
    assert.deepEqual(await logout(config), { revoked: true, removed: true });
    await assertEnded(copy, { config, path, use: session }, server);
  });
});
