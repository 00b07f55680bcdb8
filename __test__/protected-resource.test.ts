/**
 * A resource that names its authorization server (RFC 9728), and later changes: the servers it may and may not name.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { doctor, getValidAccessToken, status } from "../index.js";
import { statusText } from "../plugin/status-text.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { approvedLogin, expireLogin } from "./support/login.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

/** A resource with a document that a test can change. */
async function resource(t: Lifetime) {
  const service = await StubServer.start(t, {
    routes: { "/mcp": { status: 401, headers: { "www-authenticate": "Bearer" } } },
  });
  const url = `${service.origin}/mcp`;
  const names = (...issuers: string[]) =>
    service.route("/.well-known/oauth-protected-resource/mcp", {
      status: 200,
      body: { resource: url, authorization_servers: issuers, scopes_supported: ["memory"] },
    });
  return { url, names };
}

describe("a resource that names another server later", { concurrency: 2 }, () => {
  test("the login stays with its issuer, and doctor and status say so", async (t) => {
    const { url, names } = await resource(t);
    const [first, second] = await Promise.all([
      AuthorizationServer.start(t, { resources: [url] }),
      AuthorizationServer.start(t, { resources: [url] }),
    ]);
    const { stateDir } = TempHome.create(t);
    const config = { pluginId: "memory", clientId: "public", resource: [url], stateDir };
    const found = async () => (await doctor(config)).checks.find(({ name }) => name === "resource");
    const said = `${url} names another authorization server by now, ${second.issuer}; the stored login stays with ${first.issuer}.`;

    names(first.issuer);
    const { status: before } = await approvedLogin(config);
    assert.equal(before.issuer, first.issuer);
    const well = await found();
    assert.deepEqual([well?.level, well?.message], ["ok", `${url} takes tokens of ${first.issuer}.`]);

    names(second.issuer);
    const moved = await found();
    assert.equal(moved?.level, "warning");
    assert.ok(moved?.message.startsWith(said), moved?.message);
    assert.match(moved?.fix ?? "", /^Log in again/);
    // The login stays valid for as long as its server says so, and no other server is asked.
    await expireLogin(config);
    await getValidAccessToken(config);
    assert.equal((await status(config)).issuer, first.issuer);
    const refreshes = { grant: "refresh_token" } as const;
    assert.deepEqual(
      (await first.requests(refreshes)).map(({ status }) => status),
      [200],
    );

    const { path } = before;
    const { refresh = "" } = new StoredCredential(path).read();
    await first.revokeLogins();
    await expireLogin(config);
    const ended = await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.ok(ended.message.includes(said), ended.message);
    const after = await status(config);
    assert.deepEqual([after.state, after.issuer], ["login_required", first.issuer]);
    assert.ok(statusText(after, "Memory").includes(said));
    const seen = await second.requests();
    assert.deepEqual(new Set(seen.map(({ endpoint }) => endpoint)), new Set(["discovery"]));
    assert.ok(refresh.length > 0 && !JSON.stringify(seen).includes(refresh));

    const { status: again } = await approvedLogin(config);
    assert.equal(again.issuer, second.issuer);
    assert.equal((await found())?.level, "ok");
  });

  test("where its server is gone, the error says so", async (t) => {
    const { url, names } = await resource(t);
    const [first, second] = await Promise.all([
      AuthorizationServer.start(t, { resources: [url] }),
      AuthorizationServer.start(t, { resources: [url] }),
    ]);
    const { stateDir } = TempHome.create(t);
    const config = { pluginId: "memory", clientId: "public", resource: [url], stateDir };
    names(first.issuer);
    await approvedLogin(config);
    names(second.issuer);
    await first.stop();
    await expireLogin(config);
    const error = await rejection(getValidAccessToken(config), "NETWORK");
    assert.match(error.message, /names another authorization server by now.*Log in again to change over\.$/);
    assert.equal((await status(config)).lastError?.message.includes(second.issuer), true);
    assert.deepEqual(await second.requests({ endpoint: "token" }), []);
  });
});
