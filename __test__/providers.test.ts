/** The documented answers of public providers, replayed: each comes to the right end. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { type AuthConfig, getValidAccessToken, login, logout, status } from "../index.js";
import { configFor } from "./support/login.ts";
import { type ProviderShape, ProviderStub, providerShapes, quickDevice, shapeAnswer } from "./support/provider-stub.ts";
import { rejection } from "./support/rejection.ts";
import type { StubAnswer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const approved: StubAnswer = {
  status: 200,
  body: { access_token: "ACCESS-TOKEN", token_type: "Bearer", expires_in: 3600, refresh_token: "REFRESH-TOKEN" },
};

/** The end of a login whose poll gets a shape of this step, unless it is a token. */
const pollEnds: Record<string, Parameters<typeof rejection>[1]> = {
  denied: "ACCESS_DENIED",
  access_denied: "ACCESS_DENIED",
  expired: "DEVICE_CODE_EXPIRED",
  expired_token: "DEVICE_CODE_EXPIRED",
  expired_first: "DEVICE_CODE_EXPIRED",
  // "Invalid or expired device code."
  expired_later: "DEVICE_CODE_EXPIRED",
  invalid_grant: "OAUTH_ERROR",
  invalid_client: "OAUTH_ERROR",
  admin_policy: "OAUTH_ERROR",
  org_internal: "OAUTH_ERROR",
  bad_code: "OAUTH_ERROR",
  bad_client: "OAUTH_ERROR",
  needs_secret: "OAUTH_ERROR",
  unknown_or_redeemed: "OAUTH_ERROR",
  client_not_enabled: "OAUTH_ERROR",
};

const pending = new Set([
  "pending",
  "pending.default",
  "pending.json",
  "authorization_pending",
  "session_not_yet_visible",
]);

// Most of them wait for the intervals of real providers.
describe("provider shapes", { concurrency: 32 }, () => {
  for (const shape of providerShapes()) {
    for (const assumed of shape.status === null ? [400, 200] : [shape.status]) {
      test(`${shape.provider} ${shape.step} (${assumed})`, async (t) => {
        const home = TempHome.create(t);
        const stub = await ProviderStub.start(t, { polls: [approved] });
        const config = configFor({ issuer: stub.issuer } as never, home.stateDir);
        const answer = shapeAnswer(shape, assumed);
        const [kind = "", ...rest] = shape.step.split(".");
        const step = rest.join(".");
        if (kind === "device_authorization") await deviceAuthorization(stub, config, shape, answer, step);
        else if (kind === "token") await poll(stub, config, shape, answer, step);
        else if (kind === "refresh") await refresh(stub, config, home, shape, answer, step);
        else await revocation(stub, config, answer);
      });
    }
  }
});

async function deviceAuthorization(
  stub: ProviderStub,
  config: AuthConfig,
  shape: ProviderShape,
  answer: StubAnswer,
  step: string,
) {
  stub.play({ deviceAuthorization: answer, polls: [approved] });
  if (step === "ok.xml") {
    await rejection(login(config, { onVerification: () => {} }), "INVALID_RESPONSE");
  } else if (step.startsWith("ok")) {
    const seen = new Promise<string>((resolve, reject) => {
      const stop = new AbortController();
      // The intervals of real providers are 5 s; this test is about the instructions shown.
      login(config, {
        onVerification: (verification) => {
          resolve(`${verification.verificationUri} ${verification.userCode}`);
          stop.abort();
        },
        signal: stop.signal,
      }).catch(reject);
    });
    const body = typeof shape.body === "string" ? Object.fromEntries(new URLSearchParams(shape.body)) : shape.body;
    const uri = new URL(String(body.verification_uri ?? body.verification_url)).href;
    assert.equal(await seen, `${uri} ${body.user_code}`);
  } else {
    const error = await login(config, { onVerification: () => {} }).catch((reason) => reason);
    const expected = { disabled: "OAUTH_ERROR", unauthorized: "OAUTH_ERROR" }[step];
    assert.ok(
      expected === undefined
        ? /DEVICE_FLOW_UNSUPPORTED|INVALID_RESPONSE|SERVER_ERROR/.test(error.code)
        : error.code === expected,
      `${error.code}: ${error.message}`,
    );
  }
}

async function poll(stub: ProviderStub, config: AuthConfig, shape: ProviderShape, answer: StubAnswer, step: string) {
  const body = shape.body as Record<string, unknown>;
  stub.play({ polls: [answer, approved] });
  const progress: string[] = [];
  const result = login(config, {
    onVerification: () => {},
    onProgress: ({ type }) => progress.push(type),
  });
  if (step.startsWith("ok")) {
    const { scopes, refreshable, expiresAt } = await result;
    assert.equal(await getValidAccessToken(config), body.access_token);
    assert.equal(refreshable, "refresh_token" in body);
    assert.equal(expiresAt !== undefined, "expires_in" in body);
    if (typeof body.scope === "string" && body.scope !== "") {
      assert.deepEqual(scopes, body.scope.split(body.scope.includes(" ") ? " " : ","));
    }
  } else if (pending.has(step) || step === "slow_down") {
    assert.equal((await result).state, "valid");
    assert.deepEqual(
      progress,
      ["waiting", step === "slow_down" ? "slow_down" : "waiting", "approved"].slice(progress.length === 2 ? 1 : 0),
    );
  } else {
    const expected = pollEnds[step];
    assert.ok(expected !== undefined, `no expectation for ${step}`);
    const error = await rejection(result, expected);
    assert.ok(error.oauthError);
    assert.doesNotMatch(error.message, /[\r\n]/);
  }
  // One poll decides, or one more after a wait: never another after success.
  assert.ok(stub.server.requestsOf("/token").length <= 2);
}

async function refresh(
  stub: ProviderStub,
  config: AuthConfig,
  home: TempHome,
  shape: ProviderShape,
  answer: StubAnswer,
  step: string,
) {
  await login(config, { onVerification: () => {} });
  const path = home.credentialPath("memory");
  stub.play({ deviceAuthorization: quickDevice, refreshes: [answer] });
  const credential = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(
    path,
    JSON.stringify({ ...credential, expires: Date.now() - 1000, refreshedAt: Date.now() - 3_600_000 }),
  );
  if (step.startsWith("ok")) {
    const body = shape.body as Record<string, unknown>;
    assert.equal(await getValidAccessToken(config), body.access_token);
    const { refresh } = JSON.parse(readFileSync(path, "utf8"));
    assert.equal(refresh, body.refresh_token ?? "REFRESH-TOKEN");
    assert.equal((await status(config)).state, "valid");
  } else {
    await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
    assert.equal((await status(config)).state, "login_required");
    assert.equal(stub.server.requestsOf("/token").length, 2);
  }
}

async function revocation(stub: ProviderStub, config: AuthConfig, answer: StubAnswer) {
  await login(config, { onVerification: () => {} });
  stub.play({ revocation: answer });
  assert.deepEqual(await logout(config), { revoked: true, removed: true });
}
