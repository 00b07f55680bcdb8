/**
 * A broken network at every step: each of {@link networkFaults} during discovery, registration, device authorization,
 * polling, refresh and revocation. Each case has its own wire to the real authorization server (rotation and reuse
 * detection on); the server's own log shows which requests got through.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ProgressEvent } from "../index.js";
import { type AuthConfig, type AuthError, getValidAccessToken, login, logout, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Scope } from "./support/lifetime.ts";
import { approvedLogin, complete, grantedLogin } from "./support/login.ts";
import { mend, type NetworkFault, networkFaults } from "./support/network-fault.ts";
import { Person } from "./support/person.ts";
import { Wire } from "./support/proxy.ts";
import { rejection } from "./support/rejection.ts";
import { StoredCredential } from "./support/stored-credential.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];
type Step = "discovery" | "registration" | "device authorization" | "polling" | "refresh" | "revocation";

const concurrently = { concurrency: 8 };
const scope = new Scope();
let server: AuthorizationServer;
// A client per case, so that the log of their one server shows the case of each request.
const clientIds = Array.from({ length: 8 * networkFaults.length + 8 }, (_, index) => `case-${index}`);

before(async () => {
  const grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"];
  const device = { grant_types, response_types: [], redirect_uris: [], token_endpoint_auth_method: "none" };
  const clients = clientIds.map((client_id) => ({ client_id, application_type: "native", ...device }));
  server = await AuthorizationServer.start(scope, { clients });
});
after(() => scope.end());

describe("a network that fails", { concurrency: 2 }, () => {
  for (const step of ["discovery", "registration", "device authorization"] as const) {
    describe(`during ${step}`, concurrently, () => {
      for (const fault of networkFaults) {
        test(`${fault.name}: no login, the stored one stays`, async (t) => {
          const { wire, config, clientId } = await prepared(t, step);
          const stored = { ...config, clientId };
          await grantedLogin(stored, server);
          const token = await getValidAccessToken(stored);

          await fault.begin(wire);
          const onVerification = () => assert.fail("no code can have come");
          told(await rejection(login(hurried(config, fault), { onVerification }), codeDuring(step, fault)), fault);
          assert.equal((await status(stored)).state, "valid");
          assert.equal(await getValidAccessToken(stored), token);

          await mend(wire);
          assert.equal((await approvedLogin(config)).status.state, "valid");
        });
      }
    });
  }

  describe("during polling", concurrently, () => {
    for (const fault of networkFaults) {
      // An answer that is not an OAuth response is transient too, until the code ends.
      test(`${fault.name}: the login goes on`, async (t) => {
        const { wire, config, clientId } = await prepared(t, "polling");
        const controller = new AbortController();
        const since = Date.now();
        let retrying: (event: ProgressEvent) => void = () => {};
        const retried = new Promise<ProgressEvent>((resolve) => {
          retrying = resolve;
        });
        const outcome = login(hurried(config, fault), {
          signal: controller.signal,
          onVerification: async (verification) => {
            await fault.begin(wire);
            await new Person().approve(complete(verification));
          },
          onProgress: (event) => {
            if (event.type === "retrying") retrying(event);
          },
        });
        const event = await Promise.race([retried, outcome]);
        assert.ok("type" in event, "it went on");
        assert.match(event.detail ?? "", /127\.0\.0\.1.*\.$/, "a sentence that names the server");
        if (fault.retryAfterMs !== undefined) {
          // Obeyed, up to a minute.
          assert.ok((event.nextPollAt ?? 0) - since >= 60_000);
          controller.abort();
          await rejection(outcome, "ABORTED");
          return;
        }
        await mend(wire);
        assert.equal((await outcome).state, "valid");
        const polls = await server.requests({ grant: "device_code", clientId });
        // On a slow machine the person may still be approving at the first ones.
        const decided = polls.filter(({ error }) => error !== "authorization_pending");
        assert.deepEqual(
          decided.map(({ status }) => status),
          [200],
        );
        assert.ok(polls.every(({ early }) => !early));
      });
    }
  });

  describe("during refresh", concurrently, () => {
    for (const fault of networkFaults) {
      test(`${fault.name}: the login is kept, and the refresh token sent once to the server`, async (t) => {
        const { wire, config, clientId, credential } = await prepared(t, "refresh");
        await grantedLogin(config, server);
        const { refresh } = credential.read();
        credential.expire();

        const before = wire.connections;
        await fault.begin(wire);
        const error = await rejection(getValidAccessToken(hurried(config, fault)), codeDuring("refresh", fault));
        told(error, { ...fault, retryable: true });
        // Shared through the file: nobody asks again before the pause is over.
        const again = await rejection(getValidAccessToken(config), codeDuring("refresh", fault));
        assert.ok((again.retryAfterMs ?? 0) > 0);
        const attempts = wire.connections - before;
        assert.ok(fault.attempts.includes(attempts), `${attempts} attempts`);
        assert.equal(again.retryable, true);
        const { state, lastError } = await status(config);
        assert.equal(state, "valid");
        assert.equal(lastError?.code, error.code);
        assert.equal(credential.read().refresh, refresh);

        await mend(wire);
        credential.letPauseEnd(3600);
        const token = await getValidAccessToken(config);
        assert.equal((await status(config)).lastError, undefined);
        // The server has seen the refresh token once, and goes on rotating.
        credential.expire();
        assert.notEqual(await getValidAccessToken(config), token);
        const refreshes = await server.requests({ grant: "refresh_token", clientId });
        assert.deepEqual(
          refreshes.map(({ status }) => status),
          [200, 200],
        );
        assert.equal(refreshes[0]?.form?.refresh_token, refresh);
      });
    }
  });

  describe("in the last tenth of a token's life", concurrently, () => {
    for (const fault of networkFaults) {
      test(`${fault.name}: the valid token is handed out all the same`, async (t) => {
        const { wire, config, clientId, credential } = await prepared(t, "refresh");
        await grantedLogin(config, server);
        credential.age({ lifetime: 3600, remaining: 55 });
        const { access } = credential.read();
        await fault.begin(wire);
        assert.equal(await getValidAccessToken(hurried(config, fault)), access);
        // In the pause as well.
        assert.equal((await status(config)).lastError?.code, codeDuring("refresh", fault));
        assert.equal(await getValidAccessToken(config), access);
        await mend(wire);
        credential.letPauseEnd(3600);
        assert.notEqual(await getValidAccessToken(config), access);
        assert.equal((await server.requests({ grant: "refresh_token", clientId })).length, 1);
      });
    }
  });

  describe("during revocation", concurrently, () => {
    for (const fault of networkFaults) {
      test(`${fault.name}: logged out here, and said that the server was not told`, async (t) => {
        const { wire, config, clientId } = await prepared(t, "revocation");
        await grantedLogin(config, server);
        await fault.begin(wire);
        // A page is nobody's word for it (RFC 7009 §2.2: the server answers with 200 alone).
        const revoked = !fault.retryable && !fault.name.includes("page");
        assert.deepEqual(await logout(hurried(config, fault)), { revoked, removed: true });
        assert.equal((await status(config)).state, "logged_out");
        assert.equal((await server.requests({ endpoint: "revocation", clientId })).length, 0);
        await mend(wire);
        await approvedLogin(config);
        assert.deepEqual(await logout(config), { revoked: true, removed: true });
        assert.equal((await server.requests({ endpoint: "revocation", clientId })).length, 2);
      });
    }
  });
});

for (const [form, headers] of [
  ["in seconds", { "retry-after": "2" }],
  ["as a date, by a server whose clock is a year behind", pauseByDate(new Date("2020-11-20T20:00:00Z"), 2)],
  ["as a date, by a server whose clock is a day ahead", pauseByDate(new Date(Date.now() + 86_400_000), 2)],
] as const) {
  test(`a Retry-After that fits, ${form}, is waited for, and the caller gets the new token`, async (t) => {
    const { config, clientId, credential } = await prepared(t, "refresh");
    await grantedLogin(config, server);
    credential.expire();
    const busy = { respond: { status: 429, headers } };
    await server.intercept({ grant: "refresh_token", clientId, nth: 1 }, busy);
    const { access } = credential.read();
    assert.notEqual(await getValidAccessToken(config), access);
    const [first, second, ...more] = await server.requests({ grant: "refresh_token", clientId });
    assert.deepEqual([first?.status, second?.status, more.length], [429, 200, 0]);
    assert.ok((second?.time ?? 0) - (first?.answeredAt ?? 0) >= 2000);
  });
}

test("an answer that is lost after the server has rotated is the one loss: LOGIN_REQUIRED, no loop, no hang", async (t) => {
  const { wire, config, clientId, credential } = await prepared(t, "refresh");
  await grantedLogin(config, server);
  credential.expire();
  wire.misbehave({ atResponseByte: 1 });
  // The answer to the replay is lost as well, but the next one comes through.
  await rejection(getValidAccessToken(config), "NETWORK");
  await mend(wire);
  credential.letPauseEnd(3600);
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  await rejection(getValidAccessToken(config), "LOGIN_REQUIRED");
  const refreshes = await server.requests({ grant: "refresh_token", clientId });
  assert.deepEqual(
    refreshes.map(({ status }) => status),
    [200, 400, 400],
  );
  assert.equal((await approvedLogin(config)).status.state, "valid");
});

function pauseByDate(now: Date, seconds: number): Record<string, string> {
  return { date: now.toUTCString(), "retry-after": new Date(now.getTime() + seconds * 1000).toUTCString() };
}

/** For calls that meet a stall: not the half a minute that it costs otherwise. */
function hurried(config: AuthConfig, { code }: NetworkFault): AuthConfig {
  return code === "TIMEOUT" ? { ...config, requestTimeoutMs: 5000 } : config;
}

/** Checks what all errors of a fault have in common. */
function told(error: AuthError, { retryable, retryAfterMs }: NetworkFault): void {
  assert.match(error.message, /127\.0\.0\.1/, "names the server");
  assert.doesNotMatch(error.message, /hotel|canary/, "quotes no answer");
  assert.equal(error.retryable, retryable);
  assert.equal(error.needsLogin, false);
  assert.equal(error.retryAfterMs, retryAfterMs);
}

/** The error of an answer that is not an OAuth response depends on the request. Elsewhere the fault decides it. */
function codeDuring(step: Step, { code }: NetworkFault): NetworkFault["code"] | "REGISTRATION_FAILED" {
  if (code === "INVALID_RESPONSE" && step === "registration") {
    return "REGISTRATION_FAILED";
  }
  // An endpoint that once gave tokens was not reached: a gateway answered, which is transient.
  return code === "INVALID_RESPONSE" && step === "refresh" ? "SERVER_ERROR" : code;
}

/** A config with a wire in front of the endpoint of that step; the other endpoints are reached directly. */
async function prepared(t: Test, step: Step) {
  const home = TempHome.create(t);
  const clientId = clientIds.pop() ?? assert.fail("more cases than clients");
  const { deviceAuthorizationEndpoint, tokenEndpoint, revocationEndpoint, registrationEndpoint } = server.endpoints;
  const metadata = await StubServer.start(t);
  const wire = await Wire.start(t, step === "discovery" ? metadata.origin : server.origin);
  const issuer = wire.through(metadata.origin);
  metadata.describe({
    issuer,
    device_authorization_endpoint: deviceAuthorizationEndpoint,
    token_endpoint: tokenEndpoint,
    revocation_endpoint: revocationEndpoint,
  });
  const lead = (endpoint: string, ...steps: Step[]) => (steps.includes(step) ? wire.through(endpoint) : endpoint);
  const endpoints = {
    deviceAuthorizationEndpoint: lead(deviceAuthorizationEndpoint, "device authorization"),
    tokenEndpoint: lead(tokenEndpoint, "polling", "refresh"),
    revocationEndpoint: lead(revocationEndpoint, "revocation"),
    registrationEndpoint: lead(registrationEndpoint, "registration"),
  };
  const config: AuthConfig = {
    pluginId: "memory",
    scopes: ["memory", "offline_access"],
    stateDir: home.stateDir,
    ...(step === "discovery" ? { issuer } : endpoints),
    ...(step !== "registration" && { clientId }),
  };
  return { wire, config, clientId, credential: new StoredCredential(home.credentialPath("memory")) };
}
