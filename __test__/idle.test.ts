/**
 * A process that has used a login and then does nothing: no descriptor of a replaced file, and no thread, stays for
 * long.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { logout } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { TempHome } from "./support/temp-home.ts";

test("after a logout in another process its descriptor is closed; the thread ends, and comes back when it is needed", {
  skip: process.platform !== "linux",
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const child = Child.start(t, "idle.mjs", { env: home.env(), args: [JSON.stringify(config)] });
  const { threads, held } = await child.event("used");
  assert.equal(held, 1);
  assert.ok(Number(threads) >= 1);
  await logout(config);
  child.send("go");
  await child.event("let go");
  const { state, threads: again } = await child.event("idle");
  assert.equal(state, "logged_out");
  assert.ok(Number(again) >= 1);
});
