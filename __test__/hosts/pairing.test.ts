/** A command line that may not call a plugin's method gets the way out, and the way out works: docs/hosts.md 8. */
import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hosts } from "./support/host.ts";
import { lifetimeHost } from "./support/lifetime-plugin.ts";

for (const { id } of hosts.filter(({ version }) => ["2026.5.28", "2026.6.11"].includes(version))) {
  test(`${id}: after one of the host's own calls, a message says how to call a plugin's`, {
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
    const refused = await host.run(call);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stdout + refused.stderr, new RegExp(answer ?? "nothing"));
    renameSync(join(host.stateDir, renamed), join(host.stateDir, `${renamed}.old`));
    assert.match((await host.succeed(call)).stdout, /user_code=|[A-Z]{4}-[A-Z]{4}/);
    await gateway.stop();
  });
}
