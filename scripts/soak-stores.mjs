// `npm run soak:stores`: sixteen processes on four machines share one login in PostgreSQL, Redis, Valkey and etcd, for
// an hour in all, while engines, networks and processes fail (see __test__/support/store-soak.ts). A table; fails
// where a login was lost. Linux and root.
//
//   node scripts/soak-stores.mjs [--minutes 60] [--engine redis] [--stop 60]      --stop: for how many seconds a holder is stopped
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { installEngines, installValkey } from "./engines.mjs";
import { installPostgresql } from "./postgresql.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

async function main() {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "60" },
      engine: { type: "string" },
      stop: { type: "string", default: "60" },
    },
  });
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  await setUp({ nodes: runsTheServer ? [] : [serverNodeMajor] });
  await installEngines();
  await installValkey();
  await installPostgresql();
  const code = (isBuilt() ? 0 : await build()) || (await buildPlugin());
  if (code !== 0) return code;
  const given = { minutes: Number(values.minutes), only: values.engine, stop: Number(values.stop) };
  const program = ["--import", "tsx", "__test__/support/store-soak-run.ts", JSON.stringify(given)];
  return run("unshare", ["-n", process.execPath, ...program]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
