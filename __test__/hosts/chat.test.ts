/** The whole of a login from a chat, in every host that was chosen (scripts/test-hosts.mjs). */
import { describe, test } from "node:test";
import { hosts } from "./support/host.ts";
import { loginFromChat } from "./support/login-from-chat.ts";

// The tests wait as much as they work. The newest hosts take the longest, so they begin.
describe("a login from a chat", { concurrency: 2 }, () => {
  for (const { id } of hosts.filter(({ chat }) => chat).reverse()) {
    // Shorter than that of the file, so that what was started is ended.
    test(id, { timeout: 1_800_000 }, (t) => loginFromChat(t, id));
  }
});
