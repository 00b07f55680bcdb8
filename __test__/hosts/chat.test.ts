import { existsSync } from "node:fs";
import { test } from "node:test";
import type { HostId } from "./support/host.ts";
import { hostsOwnLogin, loginFromChat } from "./support/login-from-chat.ts";

const hosts: HostId[] = [
  "clawdbot-2026.1.24",
  "openclaw-cn-2026.1.31",
  "openclaw-2026.4.15",
  "openclaw-2026.6.11",
  "openclaw-2026.9.6",
];

/** Those that were asked for, or all that are installed. */
const wanted = process.env.HOSTS?.split(" ");
const whySkipped = (id: HostId) =>
  existsSync(new URL(`${id}/node_modules`, import.meta.url)) && (wanted?.includes(id) ?? true) ? false : "not wanted";

for (const id of hosts) {
  const skip = whySkipped(id);
  test(`${id}: a login from a chat`, { skip, timeout: 900_000 }, (t) => loginFromChat(t, id));
}

const newest: HostId = "openclaw-2026.9.6";
test(
  `${newest}: the host's own /login, for a provider of the plugin's`,
  {
    skip: whySkipped(newest),
    timeout: 900_000,
  },
  (t) => hostsOwnLogin(t, newest),
);
