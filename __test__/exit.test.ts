/** Ends of a process that are no kill, while a refresh is between sent and saved: the rotated token is not lost. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Child } from "./support/child.ts";
import { ExpiredLogin } from "./support/expired-login.ts";
import { nodeMajors } from "./support/nodes.ts";

const ends = [
  ["process.exit", 3],
  ["an uncaught exception", 1],
  ["an unhandled rejection", 1],
  ["a SIGTERM handler that exits", 3],
] as const;

describe("in the middle of a refresh", { concurrency: 4 }, () => {
  for (const node of nodeMajors) {
    for (const [end, code] of ends) {
      const isSignal = end.startsWith("a SIGTERM");
      const skip = isSignal && process.platform === "win32" ? "Windows has no signals: kill ends a process" : false;
      test(`Node ${node}: ${end}`, { skip }, async (t) => {
        const login = await ExpiredLogin.create(t);
        const plugin = await login.plugin({ node });
        const held = await login.heldAnswer();
        plugin.begin("getValidAccessToken", [login.config]);
        await held.arrived;
        plugin.child.send({ end });
        await plugin.child.event("leaving");
        // Only this package's JavaScript still runs in the process. Only now does the server answer.
        await held.remove();
        assert.deepEqual(await plugin.child.exit, { code, signal: null });
        await assertSaved(login);
      });
    }
  }

  for (const end of ["terminate", "exit"]) {
    test(`a worker that ends (${end})`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const held = await login.heldAnswer();
      const args = [JSON.stringify(login.config), end];
      const child = Child.start(t, "refreshing-worker.mjs", { env: login.home.env(), args });
      await held.arrived;
      child.send("end");
      await child.event("leaving");
      await held.remove();
      assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
      await assertSaved(login);
    });
  }

  test("a server that never answers does not hold up the exit", async (t) => {
    const login = await ExpiredLogin.create(t);
    const plugin = await login.plugin();
    const held = await login.server.intercept({ grant: "refresh_token" }, { hold: "before" });
    plugin.begin("getValidAccessToken", [login.config]);
    await held.arrived;
    plugin.child.send({ end: "process.exit" });
    assert.deepEqual(await plugin.child.exit, { code: 3, signal: null });
    await held.remove();
  });

  test("what waits for the lock of another process is not sent any more", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [first, second] = await Promise.all([login.plugin(), login.plugin()]);
    const held = await login.heldAnswer();
    const token = first.accessToken(login.config);
    await held.arrived;
    second.begin("getValidAccessToken", [login.config]);
    // Answered after the other call has begun.
    await second.status(login.config);
    second.child.send({ end: "process.exit" });
    assert.deepEqual(await second.child.exit, { code: 3, signal: null });
    await held.remove();
    await token;
    await assertSaved(login);
  });
});

/** The stored login is the rotated one, and the server takes it; a spent refresh token would end it. */
async function assertSaved(login: ExpiredLogin): Promise<void> {
  assert.notEqual(login.stored().refresh, login.old.refresh, "the rotated refresh token is stored");
  const other = await login.plugin();
  const { access = "" } = login.stored();
  assert.notEqual(await other.accessToken(login.config, { rejectedToken: access }), access);
  const refreshes = await login.refreshes();
  assert.deepEqual(
    refreshes.map(({ status }) => status),
    [200, 200],
  );
}
