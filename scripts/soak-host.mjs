// `npm run soak:host`: a real gateway for a while, with tokens of 10 s, a tool call every second and reloads, beside
// the same gateway whose plugin has no login; then it is stopped in the middle of refreshes. A table per minute.
// Linux, outside CI.
//
//   node scripts/soak-host.mjs [--host openclaw-2026.6.11] [--minutes 20] [--reload-every 30] [--stops 20] [--node 24]
//
// Fails where a call, a refresh or a stopped gateway's login is lost, or where more than docs/evidence/soak-host.md
// says is kept. Without --host it is the newest of __test__/hosts/versions.json; one that is not there is installed into
// target/hosts. --node is the Node to run it on, if not that of its row. --accounts [3], --dpop and --given-store vary the
// plugin's login: so many accounts in an order, tokens bound to keys, a store that the plugin gives.
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { hosts, installElsewhere, installHosts, named } from "./hosts.mjs";
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
      host: text(hosts.at(-1).id),
      minutes: text("20"),
      "reload-every": text("30"),
      stops: text("20"),
      accounts: text("1"),
      node: { type: "string" },
      dpop: { type: "boolean", default: false },
      "given-store": { type: "boolean", default: false },
    },
  });
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  const row = await installed(values.host);
  const node = Number(values.node ?? row.node);
  await setUp({ nodes: [...new Set([22, node, ...(runsTheServer ? [] : [serverNodeMajor])])] });
  const built = (isBuilt({ release: true }) ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  const program = ["--import", "tsx", "__test__/hosts/support/soak-run.ts"];
  return run(process.execPath, [...program, JSON.stringify({ ...values, host: row.id })], {
    env: { PLUGIN_AUTH_HOSTS: JSON.stringify([{ ...row, node }]) },
  });
}

async function installed(name) {
  const [row] = named(name);
  if (row.folder !== undefined) {
    return installElsewhere(row);
  }
  await installHosts([row.id]);
  return row;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
