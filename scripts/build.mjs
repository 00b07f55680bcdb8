// Builds the addon into the root of the checkout: clawdbot-plugin-auth.<platform>.node and its generated types; and the
// plugin kit into dist/.
//
//   node scripts/build.mjs [--debug] [further options of `napi build`]
//   node scripts/build.mjs --keychain [--release]    clawdbot-plugin-auth-keychain.<platform>.node, beside the other
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPlugin } from "./build-plugin.mjs";
import { run, runPackage } from "./command.mjs";
import { keychainBuildOf, runningPlatform } from "./platforms.mjs";
import { root, setUp } from "./setup.mjs";

/** Generated from the doc comments in src/bindings: committed, and checked to be fresh. */
export const generatedTypes = join(root, "index.d.ts");

/** For cargo to lint what it builds, as `cargo clippy` does, which would check all dependencies as well. */
export const linting = { RUSTC_WORKSPACE_WRAPPER: "clippy-driver", CLIPPY_ARGS: "-D__CLIPPY_HACKERY__warnings" };

const target = runningPlatform()?.target;

/**
 * For what cargo builds not optimized: the target, which napi names as well, and the features that the Rust tests want.
 * The addon and they then share their dependencies, and each is compiled once.
 */
export const underTest = [...(target === undefined ? [] : ["--target", target]), "--features", "under-test"];

/** @returns {Promise<number>} The exit code. */
export async function build({ debug = false, quiet = false, options = [], env } = {}) {
  const profile = debug ? underTest : ["--release"];
  // index.js is written by hand (a small loader loads faster); napi must not replace it.
  const types = ["--no-js", "--dts", "index.d.ts", "--no-const-enum"];
  const cargo = quiet ? ["--", "--quiet"] : [];
  const code = await runPackage(
    "@napi-rs/cli/dist/cli.js",
    ["build", "--platform", ...profile, ...types, ...options, ...cargo],
    { env },
  );
  if (code === 0) {
    writeFileSync(generatedTypes, undefinable(published(readFileSync(generatedTypes, "utf8"))));
    writeFileSync(profileFile, JSON.stringify({ debug, built: lastBuilt() }));
    return buildPlugin();
  }
  return code;
}

/** Says which build the addon in the root of the checkout is. */
const profileFile = join(root, "target", "addon.json");

/**
 * The build that knows the system's keychain, beside the other one. Not optimized unless that is asked for: tests need
 * it to work, not to be small.
 *
 * @returns {Promise<number>} The exit code.
 */
export async function buildKeychain({ release = false, env } = {}) {
  const { binary, os, target } = keychainBuildOf(runningPlatform());
  const profile = release ? ["--release", "--target", target] : underTest;
  const code = await run("cargo", ["build", "--locked", "--lib", "--features", "keychain", ...profile], { env });
  if (code === 0) {
    const built = join(root, "target", target, release ? "release" : "debug", libraries[os]);
    // A process that has the old one loaded keeps it.
    rmSync(join(root, binary), { force: true });
    copyFileSync(built, join(root, binary));
  }
  return code;
}

/** The file names that cargo gives the addon. */
export const libraries = {
  linux: "libclawdbot_plugin_auth.so",
  darwin: "libclawdbot_plugin_auth.dylib",
  win32: "clawdbot_plugin_auth.dll",
  android: "libclawdbot_plugin_auth.so",
};

/** The types without what index.js alone uses, which says `@internal` in its comment. */
function published(types) {
  const comment = /\/\*\*(?:(?!\*\/)[\s\S])*?@internal(?:(?!\*\/)[\s\S])*?\*\//.source;
  const declaration = /\nexport (?:declare class|interface) [\s\S]*?\n}\n/.source;
  return types.replace(new RegExp(comment + declaration, "g"), "").replace(/\n{3,}/g, "\n\n");
}

/**
 * The types with `| undefined` at each optional member of what a caller gives, for callers that compile with
 * `exactOptionalPropertyTypes`: the parameters of functions, their members, and the results of their callbacks. What a
 * caller gets says exactly what it has.
 */
function undefinable(types) {
  const interfaces = new Map(
    [...types.matchAll(/^export interface (\w+) \{\n(?:.*\n)*?\}$/gm)].map(([text, name]) => [name, text]),
  );
  const given = new Set();
  const give = (text) => {
    for (const [name] of text.matchAll(/\b[A-Z]\w+/g)) {
      if (interfaces.has(name) && !given.has(name)) {
        given.add(name);
        give(withoutParameters(withoutComments(interfaces.get(name))));
      }
    }
  };
  for (const [, parameters] of types.matchAll(/^export declare function \w+\((.*)\): /gm)) {
    give(parameters);
  }
  let edited = types;
  for (const name of given) {
    const text = interfaces.get(name);
    const optional = /^( {2}\w+\?: )(.*?)(;?)$/gm;
    const loose = (_, start, type, end) => `${start}${type.startsWith("(") ? `(${type})` : type} | undefined${end}`;
    edited = edited.replace(text, () => text.replace(optional, loose));
  }
  return edited;
}

function withoutComments(types) {
  return types.replace(/\/\*\*[\s\S]*?\*\//g, "");
}

/** The types without the parameters of functions in them. */
function withoutParameters(types) {
  const fewer = types.replace(/\([^()]*\)(?= =>|: )/g, "");
  return fewer === types ? types : withoutParameters(fewer);
}

/**
 * Is there an addon that is no older than what it is built from? That of tests is not optimized; where it is measured,
 * ask for the one that is.
 */
export function isBuilt({ release = false } = {}) {
  const built = lastBuilt();
  const sources = readdirSync(join(root, "src"), { recursive: true }).map((name) => join("src", name));
  return (
    ["Cargo.toml", "Cargo.lock", "build.rs", ...sources].every((name) => statSync(join(root, name)).mtimeMs <= built) &&
    (!release || isReleased(built))
  );
}

/** The time of the last build, Unix ms; 0 where there is none. */
function lastBuilt() {
  const addons = readdirSync(root).filter((name) => /^clawdbot-plugin-auth\..+\.node$/.test(name));
  return Math.max(...addons.map((name) => statSync(join(root, name)).mtimeMs), 0);
}

function isReleased(built) {
  try {
    const known = JSON.parse(readFileSync(profileFile, "utf8"));
    return known.built === built && !known.debug;
  } catch {
    return false;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = process.argv.slice(2);
  try {
    await setUp();
    const debug = options.includes("--debug");
    process.exitCode = options.includes("--keychain")
      ? await buildKeychain({ release: options.includes("--release") })
      : await build({ debug, options: options.filter((option) => option !== "--debug") });
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
