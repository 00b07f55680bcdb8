/** Hosts that keep logins of their own in auth-profiles.json share it with a plugin. */
import { test } from "node:test";
import { hosts } from "./support/host.ts";
import { sharedProfiles } from "./support/shared-profiles.ts";

for (const { id } of hosts.filter(({ host }) => host === "clawdbot")) {
  test(`${id}: host and plugin share auth-profiles.json`, { timeout: 600_000 }, (t) => sharedProfiles(t, id));
}
