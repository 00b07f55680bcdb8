/** The life of a plugin with its user, in every chosen host (scripts/test-hosts.mjs). */
import { describe, test } from "node:test";
import { hosts } from "./support/host.ts";
import { lifeOfALogin } from "./support/life-of-a-login.ts";

const isBrief = ({ brief = false }: (typeof hosts)[number]) => Number(brief);
// The newest hosts take several times as long as the oldest. One of them that began last would be waited for alone.
const longestFirst = [...hosts].reverse().sort((one, other) => isBrief(one) - isBrief(other));

// The tests wait as much as they work.
describe("the life of a login", { concurrency: 2 }, () => {
  for (const { id } of longestFirst) {
    // Shorter than that of the file, so that what was started is ended.
    test(id, { timeout: 3_000_000 }, (t) => lifeOfALogin(t, id));
  }
});
