// Packs what is published, into target/packages: the package itself and one for each platform; and the same of the
// build that knows the system's keychain.
//
//   node scripts/packages.mjs
//
// Packed from copies: the published package.json differs from that of the checkout. Its optionalDependencies name the
// platform packages, which no registry has while a version is in the making; in the checkout they would break `npm ci`.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPlugin } from "./build-plugin.mjs";
import { builds, keychainPackage, platforms } from "./platforms.mjs";
import { check } from "./prebuild.mjs";
import { npm, root } from "./setup.mjs";

const folder = join(root, "target", "packages");
const keychainFolder = join(root, "keychain");

/**
 * @param {{ standIns?: boolean }} [options] For tests: takes the binary of `npm run build`, and an empty file for every
 *   platform that has none.
 * @returns {Promise<{ name: string, file: string, files: string[] }[]>} In the order in which they are published.
 */
export async function pack({ standIns = false } = {}) {
  const manifest = readManifest(root);
  checkVersions(manifest);
  if ((await buildPlugin()) !== 0) throw new Error("The plugin kit does not compile.");
  rmSync(folder, { recursive: true, force: true });
  for (const platform of builds) {
    const staged = join(folder, platform.package);
    mkdirSync(staged, { recursive: true });
    stageTexts(platform, staged);
    copyFileSync(join(root, "LICENSE"), join(staged, "LICENSE"));
    const built = join(root, platform.binary);
    if (!standIns) {
      if (!existsSync(join(platform.folder, platform.binary))) {
        throw new Error(`npm/${platform.name} has no ${platform.binary}.`);
      }
      check(platform);
      copyFileSync(join(platform.folder, platform.binary), join(staged, platform.binary));
    } else if (existsSync(built)) {
      copyFileSync(built, join(staged, platform.binary));
    } else {
      writeFileSync(join(staged, platform.binary), "");
    }
  }
  stageKeychain(manifest.version);
  const staged = join(folder, "root");
  const [{ files }] = await npmPack(["--dry-run", "."], root);
  for (const { path } of files) {
    mkdirSync(dirname(join(staged, path)), { recursive: true });
    copyFileSync(join(root, path), join(staged, path));
  }
  const { devDependencies, overrides, scripts, napi, ...published } = manifest;
  const optionalDependencies = Object.fromEntries(platforms.map(({ package: name }) => [name, manifest.version]));
  // Optional, so it is installed only on request; then in the same version, and visible to this package.
  const peers = {
    peerDependencies: { [keychainPackage]: manifest.version },
    peerDependenciesMeta: { [keychainPackage]: { optional: true } },
  };
  writeManifest(staged, { ...published, optionalDependencies, ...peers, ...repository() });

  // Packages that depend on others come last, and are published last.
  const names = [...builds.map(({ package: name }) => name), keychainPackage, "root"];
  const packages = await npmPack(
    names.map((name) => `./${name}`),
    folder,
  );
  return packages.map(({ name, filename, files }) => {
    return { name, file: join(folder, filename), files: files.map(({ path }) => path).sort() };
  });
}

/** A platform's README and manifest; those of its build with the keychain differ by the name and in a word. */
function stageTexts(platform, staged) {
  const plain = platforms.find(({ name }) => name === platform.name);
  const forKeychain = platform.package !== plain.package;
  const named = (text) => text.replaceAll(plain.package, platform.package).replaceAll(plain.binary, platform.binary);
  const readme = readFileSync(join(platform.folder, "README.md"), "utf8");
  const told = (text) => text.replaceAll("`clawdbot-plugin-auth`", `\`${keychainPackage}\``);
  writeFileSync(join(staged, "README.md"), forKeychain ? told(named(readme)) : readme);
  const manifest = readManifest(platform.folder);
  const description = forKeychain ? `${manifest.description}, with the system's keychain` : manifest.description;
  writeManifest(staged, {
    ...JSON.parse(named(JSON.stringify(manifest))),
    description,
    ...repository(`npm/${platform.name}`),
  });
}

/** The package that users add, with its dependencies. */
function stageKeychain(version) {
  const staged = join(folder, keychainPackage);
  mkdirSync(staged, { recursive: true });
  for (const name of ["README.md", "index.js"]) copyFileSync(join(keychainFolder, name), join(staged, name));
  copyFileSync(join(root, "LICENSE"), join(staged, "LICENSE"));
  const optionalDependencies = Object.fromEntries(
    builds.filter(({ features }) => features.length > 0).map((build) => [build.package, version]),
  );
  writeManifest(staged, { ...readManifest(keychainFolder), optionalDependencies, ...repository("keychain") });
}

/** One version everywhere; and what npm goes by when it chooses a platform's package. */
function checkVersions(manifest) {
  const [, crate] = /^version = "(.+)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"));
  if (crate !== manifest.version) throw new Error(`Cargo.toml has version ${crate}, package.json ${manifest.version}.`);
  const { version: ofKeychain } = readManifest(keychainFolder);
  if (ofKeychain !== manifest.version) throw new Error(`keychain/package.json has version ${ofKeychain}.`);
  for (const platform of platforms) {
    const { name, version, main, files, os, cpu, libc } = readManifest(platform.folder);
    const is = { name, version, main, files, os, cpu, libc };
    const expected = {
      name: platform.package,
      version: manifest.version,
      main: platform.binary,
      files: [platform.binary],
      os: [platform.os],
      cpu: [platform.cpu],
      libc: platform.libc && [platform.libc],
    };
    if (JSON.stringify(is) !== JSON.stringify(expected)) {
      throw new Error(`npm/${platform.name}/package.json should say ${JSON.stringify(expected)}.`);
    }
  }
}

/** Where the release workflow runs: npm accepts provenance only for the repository that the package names. */
function repository(directory) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = process.env;
  if (!server || !name) return {};
  return { repository: { type: "git", url: `git+${server}/${name}.git`, ...(directory ? { directory } : {}) } };
}

async function npmPack(args, cwd) {
  const { code, stdout, output } = await npm(["pack", "--json", "--ignore-scripts", ...args], cwd);
  if (code !== 0) throw new Error(`npm pack failed in ${cwd}:\n${output}`);
  // An array, or from npm 12 on an object by name.
  return Object.values(JSON.parse(stdout));
}

function readManifest(path) {
  return JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
}

function writeManifest(path, manifest) {
  writeFileSync(join(path, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const { name, file, files } of await pack()) console.log(`${name}: ${file}\n  ${files.join(", ")}`);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
