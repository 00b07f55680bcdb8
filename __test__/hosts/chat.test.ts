/** A login from a chat, on the hosts in which something about chats changed. */
import { test } from "node:test";
import { hosts } from "./support/host.ts";
import { hostsOwnLogin, loginFromChat } from "./support/login-from-chat.ts";

for (const { id } of hosts.filter(({ ci }) => ci)) {
  test(`${id}: a login from a chat`, { timeout: 900_000 }, (t) => loginFromChat(t, id));
}

const newest = "openclaw-2026.9.6";
const skip = hosts.every(({ id }) => id !== newest);
test(`${newest}: the host's own /login, for a provider of the plugin's`, { skip, timeout: 900_000 }, (t) =>
  hostsOwnLogin(t, newest),
);
