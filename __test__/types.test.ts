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

test("with exactOptionalPropertyTypes every optional member that a caller gives may be undefined", (t) => {
  const folder = project(t);
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, { types?: string }>;
  };
  const lines: string[] = [];
  const given: string[] = [];
  for (const [entry, { types }] of Object.entries(exports)) {
    if (types === undefined) continue;
    const text = readFileSync(join(root, types), "utf8");
    const names = [...text.matchAll(/\b\w+Options\b/g)].map(([name]) => name);
    if (entry === ".") names.push("AuthConfig", "AdoptedLogin", "CredentialStore", "ImportedToken", "OutsideToken");
    if (entry === ".") names.push("ResourceRequest");
    if (entry === "./plugin") names.push("Messages");
    if (entry === "./testing") names.push("TestLogin");
    const module = `module${lines.length}`;
    lines.push(`import type * as ${module} from "clawdbot-plugin-auth${entry.slice(1)}";`);
    const isExported = (name: string) =>
      new RegExp(`export (interface ${name}\\b|[^{}]*{[^}]*\\b${name}\\b)`).test(text);
    for (const name of new Set(names.filter(isExported))) {
      given.push(name);
      lines.push(`taken<${module}.${name}>({} as Undefined<${module}.${name}>);`);
    }
  }
  assert.ok(given.length > 18, `${given}`);
  lines.push(
    "type Optional<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];",
    "type Undefined<T> = { [K in Optional<T>]: undefined };",
    "declare function taken<T>(given: Partial<T>): void;",
    "type Alone = { alone?: string };",
    "// @ts-expect-error A member without it is noticed.",
    "taken<Alone>({} as Undefined<Alone>);",
    'import { getValidAccessToken, login, status } from "clawdbot-plugin-auth";',
    "export async function example(signal: AbortSignal | undefined, clientId: string | undefined) {",
    '  const config = { pluginId: "my-memory", issuer: "https://auth.example.com", clientId };',
    "  await login(config, { onVerification() {}, signal });",
    "  // What a caller gets says what it has.",
    "  const { expiresAt }: { expiresAt?: number } = await status(config);",
    "  return [expiresAt, await getValidAccessToken(config, { signal })];",
    "}",
  );
  writeFileSync(join(folder, "plugin.mts"), lines.join("\n"));
  compile(folder, { exactOptionalPropertyTypes: true });
});

test("no published type needs esModuleInterop", () => {
  const dist = join(root, "dist");
  const types = (readdirSync(dist, { recursive: true }) as string[]).filter((path) => path.endsWith(".d.ts"));
  assert.ok(types.length > 30);
  // TypeScript 7 has no such setting any more; 5.6 with `moduleResolution: "node10"` refuses a default import then.
  const defaults = types.filter((path) =>
    /^import (?!type )\w+|^import type \w+ from/m.test(readFileSync(join(dist, path), "utf8")),
  );
  assert.deepEqual(defaults, []);
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

function compile(folder: string, more: Record<string, boolean> = {}): void {
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
      ...more,
    },
    include: ["*.mts", "*.cts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  const { stdout, status } = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
}
