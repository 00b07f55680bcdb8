/**
 * A gateway as systemd starts it: with the environment of the unit that the host itself writes, and with nothing else.
 */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { status } from "../../index.js";
import { Child } from "../support/child.ts";
import { Person } from "../support/person.ts";
import { PrivateMounts } from "../support/private-mounts.ts";
import { Gateway, hosts } from "./support/host.ts";
import { lifetimeHost } from "./support/lifetime-plugin.ts";

const systemctl = "/usr/bin/systemctl";
const skip = PrivateMounts.unavailable() || (!existsSync(systemctl) && "systemctl is missing");

for (const { id, node } of hosts.filter(({ unit }) => unit)) {
  const name = `${id}: with the environment of its systemd service a login lasts, and another is made`;
  test(name, { timeout: 600_000, skip }, async (t) => {
    const { host, server, login } = await lifetimeHost(t, id);
    // A host writes the unit for the account's own home alone, and asks systemctl, which answers for no systemd here.
    const home = homedir();
    const mounts = await PrivateMounts.create(t);
    const answers = join(host.home.path, "systemctl");
    writeFileSync(answers, "#!/bin/sh\nexit 0\n");
    chmodSync(answers, 0o755);
    mounts.run("mount", "--bind", answers, systemctl);
    mounts.run("mount", "--bind", host.home.path, home);
    host.launcher = mounts.launcher;
    mkdirSync(join(host.home.path, "run"));
    // The variables of a terminal on a desktop.
    const desktop = { HOME: home, DISPLAY: ":0", XDG_RUNTIME_DIR: join(home, "run") };
    Object.assign(host.environment, desktop, { DBUS_SESSION_BUS_ADDRESS: `unix:path=${home}/run/bus` });
    await host.succeed(["gateway", "install"]);

    const unit = readFileSync(join(host.home.path, ".config/systemd/user/openclaw-gateway.service"), "utf8");
    const [, script = "", ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
    const env = Object.fromEntries(
      [...unit.matchAll(/^Environment=(?:"([^"]*)"|(.*))$/gm)].map(([, quoted, plain]) => {
        const [, variable = "", value = ""] = /^(\w+)=(.*)$/.exec(quoted ?? plain ?? "") ?? [];
        return [variable, value];
      }),
    );
    assert.equal(env.HOME, home);
    for (const absent of ["DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "USER", "LANG"]) {
      assert.equal(absent in env, false, absent);
    }
    const gateway = new Gateway(host, Child.start(t, script, { node, args, env, launcher: mounts.launcher }));
    await gateway.ready();
    const said = async (tool: string) => {
      const { text } = await gateway.tool(tool, {});
      return String(JSON.parse(text).result?.content[0].text);
    };

    const { path, expiresAt } = await status(login);
    assert.doesNotMatch(await said("lifetime_token"), /failed/);
    const stored = () => JSON.parse(readFileSync(path, "utf8")) as { refresh: string };
    const { refresh } = stored();
    await server.revokeAccessTokens();
    const refreshed = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    await said("lifetime_begin");
    await refreshed.arrived;
    await refreshed.remove();
    while ((await status(login)).expiresAt === expiresAt) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.notEqual(stored().refresh, refresh);

    assert.equal(await said("lifetime_logout"), "logged out");
    assert.match(await said("lifetime_token"), /LOGIN_REQUIRED.*openclaw lifetime login/);
    const verification = await host.gatewayCall("lifetime.login");
    await new Person().approve(String(verification.verificationUriComplete));
    while ((await status(login)).state !== "valid") {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.doesNotMatch(await said("lifetime_token"), /failed/);
    gateway.child.signal("SIGTERM");
    assert.deepEqual(await gateway.child.exit, { code: 0, signal: null }, gateway.output);
  });
}
