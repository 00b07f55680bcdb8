// `npm run help`: every task of package.json with a line that says what it is for.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.mjs";

const tasks = {
  test: "everything that must hold; `npm test -- login` runs the test files with that in their names",
  dev: "waits for edits and tests them: `npm run dev -- login`",
  check: "the same as test",
  "check:platforms": "do the sources compile for Windows, macOS and Android?",
  lint: "format and lints of Rust and JavaScript",
  typecheck: "TypeScript, strict",
  format: "formats Rust, JavaScript and TypeScript in place",
  build: "the optimized addon, its types and the kit",
  "build:debug": "the addon as tests have it, quickly",
  "build:keychain": "the addon that knows the system's keychain",
  "build:plugin": "the plugin kit alone",
  demo: "a real login at a real authorization server on this machine",
  bench: "every comparison with other libraries; minutes",
  "test:hosts": "the example plugin in real hosts; `-- --all`: in every known version",
  "test:programs": "programs that share a login with us, for real",
  "test:sdks": "the recipes for SDKs, in the SDKs",
  "test:install": "the package as users install it, with the binary that is published",
  "test:servers": "logins at real protected resources, by their URL alone",
  "test:windows": "Windows on Linux, under Wine; `-- smoke|rust|keychain|tests`: one part",
  "test:long": "what takes long, or engines and a build of its own; `-- --ci`: what .ci/run runs of it",
  "test:mutations": "does a test fail where a rule of the code is taken out?",
  docs: "the documentation's site, in target/docs; `-- --pictures`: the pictures of a login, from real runs",
  fuzz: "looks for inputs that break a rule",
  soak: "processes that are killed while they refresh, for as long as you want",
  "soak:kills": "more kills at random",
  "soak:host": "a gateway that runs and reloads, for as long as you want",
  "soak:stores": "one login on four machines, while engines and networks fail, for as long as you want",
  help: "this list",
};

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
// Scripts that npm itself calls.
const hooks = ["prepack", "version"];
const names = Object.keys(scripts).filter((name) => !hooks.includes(name));
const unequal = [...names, ...Object.keys(tasks)].filter((name) => !(name in tasks && names.includes(name)));
if (unequal.length > 0) {
  console.error(`package.json and scripts/help.mjs differ in ${unequal.join(", ")}.`);
  process.exitCode = 1;
}
for (const [name, what] of Object.entries(tasks)) {
  console.log(`${(name === "test" ? "npm test" : `npm run ${name}`).padEnd(24)} ${what}`);
}
