// `npm run test:sdks`: each recipe of docs/guide/sdks.md against the real SDK, and the tests of docs/guide/testing.md
// in their runners, on Node 24, which some of them need. Half a minute; the first time the SDKs are installed as well.
//
//   node scripts/test-sdks.mjs            all SDKs
//   node scripts/test-sdks.mjs openai     those with this in their name
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { install, root, setUp } from "./setup.mjs";

const folder = join(root, "__test__", "sdks");
const node = join(root, "__test__", "nodes", "24", "node_modules", ".bin", "node");

async function main([name]) {
  await setUp({ nodes: [24] });
  await install(folder, "the SDKs");
  const built = (isBuilt() ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".test.mjs"))
    .map((file) => join(folder, file));
  const pattern = name === undefined ? [] : [`--test-name-pattern=${name}`];
  return run(node, ["--test", "--test-reporter=spec", ...pattern, ...files]);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
