/** `storage: "keychain"` with a real Secret Service: gnome-keyring on a session bus of its own. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Keyring } from "./support/keyring.ts";
import { complete, configFor } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";

const skip = Keyring.unavailable();

test("smoke", { skip }, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const keyring = await Keyring.start(t, home);
  const config = { ...configFor(server, home.stateDir), storage: "keychain" as const };
  const plugin = await PluginProcess.start(t, { env: home.env(keyring.env) });
  console.log(keyring.accounts());
  const loggedIn = plugin.login(config);
  await new Person().approve(complete(await plugin.verification()));
  const status = await loggedIn;
  console.log(status, readFileSync(status.path, "utf8"), keyring.accounts(), keyring.secret(keyring.accounts()[0]));
  const token = await plugin.accessToken(config);
  const second = await plugin.accessToken(config, { rejectedToken: token });
  console.log(token, second, readFileSync(status.path, "utf8"), keyring.accounts());
  console.log(await plugin.call("logout", [config]), readFileSync(status.path, "utf8"), keyring.accounts());
});
