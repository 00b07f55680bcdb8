/** A system that refuses threads: one clear error or none at all, and never a panic. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { importToken } from "../index.js";
import { Child } from "./support/child.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

/** An unused user id: the limit counts the threads of all processes of a user. */
let nextUser = 54_321;

async function outcomeWith(t: Lifetime, extra: number, tokenEndpoint: string, args: string[] = []) {
  const user = nextUser++;
  const home = TempHome.create(t);
  const config = { pluginId: "p", tokenEndpoint, clientId: "c", stateDir: home.stateDir };
  await importToken(config, { access: "old", refresh: "r", expires: Date.now() - 1000 });
  const paths = readdirSync(home.path, { recursive: true, encoding: "utf8" }).map((name) => join(home.path, name));
  for (const path of [home.path, ...paths]) chownSync(path, user, user);
  chmodSync(home.path, 0o755);
  const asUser = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups"] as const;
  const child = Child.start(t, "few-threads.mjs", {
    launcher: [...asUser],
    env: home.env(),
    args: [JSON.stringify(config), ...args],
  });
  await child.event("ready");
  const threads = readdirSync(`/proc/${child.pid}/task`).length;
  const [setpriv, ...flags] = asUser;
  const limit = ["prlimit", "--pid", String(child.pid), `--nproc=${threads + extra}`];
  const { stderr } = spawnSync(setpriv, [...flags, ...limit], { encoding: "utf8" });
  assert.equal(stderr, "");
  child.send({ go: true });
  const outcome = await child.event("outcome");
  assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
  assert.equal(child.stderr, "");
  return outcome;
}

const tokens = { status: 200, body: { access_token: "new", token_type: "Bearer", expires_in: 3600 } };
const refused = {
  event: "outcome",
  code: "STORE_IO",
  retryable: true,
  message:
    "The operating system refused a thread. Raise the limit of processes (ulimit -u, or that of the container), or end some, " +
    "then try again.",
};

describe("threads are refused", {
  concurrency: 4,
  skip:
    process.platform !== "linux" || process.getuid?.() !== 0 ? "takes Linux, and root to become somebody else" : false,
}, () => {
  for (const extra of [0, 1, 2, 3]) {
    test(`all but ${extra}: a refresh, or one sentence`, async (t) => {
      const stub = await StubServer.start(t, { routes: { "/token": tokens } });
      const outcome = await outcomeWith(t, extra, `${stub.origin}/token`);
      // The runtime and one that may wait: with fewer nothing is begun, with no more everything still ends.
      assert.deepEqual(outcome, extra < 2 ? refused : { event: "outcome", token: "new" });
    });

    test(`all but ${extra}, and a name that has to be looked up`, async (t) => {
      const outcome = await outcomeWith(t, extra, "https://auth.invalid/token");
      if (extra < 2) assert.deepEqual(outcome, refused);
      else assert.equal(outcome.code, "NETWORK");
    });
  }

  test("once the threads are there, none more is needed", async (t) => {
    const stub = await StubServer.start(t, { routes: { "/token": tokens } });
    assert.equal((await outcomeWith(t, 0, `${stub.origin}/token`, ["first"])).token, "new");
  });
});
