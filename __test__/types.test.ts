/** The documented examples: each compiles, and every function has one. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

test("every example in index.d.ts, in the README and in the documentation compiles, in strict TypeScript, as ESM and as CommonJS", (t) => {
  const folder = project(t);
  const types = readFileSync(join(root, "index.d.ts"), "utf8");
  const documented = [...types.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code.replace(/^ \* ?/gm, ""));
  const shown = pages("README.md", "docs", "examples").flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code),
  );
  assert.ok(shown.length >= 20);
  const functions = [...types.matchAll(/^export declare (?:function|class) (\w+)/gm)].map(([, name = ""]) => name);
  assert.ok(functions.length >= 8);
  for (const name of functions) {
    assert.ok(
      documented.some((code) => new RegExp(`\\b${name}\\b`).test(code)),
      `${name} has no example`,
    );
  }

  for (const [index, code] of [...documented, ...shown].entries()) {
    for (const extension of ["mts", "cts"]) {
      if (extension === "cts" && /^(?!import).*\bawait\b/m.test(code) && !code.includes("async")) continue;
      writeFileSync(join(folder, `example${index}.${extension}`), code);
    }
  }
  compile(folder);
});

test("the kit takes an `api` that is typed by hand, with other members of `runtime`", (t) => {
  const folder = project(t);
  writeFileSync(
    join(folder, "plugin.mts"),
    `import { pluginAuth } from "clawdbot-plugin-auth/plugin";
interface Api {
  id: string;
  runtime: { tts: { textToSpeech(text: string): Promise<void> } };
  logger: { info(message: string): void; warn(message: string): void; error(message: string): void };
  registerTool(tool: { name: string }): void;
}
export const register = (api: Api) => pluginAuth(api, { issuer: "https://auth.example.com" });
`,
  );
  compile(folder);
});

/** The pages at these places, those of installed packages left out. */
function pages(...places: string[]): string[] {
  return places.flatMap((place) =>
    place.endsWith(".md")
      ? [place]
      : readdirSync(join(root, place), { withFileTypes: true })
          .filter((entry) => entry.name !== "node_modules" && (entry.isDirectory() || entry.name.endsWith(".md")))
          .flatMap((entry) => pages(`${place}/${entry.name}`)),
  );
}

/** A folder that has the package installed, and what the examples import besides. */
function project(t: TestContext): string {
  // Beside node_modules, so that the types of Node are found.
  mkdirSync(join(root, "target"), { recursive: true });
  const folder = mkdtempSync(join(root, "target", "examples-"));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "clawdbot-plugin-auth"), "dir");
  // SDKs are of no type here; their recipes run in `npm run test:sdks`.
  writeFileSync(join(folder, "sdks.d.cts"), 'declare module "openai";\n');
  return folder;
}

function compile(folder: string): void {
  const compiler = createRequire(import.meta.url)
    .resolve("typescript/package.json")
    .replace("package.json", "bin/tsc");
  const options = {
    compilerOptions: {
      module: "nodenext",
      target: "es2022",
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: ["node"],
      typeRoots: [join(root, "node_modules", "@types")],
    },
    include: ["*.mts", "*.cts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  const { stdout, status } = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
}
