/** Answers as servers in the wild give them: what arrived is used, what was said is believed, and no login is lost to a flaw. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AuthConfig, type AuthErrorCode, getValidAccessToken, importToken, login, status } from "../index.js";
import { rejection } from "./support/rejection.ts";
import { type StubRoute, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

/** A login whose access token has ended, at a token endpoint that answers like that. */
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
  // One pause after a failure is a second; what is asked for again then spends the new refresh token.
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
