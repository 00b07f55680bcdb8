// `npm run docs`: the documentation as a site, in target/docs: the guide, the reference of every function and option made from
// index.d.ts and the kit, and the evidence. A link that leads nowhere fails it.
import { join } from "node:path";
import { run } from "./command.mjs";
import { install, root, setUp } from "./setup.mjs";

const folder = join(root, "docs", "site");

async function main() {
  await setUp();
  await install(folder, "the generator of the documentation");
  const typedoc = join(folder, "node_modules", "typedoc", "bin", "typedoc");
  return run(process.execPath, [typedoc, "--options", join(folder, "typedoc.json")]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
