// `npm run test:hosts`: the example plugin in real hosts, from `npm pack` to its update. A few minutes; the first time the
// hosts are installed as well (1.5 GB in __test__/hosts, and they are no dependencies of the checkout).
//
//   node scripts/test-hosts.mjs                       all hosts
//   node scripts/test-hosts.mjs openclaw-2026.9       only those with this in their name
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { install, root, setUp } from "./setup.mjs";

const folder = join(root, "__test__", "hosts");

async function main() {
  const wanted = process.argv.slice(2);
  const hosts = readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, "package-lock.json")))
    .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
  if (hosts.length === 0) {
    throw new Error(`No host has ${wanted.join(" or ")} in its name.`);
  }
  await setUp({ nodes: [22, 24] });
  for (const host of hosts) {
    await install(join(folder, host), host);
  }
  const built = (isBuilt() ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  // Each has its own home, port and servers. Two at a time: they wait as much as they work.
  const runner = ["--test", "--test-reporter=spec", "--test-concurrency=2", "--test-timeout=900000"];
  // Some hosts are there for the login from a chat alone, which runs on all of them.
  const tests = [...hosts.map((host) => `${host}.test.ts`), "chat.test.ts"];
  const files = tests.map((name) => join("__test__", "hosts", name)).filter((file) => existsSync(join(root, file)));
  process.env.HOSTS = hosts.join(" ");
  return run(process.execPath, ["--import", "tsx", ...runner, ...files]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
