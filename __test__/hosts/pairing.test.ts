/**
 * After one of the host's own calls, its command line calls a plugin's method; or, where it may not, the message has
 * named the answer and the way out, and the way out works: docs/hosts.md 8.
 */
import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hosts } from "./support/host.ts";
import { lifetimeHost } from "./support/lifetime-plugin.ts";

for (const { id } of hosts.filter(({ host }) => host === "openclaw")) {
  test(`${id}: after one of the host's own calls, what a message says calls a plugin's`, {
    timeout: 600_000,
  }, async (t) => {
    const { host } = await lifetimeHost(t, id, { isLoggedIn: false, config: { command: false } });
    const gateway = await host.startGateway();
    const { text } = await gateway.tool("lifetime_token", {});
    const [, told, answer, renamed = ""] =
      /run `openclaw (gateway call lifetime\.login)` in a terminal \(if it answers `(.*?)`: rename the folder `(.*?)`/.exec(
        JSON.parse(text).result.content[0].text,
      ) ?? [];
    const call = told?.split(" ") ?? assert.fail(text);

    await host.succeed(["gateway", "call", "health"]);
    let called = await host.run(call);
    t.diagnostic(called.code === 0 ? "it calls it" : `it is refused: ${answer}`);
    if (called.code !== 0) {
      assert.match(called.stdout + called.stderr, new RegExp(answer ?? "nothing"));
      renameSync(join(host.stateDir, renamed), join(host.stateDir, `${renamed}.old`));
      called = await host.succeed(call);
    }
    assert.match(called.stdout, /user_code=|[A-Z]{4}-[A-Z]{4}/);
    await gateway.stop();
  });
}
