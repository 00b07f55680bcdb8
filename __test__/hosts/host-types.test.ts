/** A plugin that types `api` by its host's own types compiles against the kit, in strict TypeScript. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { hosts } from "./support/host.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

// clawdbot 2026.1.24-3 comes without types.
const isTried = ({ host, ci, folder }: (typeof hosts)[number]) => host === "openclaw" && (ci ?? folder) !== undefined;
for (const { id, host, folder } of hosts.filter(isTried)) {
  test(`${id}: its \`OpenClawPluginApi\` is what pluginAuth takes`, (t) => {
    const versions = join(root, "__test__", "hosts", "versions");
    const places = folder === undefined ? [join(versions, id), dirname(versions)] : [folder];
    const installed = places.map((place) => join(place, "node_modules", host)).find(existsSync);
    assert.ok(installed !== undefined, "it is not installed");
    // As openclaw before 2026.2 does.
    if (
      folder !== undefined &&
      !["index", "core"].some((name) => existsSync(join(installed, `dist/plugin-sdk/${name}.d.ts`)))
    ) {
      t.skip("it comes without types");
      return;
    }
    const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    // 2026.9 has no entry for all of it any more.
    const entry = ["./plugin-sdk", "./plugin-sdk/core"].find((name) => exports?.[name] !== undefined);
    assert.ok(entry !== undefined, "no entry with the types of a plugin");
    const types = `${host}/${entry.slice(2)}`;

    mkdirSync(join(root, "target"), { recursive: true });
    const project = mkdtempSync(join(root, "target", "host-types-"));
    t.after(() => rmSync(project, { recursive: true }));
    mkdirSync(join(project, "node_modules"));
    symlinkSync(root, join(project, "node_modules", "clawdbot-plugin-auth"), "dir");
    symlinkSync(installed, join(project, "node_modules", host), "dir");
    writeFileSync(
      join(project, "plugin.mts"),
      `import { type PluginApi, pluginAuth } from "clawdbot-plugin-auth/plugin";
import type { OpenClawPluginApi } from "${types}";
export const register = (api: OpenClawPluginApi) => pluginAuth(api, { issuer: "https://auth.example.com" });
export const asOurs = (api: OpenClawPluginApi): PluginApi => api;
// @ts-expect-error: the host's type is one, and not any
export const asNumber = (api: OpenClawPluginApi): number => api;
`,
    );
    const compilerOptions = {
      module: "nodenext",
      target: "es2022",
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      types: ["node"],
      typeRoots: [join(root, "node_modules", "@types")],
    };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.mts"] }));
    const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
    const program = compiler.replace("package.json", "bin/tsc");
    const { stdout, status } = spawnSync(process.execPath, [program, "-p", project], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
}
