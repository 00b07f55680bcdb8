// `npm run soak:kills`: 500 kills at random moments of a refresh, or as many as are asked for.
//
//   node scripts/soak-kills.mjs [--kills 2000]
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { run } from "./command.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

async function main() {
  const { values } = parseArgs({ options: { kills: { type: "string", default: "500" } } });
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  await setUp({ nodes: runsTheServer ? [] : [serverNodeMajor] });
  if (!isBuilt()) {
    const code = await build();
    if (code !== 0) {
      return code;
    }
  }
  const options = ["--import", "tsx", "--test", "--test-reporter=spec", "__test__/random-kills.test.ts"];
  return run(process.execPath, options, { env: { PLUGIN_AUTH_KILLS: values.kills } });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
