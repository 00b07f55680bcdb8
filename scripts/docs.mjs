// `npm run docs`: the documentation as a site, in target/docs: the guide, the reference of every function and option
// made from index.d.ts and the kit, and the evidence. A link that leads nowhere fails it. With `--pictures`:
// docs/guide/login.svg and chat.svg, from real runs.
import { join } from "node:path";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { install, root, setUp } from "./setup.mjs";

const folder = join(root, "docs", "site");

async function main() {
  await setUp();
  await install(folder, "the generator of the documentation");
  if (process.argv.includes("--pictures")) {
    return (await buildPlugin()) || run(process.execPath, ["--import", "tsx", join(folder, "pictures.mts")]);
  }
  const typedoc = join(folder, "node_modules", "typedoc", "bin", "typedoc");
  return run(process.execPath, [typedoc, "--options", join(folder, "typedoc.json")]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
