/** A gateway that is stopped while a refresh is between sent and saved, with nobody who waits for it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { getValidAccessToken, status } from "../../../index.js";
import type { HostId } from "./host.ts";
import { lifetimeHost } from "./lifetime-plugin.ts";

/** The server answers this long after SIGTERM: less than the hosts wait for a service that stops. */
const answerAfter = 3_000;

export async function stoppedGateway(t: TestContext, id: HostId): Promise<void> {
  const { host, server, login } = await lifetimeHost(t, id);
  const { path } = await status(login);
  const refresh = () => JSON.parse(readFileSync(path, "utf8")).refresh as string;
  const spent = refresh();
  const gateway = await host.startGateway();
  const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
  const answered = await gateway.tool("lifetime_begin", {});
  assert.equal(answered.status, 200, `${answered.text}\n${gateway.output}`);
  await held.arrived;
  gateway.child.signal("SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, answerAfter));
  await held.remove();
  assert.deepEqual(await gateway.child.exit, { code: 0, signal: null }, gateway.output);
  assert.notEqual(refresh(), spent, gateway.output);
  assert.equal(readFileSync(path, "utf8").includes("lastRefresh"), false);
  // The server takes the rotated one.
  const { access } = JSON.parse(readFileSync(path, "utf8"));
  assert.notEqual(await getValidAccessToken(login, { rejectedToken: access }), access);
}
