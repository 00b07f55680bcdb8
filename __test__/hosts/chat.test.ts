import { existsSync } from "node:fs";
import { test } from "node:test";
import type { HostId } from "./support/host.ts";
import { loginFromChat } from "./support/login-from-chat.ts";

const hosts: HostId[] = [
  "clawdbot-2026.1.24",
  "openclaw-cn-2026.1.31",
  "openclaw-2026.4.15",
  "openclaw-2026.6.11",
  "openclaw-2026.9.6",
];

for (const id of hosts) {
  const skip = !existsSync(new URL(`${id}/node_modules`, import.meta.url)) && "not installed";
  test(`${id}: a login from a chat`, { skip, timeout: 900_000 }, (t) => loginFromChat(t, id));
}
