/** Loading: every Node, every module system, several copies, and nothing done before a function is called. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type * as Esbuild from "esbuild";
import { getValidAccessToken, importToken } from "../index.js";
import { platforms, runningPlatform } from "../scripts/platforms.mjs";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { complete, configFor, expireLogin, grantedLogin } from "./support/login.ts";
import { nodeMajors } from "./support/nodes.ts";
import { copyOfThePackage } from "./support/package-copy.ts";
import { Person } from "./support/person.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { TempHome } from "./support/temp-home.ts";

const running = runningPlatform();
const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));
const traced =
  process.platform === "linux" && spawnSync("strace", ["-o", "/dev/null", process.execPath, "-e", "0"]).status === 0;

for (const node of nodeMajors) {
  test(`Node ${node}: login, token, refresh, logout; from ESM and CommonJS`, async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    const config = configFor(server, home.stateDir);
    const modules = Child.start(t, "modules.mjs", { node, env: home.env() });
    assert.deepEqual((await modules.event("modules")).same, true);
    assert.deepEqual(await modules.exit, { code: 0, signal: null });

    const plugin = await PluginProcess.start(t, { node, env: home.env() });
    const loggedIn = plugin.login(config);
    await new Person().approve(complete(await plugin.verification()));
    await loggedIn;
    const first = await plugin.accessToken(config);
    await expireLogin(config);
    assert.notEqual(await plugin.accessToken(config), first);
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
    await assert.rejects(plugin.accessToken(config), { code: "LOGIN_REQUIRED", name: "AuthError" });
    await plugin.end();
    assert.deepEqual(await plugin.child.exit, { code: 0, signal: null });
  });
}

test("loading starts no thread, and neither does a fresh token", { skip: process.platform !== "linux" }, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const child = Child.start(t, "threads.mjs", { env: home.env(), args: [JSON.stringify(config)] });
  const { before, after, fresh, token } = await child.event("threads");
  assert.ok(token);
  assert.equal(after, before);
  assert.equal(fresh, before);
});

test("copies of one version share an image, loaded by the first call; of another version they share the refresh", {
  skip: process.platform !== "linux",
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  await expireLogin(config);
  const folders = ["one", "two", "three", "other"].map((name) => copyOfThePackage(home, name));
  const images = join(folders[3] as string, "lib", "images.js");
  writeFileSync(images, readFileSync(images, "utf8").replace(/^const VERSION = ".*"/m, 'const VERSION = "9.9.9"'));
  const child = Child.start(t, "two-copies.mjs", { env: home.env(), args: [JSON.stringify(config), ...folders] });
  const { loaded, images: mapped, recognized, tokens } = await child.event("copies");
  assert.equal(loaded, 0, "no image is mapped before a function is called");
  assert.equal(mapped, 2);
  assert.equal(recognized, true);
  assert.equal(new Set(tokens as string[]).size, 1);
  assert.equal((tokens as string[]).length, 40);
  assert.equal((await server.requests({ grant: "refresh_token" })).length, 1);
});

test("what another version has put down for the process is used, and served, as the contract says", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const args = [JSON.stringify({ folder: copyOfThePackage(home, "ours"), config })];
  const child = Child.start(t, "other-version.mjs", { env: home.env(), args });
  assert.deepEqual((await child.event("imported")).asked, ["letGo"]);
  assert.deepEqual((await child.event("stopped")).asked, ["settled number", "letGo"]);
  assert.equal((await child.event("joined")).userCode, "OLD-CODE");
  // Twice: reading the order of accounts looks for replaced files as well.
  assert.deepEqual((await child.event("logged out")).asked, ["letGo", "abort", "letGo"]);
  const { members, isLeaving } = await child.event("own image");
  assert.equal(isLeaving, true);
  for (const member of ["leave: function", "settled: function", "letGo: function", "native: object"]) {
    assert.ok((members as string[]).includes(member), `${member} of ${members}`);
  }
  assert.deepEqual((await child.event("left")).asked, ["leave number"]);
  assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
});

test("a plugin of which the host runs a copy leaves nothing of it mapped", {
  skip: process.platform !== "linux",
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const stays = copyOfThePackage(home, join("plugin", "node_modules", "clawdbot-plugin-auth"));
  const copy = copyOfThePackage(home, "capture");
  const args = [JSON.stringify(config), join(home.path, "plugin"), copy];
  const child = Child.start(t, "captured-plugin.mjs", { env: home.env(), args });
  const { token, mapped } = await child.event("mapped");
  assert.ok(token);
  assert.deepEqual(mapped, [join(stays, running?.binary ?? "")]);
});

test("a fresh token takes no more modules than it needs", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const args = [JSON.stringify(config), join(copyOfThePackage(home, "package"), "index.js")];
  const child = Child.start(t, "fresh-token.cjs", { env: home.env(), args });
  const { token, modules, threads } = await child.event("loaded");
  assert.ok(token);
  assert.equal(threads, false, "Node's own module for threads costs more than the rest together");
  const ours = (modules as string[]).filter((name) => !name.endsWith(".node"));
  assert.deepEqual(ours.sort(), ["fresh-token.cjs", "images.js", "index.js"]);
});

test("the first token of a process takes no more files and system calls than it needs", {
  skip: traced ? false : "strace cannot trace here",
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  const folder = copyOfThePackage(home, "package");
  const listing = join(home.path, "strace.txt");
  const program = [join(fixtures, "fresh-token.cjs"), JSON.stringify(config), join(folder, "index.js")];
  execFileSync("strace", ["-f", "-qq", "-o", listing, process.execPath, ...program], { env: home.env() });
  const lines = readFileSync(listing, "utf8").split("\n");
  const begin = lines.findIndex((line) => line.includes(join(folder, "index.js")) && line.includes("openat("));
  const end = lines.findIndex((line) => line.includes("write(") && line.includes("loaded"));
  assert.ok(begin !== -1 && end > begin);
  const until = lines.slice(begin, end);
  const opened = until.flatMap((line) => /openat\(.*"(.*)", .*\) = \d+$/.exec(line)?.[1] ?? []);
  const ours = opened.filter((path) => path.startsWith(folder)).map((path) => basename(path));
  // The binary twice: whether it is whole is looked at before the system maps it.
  const binary = running?.binary ?? "";
  assert.deepEqual(ours, ["index.js", "images.js", binary, binary]);
  const ofFiles = until.filter((line) => /^\d+ +(openat|statx|readlink|access|lstat|newfstatat|stat)\(/.test(line));
  assert.ok(ofFiles.length <= 30, `${ofFiles.length} system calls that look for files:\n${ofFiles.join("\n")}`);
  const forbidden = until.filter((line) => /^\d+ +(clone3?|socket|flock|inotify_\w+)\(/.test(line));
  assert.deepEqual(forbidden, []);
});

test("the image is known by the version of the package", () => {
  const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  const [, known] = /^const VERSION = "(.*)"/m.exec(read("lib/images.js")) ?? [];
  assert.equal(known, JSON.parse(read("package.json")).version);
});

test("two copies of the JavaScript over one image ask their own questions", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = configFor(server, home.stateDir);
  const other = { ...config, profile: "other" };
  await grantedLogin(config);
  await grantedLogin(other);
  const args = [config, other].map((one) => JSON.stringify(one));
  const child = Child.start(t, "two-contexts.mjs", { env: home.env(), args });
  const { token } = await child.event("before");
  assert.equal(token, await getValidAccessToken(config));
  await importToken(config, { access: "another" });
  child.send("again");
  const { tokens } = await child.event("after");
  assert.deepEqual(tokens, Array(10).fill("another"));
});

for (const { what, binaries, says } of [
  {
    what: "missing",
    binaries: {},
    says: [/: the package clawdbot-plugin-auth-[a-z0-9-]+ is missing\./, /--omit=optional/],
  },
  {
    what: "not a binary",
    binaries: { own: () => Buffer.from("<html>Bad gateway</html>") },
    says: [/does not load \(/],
  },
  ...(process.platform === "linux"
    ? [
        { what: "empty", binaries: { own: () => Buffer.alloc(0) }, says: [/does not load \(.*too short\)/] },
        // Mapped by the system as if it were whole: without a look at its length this is a SIGBUS.
        {
          what: "truncated",
          binaries: { own: (whole: Buffer) => whole.subarray(0, whole.length / 2) },
          says: [/does not load \(.*\.node: the file is truncated\)/],
        },
        {
          what: "of another architecture",
          binaries: {
            own: (whole: Buffer) => Buffer.concat([whole.subarray(0, 18), Buffer.of(0x16), whole.subarray(19)]),
          },
          says: [/does not load \(/],
        },
        {
          what: "of another libc",
          binaries: { other: () => Buffer.from("needs another libc") },
          says: [/: the package \S+ is missing; the one for (gnu|musl), which is there, does not load \(/],
        },
      ]
    : []),
] as BinaryProblem[]) {
  test(`a binary that is ${what}: one clear error`, { skip: running === undefined }, async (t) => {
    assert.ok(running);
    const home = TempHome.create(t);
    const folder = copyOfThePackage(home, "broken", (name) => !name.endsWith(".node"));
    const whole = readFileSync(new URL(`../${running.binary}`, import.meta.url));
    for (const [which, content] of Object.entries(binaries)) {
      const { name, main } = which === "own" ? { name: running.package, main: running.binary } : otherLibc();
      const installed = join(folder, "node_modules", name);
      mkdirSync(installed, { recursive: true });
      writeFileSync(join(installed, "package.json"), JSON.stringify({ name, main }));
      writeFileSync(join(installed, main), content(whole));
    }
    const child = Child.start(t, "first-call.mjs", { env: home.env(), args: [join(folder, "index.js")] });
    const { isAuthError, code, message, stack } = await child.event("rejected");
    assert.deepEqual([isAuthError, code], [true, "INVALID_CONFIG"]);
    const where = [running.os, running.cpu].join(" ");
    assert.match(String(message), new RegExp(`^clawdbot-plugin-auth has no working binary for ${where}`));
    for (const pattern of says) assert.match(String(message), pattern);
    assert.match(String(message), new RegExp(`add ${running.package}@\\d+\\.\\d+\\.\\d+`));
    assert.match(String(stack), /first-call\.mjs/);
  });
}

const overriding = (platform: string) =>
  `Object.defineProperty(process, "platform", { value: ${JSON.stringify(platform)} });`;

const nodeIsOf = (triple: string) => {
  const [platform, arch] = triple.split("-");
  return `${overriding(platform as string)} Object.defineProperty(process, "arch", { value: "${arch}" });`;
};

/** Prints what the first call says. */
function firstCall(folder: string, before = ""): string {
  const config = { pluginId: "p", issuer: "https://auth.example.com", stateDir: folder };
  return `${before} (async () => { console.log((await require(${JSON.stringify(folder)}).status(${JSON.stringify(config)})).state); })()
    .catch(({ message }) => console.log(message));`;
}

for (const [what, flags, before, says, never] of [
  ["addons are disabled", ["--no-addons"], "", /start it without --no-addons.*--allow-addons/, /omit=optional/],
  [
    "the permission model allows none",
    [
      process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission",
      "--allow-fs-read=*",
    ],
    "",
    /start it without --no-addons.*--allow-addons/,
    /omit=optional/,
  ],
  [
    "Android on x64",
    [],
    nodeIsOf("android-x64"),
    /no working binary for android x64: .*proot-distro/,
    /npm run build|omit/,
  ],
  [
    "Android on arm64",
    [],
    nodeIsOf("android-arm64"),
    /no working binary for android arm64: the package clawdbot-plugin-auth-android-arm64 is missing.*--omit=optional/,
    /proot-distro/,
  ],
  ["a platform of which there is none", [], overriding("freebsd"), /for freebsd \w+: .*`npm run build`/, /omit/],
] as const) {
  test(`${what}: the error says what helps, and nothing else`, async (t) => {
    const folder = copyOfThePackage(TempHome.create(t), "here");
    const { stdout } = spawnSync(process.execPath, [...flags, "-e", firstCall(folder, before)], { encoding: "utf8" });
    assert.match(stdout, says);
    assert.doesNotMatch(stdout, never);
    if (flags.length === 0) return;
    // The host that loads the plugin shows it, not the first call of a day.
    const load = `try { require(${JSON.stringify(folder)}); } catch ({ message }) { console.log(message); }`;
    assert.match(spawnSync(process.execPath, [...flags, "-e", load], { encoding: "utf8" }).stdout, says);
  });
}

for (const [what, format, says] of [
  [
    "an ES module",
    "esm",
    /was bundled into an ES module, where its binary is not\..*`external`.*docs\/guide\/bundlers\.md/,
  ],
  [
    "CommonJS",
    "cjs",
    /was bundled into \S+plugin\.cjs, where its binary is not\..*`external`.*docs\/guide\/bundlers\.md/,
  ],
] as const) {
  test(`bundled into ${what}, by the esbuild that tsx brings: the error says what to write`, (t) => {
    const folder = TempHome.create(t).path;
    const { buildSync } = createRequire(createRequire(import.meta.url).resolve("tsx"))("esbuild") as typeof Esbuild;
    const outfile = join(folder, format === "esm" ? "plugin.mjs" : "plugin.cjs");
    const contents = `import { status } from "../index.js";
      status({ pluginId: "p", issuer: "https://auth.example.com", stateDir: "nowhere" }).catch(({ message }) => console.log(message));`;
    const stdin = { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) };
    buildSync({ stdin, outfile, bundle: true, platform: "node", format, logLevel: "silent" });
    const { stdout, stderr } = spawnSync(process.execPath, [outfile], { encoding: "utf8", cwd: folder });
    assert.match(stdout + stderr, says);
  });
}

for (const triple of [
  `freebsd-${process.arch}`,
  "android-arm64",
  "android-arm-eabi",
  "linux-arm-gnueabihf",
  "linux-ia32-gnu",
  "win32-x64-gnu",
]) {
  test(`a binary of the user's own is loaded where there is none of ours: ${triple}`, {
    skip: running === undefined || process.platform === "win32",
  }, (t) => {
    const folder = copyOfThePackage(TempHome.create(t), "own", (name) => !name.endsWith(".node"));
    const own = join(folder, `clawdbot-plugin-auth.${triple}.node`);
    copyFileSync(new URL(`../${running?.binary}`, import.meta.url), own);
    const program = firstCall(folder, nodeIsOf(triple));
    assert.equal(spawnSync(process.execPath, ["-e", program], { encoding: "utf8" }).stdout, "logged_out\n");
    writeFileSync(own, "damaged");
    const { stdout } = spawnSync(process.execPath, ["-e", program], { encoding: "utf8" });
    assert.match(stdout, /^clawdbot-plugin-auth has no working binary for \S+ \S+.* does not load \(/);
  });
}

test("a report that may not be had, as in Deno without --allow-sys: what is missing is said all the same", {
  skip: process.platform !== "linux",
}, (t) => {
  const folder = copyOfThePackage(TempHome.create(t), "here", (name) => !name.endsWith(".node"));
  const before = 'process.report.getReport = () => { throw new Error("Requires sys access"); };';
  const { stdout } = spawnSync(process.execPath, ["-e", firstCall(folder, before)], { encoding: "utf8" });
  assert.match(stdout, /: the package clawdbot-plugin-auth-linux-\S+ is missing\./);
});

test("a folder mounted noexec, and a file that may not be read: what helps is said", {
  skip: process.platform !== "linux" || process.getuid?.() !== 0 ? "takes Linux, and root to mount" : false,
}, async (t) => {
  const home = TempHome.create(t);
  const folder = copyOfThePackage(home, "here");
  const program = firstCall(folder);
  const { error, stdout } = spawnSync(
    "unshare",
    [
      "--mount",
      "sh",
      "-c",
      'mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1" && exec "$2" -e "$3"',
      "sh",
      folder,
      process.execPath,
      program,
    ],
    { encoding: "utf8" },
  );
  assert.equal(error, undefined);
  assert.match(
    stdout,
    /does not load \(.*\)\. Its folder is on a file system mounted noexec.*: install the plugin elsewhere\.\n$/,
  );
  chmodSync(home.path, 0o755);
  chmodSync(join(folder, String(running?.binary)), 0o600);
  const unread = spawnSync(process.execPath, ["-e", program], { encoding: "utf8", uid: 65534, gid: 65534 });
  assert.match(
    unread.stdout,
    /does not load \(.*EACCES.*\)\. Give the user that runs this process read access to that file\.\n$/,
  );
});

interface BinaryProblem {
  what: string;
  /** The binaries: for the running platform, and for the same processor and the other libc. */
  binaries: { own?: (whole: Buffer) => Buffer; other?: (whole: Buffer) => Buffer };
  says: RegExp[];
}

function otherLibc(): { name: string; main: string } {
  const other = platforms.find(
    ({ os, cpu, libc }) => os === running?.os && cpu === running.cpu && libc !== running.libc,
  );
  assert.ok(other);
  return { name: other.package, main: other.binary };
}
