/** The life of a plugin with its user, in every chosen host (scripts/test-hosts.mjs). */
import { describe, test } from "node:test";
import { hosts } from "./support/host.ts";
import { lifeOfALogin } from "./support/life-of-a-login.ts";

// The tests wait as much as they work.
describe("the life of a login", { concurrency: 2 }, () => {
  for (const { id } of hosts) {
    // Shorter than that of the file, so that what was started is ended.
    test(id, { timeout: 1_100_000 }, (t) => lifeOfALogin(t, id));
  }
});
