/** The traces of a login in the memory of a process that goes on running. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import type { AuthConfig } from "../index.js";
import { CertificateAuthority } from "./support/certificate-authority.ts";
import { Child } from "./support/child.ts";
import { type Copy, ProcessMemory } from "./support/process-memory.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

/** Two logins, so that what the first has left is not just what the second happened to write over. */
const life = ["login", "refresh", "logout", "login", "status", "refresh", "logout"];

/** Secrets that never become JavaScript strings, unless a function is meant to return them. */
const native = ["clientSecret", "registrationToken", "deviceCode", "verifier", "cookie", "refresh", "idToken"];
const ofTheLogin = ["clientSecret", "registrationToken", "deviceCode", "verifier", "cookie"];

describe("the memory of a process", { concurrency: 4, skip: ProcessMemory.unavailable() }, () => {
  for (const scheme of ["http", "https"]) {
    for (const authentication of ["client_secret_basic", "client_secret_post"] as const) {
      test(`${scheme}, ${authentication}: no secret is left after a logout`, async (t) => {
        const { child, given, step } = await started(t, scheme, authentication);
        for (const name of life) {
          assert.equal(await step(name), undefined, name);
        }
        // V8 keeps its strings until it needs the memory.
        assert.deepEqual(copies(child, given(native)), []);
      });
    }
  }

  test("an access token that JavaScript never saw is gone as well", async (t) => {
    const { child, given, step } = await started(t, "https", "client_secret_basic");
    for (const name of ["login", "status", "logout"]) {
      assert.equal(await step(name), undefined, name);
    }
    assert.deepEqual(copies(child, given([...native, "access"])), []);
  });

  test("while logged in, what the login was made with is gone already", async (t) => {
    const { child, given, step } = await started(t, "https", "client_secret_post");
    assert.equal(await step("login"), undefined);
    assert.deepEqual(copies(child, given(ofTheLogin)), []);
    // The scan finds the credential that is there, in the store's cache.
    assert.deepEqual(copies(child, given(["refresh"])), ["refresh0 as bytes"]);
  });

  test("authorizeDevice and refreshTokens leave nothing but what they gave", async (t) => {
    const { child, given, step } = await started(t, "https", "client_secret_post");
    assert.equal(await step("authorizeDevice"), undefined);
    const gave = ["clientSecret"];
    assert.deepEqual(copies(child, given(ofTheLogin.filter((name) => !gave.includes(name)))), []);
  });
});

/** Every copy of the middle of a secret: the ends of freed memory are soon written over, and prove nothing. */
function copies(child: Child, secrets: Record<string, string>): string[] {
  const middles = Object.entries(secrets).map(([name, secret]) => [name, secret.slice(12, 31)]);
  const found = new ProcessMemory(child.pid).find(Object.fromEntries(middles));
  const lines = [...found].flatMap(([name, at]) => at.map(({ encoding }: Copy) => `${name} as ${encoding}`));
  return lines.sort();
}

async function started(
  t: Parameters<typeof TempHome.create>[0],
  scheme: string,
  authentication: "client_secret_basic" | "client_secret_post",
) {
  const home = TempHome.create(t);
  const authority = scheme === "https" ? await CertificateAuthority.create(home.path) : undefined;
  const stub = await StubServer.start(t, authority && { tls: await authority.issue(), host: "localhost" });
  const all: [name: string, value: string][] = [];
  const secret = (name: string) => {
    const value = randomBytes(24).toString("hex");
    all.push([name, value]);
    return value;
  };
  stub.describe({ registration_endpoint: `${stub.origin}/register` });
  stub.route("/register", () => ({
    status: 201,
    body: {
      client_id: "registered",
      client_secret: secret("clientSecret"),
      client_secret_expires_at: 0,
      registration_access_token: secret("registrationToken"),
      registration_client_uri: `${stub.origin}/register/1`,
      token_endpoint_auth_method: authentication,
    },
  }));
  stub.route("/device", () => ({
    status: 200,
    body: {
      device_code: secret("deviceCode"),
      user_code: "ABCD-EFGH",
      verification_uri: "https://example.com/device",
      expires_in: 600,
      interval: 1,
    },
  }));
  stub.route("/token", ({ form }) => {
    const verifier = form.get("code_verifier");
    if (verifier !== null) all.push(["verifier", verifier]);
    return {
      status: 200,
      headers: { "set-cookie": `session=${secret("cookie")}` },
      body: {
        access_token: secret("access"),
        refresh_token: secret("refresh"),
        id_token: secret("idToken"),
        token_type: "Bearer",
        expires_in: 3600,
      },
    };
  });
  stub.route("/revoke", { status: 200 });
  const child = Child.start(t, "whole-life.mjs", {
    env: home.env(authority && { NODE_EXTRA_CA_CERTS: authority.path }),
    nodeOptions: ["--expose-gc"],
  });
  await child.event("ready");
  const config: AuthConfig = {
    pluginId: "memory",
    issuer: stub.origin,
    stateDir: home.stateDir,
    pkce: true,
    clientAuthentication: authentication,
  };
  return {
    child,
    /** All secrets of these names so far, with numbers; there is at least one of each. */
    given(names: string[]): Record<string, string> {
      return Object.fromEntries(
        names.flatMap((name) => {
          const values = all.filter(([known]) => known === name);
          assert.ok(values.length > 0, name);
          return values.map(([, value], nth) => [`${name}${nth}`, value]);
        }),
      );
    },
    /** Runs a step; returns its error code, if it fails. */
    async step(name: string) {
      child.send({ step: name, config });
      return (await child.event(name)).code;
    },
  };
}
