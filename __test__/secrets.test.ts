/** Canaries: no token, code or secret shows up anywhere but in the credential file. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { type AuthConfig, getValidAccessToken, listProfiles, login, logout, refreshTokens, status } from "../index.js";
import { type StubAnswer, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const canaries = {
  deviceCode: "canary-device-code",
  access: "canary-access-token",
  refresh: "canary-refresh-token",
  idToken: "canary-id-token",
  clientSecret: "canary-client-secret",
  registeredSecret: "canary-registered-secret",
  registrationToken: "canary-registration-token",
  body: "canary-in-a-body",
};
const everything = Object.values(canaries).join(" ");

/**
 * Every way in which a server can fail. Its description may quote values that were sent to it (`known`); text that is
 * not a description is never shown.
 */
const failures: Record<string, (known: string) => StubAnswer> = {
  "an OAuth error": (known) => ({
    status: 400,
    body: { error: "invalid_request", error_description: known, error_uri: `https://example.com/?${known}` },
  }),
  "an unknown OAuth error": (known) => ({ status: 400, body: { error: "odd_error", error_description: known } }),
  "a refusal": (known) => ({ status: 400, body: { error: "invalid_grant", error_description: known } }),
  "a rejected client": (known) => ({ status: 401, body: { error: "invalid_client", error_description: known } }),
  "an error that is no code": (known) => ({ status: 400, body: { error: known, message: known } }),
  "a nested error": (known) => ({ status: 400, body: { error: { code: 1, message: known } } }),
  "a page": () => ({ status: 200, headers: { "content-type": "text/html" }, body: `<html>${everything}` }),
  "a gateway's page": () => ({ status: 502, body: `<html>${everything}` }),
  "truncated JSON": () => ({
    status: 200,
    headers: { "content-type": "application/json" },
    body: `{"access_token":"${everything}`,
  }),
  "a token of the wrong type": () => ({ status: 200, body: { access_token: { value: everything } } }),
  "a token with spaces": () => ({ status: 200, body: { access_token: everything, token_type: "Bearer" } }),
  "a token type that was not asked for": () => ({
    status: 200,
    body: { access_token: canaries.access, token_type: "mac" },
  }),
  "a redirect": () => ({ status: 302, headers: { location: `https://example.com/${canaries.access}` } }),
  "too many requests": () => ({ status: 429, headers: { "retry-after": "9999" }, body: everything }),
  "a broken connection": () => ({
    bytes: `HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n${everything}`,
    ending: "reset",
  }),
};

// Most of them wait: for a poll's interval, or before the one replay.
describe("nothing is given away", { concurrency: 16 }, () => {
  for (const [name, failure] of Object.entries(failures)) {
    test(`${name} at any endpoint`, async (t) => {
      const { stub, config } = await started(t);
      const seen: unknown[] = [];

      for (const [path, known] of [
        ["/.well-known/oauth-authorization-server", ""],
        ["/register", ""],
        ["/device", canaries.registeredSecret],
        ["/token", `${canaries.registeredSecret} ${canaries.deviceCode}`],
      ] as const) {
        play(stub);
        stub.route(path, failure(known));
        const stop = new AbortController();
        const ended = login(config, {
          onVerification: (verification) => void seen.push(verification),
          onProgress: (event) => {
            seen.push(event);
            // A transient failure is asked about again, until the code ends.
            if (event.type === "retrying") stop.abort();
          },
          signal: stop.signal,
        });
        seen.push(await ended.catch((error) => error));
      }
      play(stub);
      const loggedIn = await login(config, { onVerification: () => {} });
      seen.push(loggedIn);
      const refresh = failure(`${canaries.registeredSecret} ${canaries.refresh}`);
      stub.route("/token", refresh);
      stub.route("/revoke", refresh);
      seen.push(await getValidAccessToken(config, { rejectedToken: canaries.access }).catch((error) => error));
      stub.route("/token", failure(`${canaries.refresh} ${canaries.clientSecret}`));
      const outside = {
        ...config,
        clientId: "c",
        clientSecret: canaries.clientSecret,
        tokenEndpoint: `${stub.origin}/token`,
      };
      seen.push(await refreshTokens(outside, canaries.refresh).catch((error) => error));
      seen.push(await status(config), await listProfiles(config));
      // The result of a failed round in the file is read by other processes.
      const { lastRefresh } = JSON.parse(readFileSync(loggedIn.path, "utf8"));
      seen.push(lastRefresh, await logout(config).catch((error) => error));
      const lock = readdirSync(dirname(loggedIn.path)).filter((file) => file.endsWith(".lock"));
      seen.push(...lock.map((file) => readFileSync(join(dirname(loggedIn.path), file), "utf8")));

      assert.ok(seen.length > 10);
      for (const item of seen) {
        for (const text of [
          inspect(item, { depth: 9, showHidden: true }),
          JSON.stringify(item) ?? "",
          String(item),
          (item as Error)?.stack ?? "",
        ]) {
          assert.doesNotMatch(text, /canary/);
        }
      }
    });
  }
});

test("after a logout no file holds a token", async (t) => {
  const { stub, config, home } = await started(t);
  play(stub);
  await login(config, { onVerification: () => {} });
  await logout(config);
  for (const file of readdirSync(home.stateDir, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const text = readFileSync(join(file.parentPath ?? file.path, file.name), "utf8");
    for (const token of [canaries.access, canaries.refresh, canaries.idToken, canaries.deviceCode]) {
      assert.ok(!text.includes(token), file.name);
    }
  }
});

test("the process report and the environment of a crash hold no token", async (t) => {
  const { stub, config } = await started(t);
  play(stub);
  await login(config, { onVerification: () => {} });
  const report = JSON.stringify(process.report?.getReport() ?? {});
  assert.doesNotMatch(report, /canary-(access|refresh|device)/);
});

async function started(t: Parameters<typeof TempHome.create>[0]) {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: stub.origin,
    stateDir: home.stateDir,
    clientAuthentication: "client_secret_post",
  };
  return { home, stub, config };
}

/** A server on which everything succeeds. */
function play(stub: StubServer) {
  stub.describe({ registration_endpoint: `${stub.origin}/register` });
  stub.route("/register", {
    status: 201,
    body: {
      client_id: "registered",
      client_secret: canaries.registeredSecret,
      client_secret_expires_at: 0,
      registration_access_token: canaries.registrationToken,
      registration_client_uri: `${stub.origin}/register/1`,
      token_endpoint_auth_method: "client_secret_post",
    },
  });
  stub.route("/device", {
    status: 200,
    body: {
      device_code: canaries.deviceCode,
      user_code: "ABCD-EFGH",
      verification_uri: "https://example.com/device",
      expires_in: 600,
      interval: 1,
    },
  });
  stub.route("/token", {
    status: 200,
    body: {
      access_token: canaries.access,
      refresh_token: canaries.refresh,
      id_token: canaries.idToken,
      token_type: "Bearer",
      expires_in: 3600,
    },
  });
  stub.route("/revoke", { status: 200 });
}
