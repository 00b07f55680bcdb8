/**
 * A gateway in a container: process 1, nobody's user, an image that nobody writes, its home on a volume, no browser.
 */
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Person } from "../support/person.ts";
import { PrivateMounts } from "../support/private-mounts.ts";
import { Container } from "./support/container.ts";
import { hosts, newest } from "./support/host.ts";
import { lifetimeHost } from "./support/lifetime-plugin.ts";

const missing = PrivateMounts.unavailable();

for (const { id } of hosts.filter(({ id }) => id === newest)) {
  test(`${id}: in a container a login is made, lasts, and is kept by docker stop`, {
    timeout: 600_000,
    skip: missing,
  }, async (t) => {
    const { host, server } = await lifetimeHost(t, id, { isLoggedIn: false, server: { accessTokenTtl: 600 } });
    const volume = host.home.path;
    const container = await Container.create(t, volume);
    const said = async (name: string) => {
      const { text } = await gateway.tool(name, {});
      return String(JSON.parse(text).result?.content[0].text);
    };

    host.launcher = container.launcher;
    let gateway = await host.startGateway();
    assert.match(await said("lifetime_token"), /LOGIN_REQUIRED/);
    host.launcher = container.inside(gateway.child);
    const verification = await host.gatewayCall("lifetime.login");
    await new Person().approve(String(verification.verificationUriComplete));
    let token: string;
    do {
      token = await said("lifetime_token");
    } while (/LOGIN_REQUIRED/.test(token));
    assert.doesNotMatch(token, /failed/);
    // Another user's, so it is looked at and not asked for.
    const path = join(host.stateDir, "credentials/lifetime/default.json");
    const { uid, mode } = statSync(path);
    assert.deepEqual({ uid, mode: (mode & 0o777).toString(8) }, { uid: statSync(volume).uid, mode: "600" });

    // Stopped in the middle of a refresh, with an answer that comes before a container is killed.
    const refresh = () => JSON.parse(readFileSync(path, "utf8")).refresh as string;
    const spent = refresh();
    const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    await said("lifetime_begin");
    await held.arrived;
    container.stop(gateway.child);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await held.remove();
    assert.deepEqual(await gateway.child.exit, { code: 0, signal: null }, gateway.output);
    assert.notEqual(refresh(), spent);

    host.launcher = container.launcher;
    gateway = await host.startGateway();
    const devices = (await server.requests({ endpoint: "device_authorization" })).length;
    assert.doesNotMatch(await said("lifetime_token"), /failed/);
    assert.equal((await server.requests({ endpoint: "device_authorization" })).length, devices);
    container.stop(gateway.child);
    await gateway.child.exit;
  });
}
