// `npm run soak:host`: a real gateway for a while, with tokens of 10 s, a tool call every second and reloads, beside
// the same gateway whose plugin has no login; then it is stopped in the middle of refreshes. A table per minute.
// Linux, outside CI.
//
//   node scripts/soak-host.mjs [--host openclaw-2026.9.6] [--minutes 20] [--reload-every 30] [--stops 20] [--node 24]
//
// Fails where a call, a refresh or a stopped gateway's login is lost, or where more than docs/evidence/soak-host.md
// says is kept. A host that is not in __test__/hosts/versions.json is installed into target/hosts; it takes --node.
// --accounts [3], --dpop and
// --given-store vary the plugin's login: so many accounts in an order, tokens bound to keys, a store that the plugin gives.
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { hosts, installElsewhere, installHosts } from "./hosts.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

async function main() {
  const text = (value) => ({ type: "string", default: value });
  // By itself it means three.
  const args = process.argv.slice(2).flatMap((arg, at, all) => {
    return arg === "--accounts" && !/^\d+$/.test(all[at + 1] ?? "") ? [arg, "3"] : [arg];
  });
  const { values } = parseArgs({
    args,
    options: {
      host: text("openclaw-2026.9.6"),
      minutes: text("20"),
      "reload-every": text("30"),
      stops: text("20"),
      accounts: text("1"),
      node: text("24"),
      dpop: { type: "boolean", default: false },
      "given-store": { type: "boolean", default: false },
    },
  });
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  await setUp({ nodes: [...new Set([22, Number(values.node), ...(runsTheServer ? [] : [serverNodeMajor])])] });
  const folder = await installed(values.host);
  const built = (isBuilt({ release: true }) ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  return run(process.execPath, [
    "--import",
    "tsx",
    "__test__/hosts/support/soak-run.ts",
    JSON.stringify({ ...values, folder }),
  ]);
}

/** Where a host is that is not in the table. */
async function installed(id) {
  if (hosts.some((row) => row.id === id)) {
    await installHosts([id]);
    return undefined;
  }
  const [, host, version] = /^(openclaw)-(\d.+)$/.exec(id) ?? [];
  if (version === undefined) {
    throw new Error(`${id} is not "openclaw-<version>".`);
  }
  return installElsewhere(host, version);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
