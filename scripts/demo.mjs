// `npm run demo`: makes the checkout ready, builds the addon if need be, and hands over to examples/demo.
import { build, isBuilt } from "./build.mjs";
import { run } from "./command.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

async function main() {
  const runsTheServer = Number(process.versions.node.split(".")[0]) >= serverNodeMajor;
  await setUp({ nodes: runsTheServer ? [] : [serverNodeMajor] });
  if (!isBuilt()) {
    console.log("Building the native addon (cargo build --release; a few minutes the first time) …");
    const code = await build({ quiet: !process.stderr.isTTY });
    if (code !== 0) {
      return code;
    }
  }
  return run(process.execPath, ["--import", "tsx", "examples/demo/main.mts", ...process.argv.slice(2)]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
