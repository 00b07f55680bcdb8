// A plugin that uses the package, through every bundler: with the package left out it works as an ES module and as
// CommonJS; bundled along it works as CommonJS beside node_modules, and everywhere else the error says what to do.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { output } from "../../scripts/command.mjs";

const here = import.meta.dirname;
const require = createRequire(import.meta.url);
const packages = join(here, "node_modules");
const name = "clawdbot-plugin-auth";
/** This package and its subpaths. */
const ours = /^clawdbot-plugin-auth/;

const plugin = (load) => `
${load}
status({ pluginId: "p", stateDir: "nowhere" }).then(({ state }) => console.log(state, typeof pluginAuth));
`;
const entries = {
  "entry.mjs": plugin(`import { status } from "${name}"; import { pluginAuth } from "${name}/plugin";`),
  "entry.cjs": plugin(`const { status } = require("${name}"); const { pluginAuth } = require("${name}/plugin");`),
};

/** Each builds `entry` into `file`, an ES module or CommonJS by its ending. */
const bundlers = {
  async esbuild({ folder, entry, file, external }) {
    await require("esbuild").build({
      entryPoints: [join(folder, entry)],
      outfile: file,
      bundle: true,
      platform: "node",
      format: isModule(file) ? "esm" : "cjs",
      external: external ? [name] : [],
    });
  },
  async rollup({ folder, entry, file, external }) {
    const plugins = ["node-resolve", "commonjs", "json"].map((one) => require(`@rollup/plugin-${one}`).default());
    const input = join(folder, entry);
    const bundle = await require("rollup").rollup({ input, plugins, external: external ? [ours] : [], onLog() {} });
    await bundle.write({ file, format: isModule(file) ? "es" : "cjs", inlineDynamicImports: true });
  },
  async webpack({ folder, entry, file, external }) {
    const stats = await new Promise((resolve, reject) => {
      const type = isModule(file) ? "module" : "commonjs";
      require("webpack")(
        {
          mode: "production",
          target: "node",
          context: folder,
          entry: `./${entry}`,
          experiments: { outputModule: isModule(file) },
          output: { path: join(file, ".."), filename: file.split(/[\\/]/).at(-1), library: { type } },
          externals: external ? [ours] : [],
          externalsType: type,
        },
        (error, stats) => (error ? reject(error) : resolve(stats)),
      );
    });
    assert.deepEqual(stats.toJson({ all: false, errors: true, warnings: true }).errors, []);
  },
  async ncc({ folder, entry, file, external }) {
    const cli = join(packages, "@vercel", "ncc", "dist", "ncc", "cli.js");
    const out = `${file}.ncc`;
    const externals = external ? [name, `${name}/plugin`].flatMap((one) => ["--external", one]) : [];
    await output(process.execPath, [cli, "build", entry, "--out", out, "--quiet", ...externals], { cwd: folder });
    const [built] = readdirSync(out).filter((one) => one.startsWith("index."));
    cpSync(join(out, built), file);
  },
  async bun({ folder, entry, file, external }) {
    const externals = external ? ["--external", `${name}*`] : [];
    const format = `--format=${isModule(file) ? "esm" : "cjs"}`;
    const args = ["build", entry, "--target=node", format, `--outfile=${file}`, ...externals];
    await output(bun, args, { cwd: folder });
  },
};

const bun = join(packages, "@oven", "bun-linux-x64", "bin", "bun");

/** @param {string} folder Where the package is installed. @param {string} away Where it is not. */
export async function tryBundlers(folder, away) {
  for (const [file, text] of Object.entries(entries)) writeFileSync(join(folder, file), text);
  mkdirSync(away);
  const said = (file) =>
    output(process.execPath, [file], { cwd: away }).catch(({ message }) => /Error: .*/.exec(message)?.[0] ?? message);
  for (const [bundler, build] of Object.entries(bundlers)) {
    if (bundler === "bun" && !existsSync(bun)) continue;
    for (const ending of ["cjs", "mjs"]) {
      for (const external of [true, false]) {
        const what = `${bundler} ${ending}, ${external ? "external" : "bundled"}`;
        const file = join(folder, `${bundler}-${external ? "external" : "bundled"}`, `plugin.${ending}`);
        mkdirSync(join(file, ".."), { recursive: true });
        await build({ folder, entry: `entry.${ending}`, file, external });
        const beside = await said(file);
        // Bun writes the path of the source into an ES module; webpack makes __filename of import.meta.url.
        const works = external || ending === "cjs" || bundler === "bun" || bundler === "webpack";
        if (works) assert.equal(beside, "logged_out function\n", what);
        else assert.match(beside, /was bundled into an ES module.*`external`.*docs\/guide\/bundlers\.md/, what);
        if (external) continue;
        // A bundle is moved without node_modules.
        const moved = join(away, `${bundler}.${ending}`);
        cpSync(file, moved);
        if (bundler !== "bun")
          assert.match(await said(moved), /was bundled into .*`external`.*docs\/guide\/bundlers\.md/, what);
      }
    }
  }
}

function isModule(file) {
  return file.endsWith(".mjs");
}
