// `npm run soak`: days in miniature (see __test__/support/soak.ts), for ten minutes, and a summary. Linux.
//
//   node scripts/soak.mjs [--minutes 10] [--seed 1]
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { run } from "./command.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

async function main() {
  const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" }, seed: { type: "string" } } });
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  await setUp({ nodes: runsTheServer ? [] : [serverNodeMajor] });
  if (!isBuilt()) {
    const code = await build();
    if (code !== 0) {
      return code;
    }
  }
  const seed = values.seed === undefined ? [] : [values.seed];
  return run(process.execPath, ["--import", "tsx", "__test__/support/soak-run.ts", values.minutes, ...seed]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
