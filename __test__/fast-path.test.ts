/** What a fresh token costs, counted instead of timed; and that another process's write is seen at the very next call. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type AuthConfig, getValidAccessToken } from "../index.js";
import { Child } from "./support/child.ts";
import { TempHome } from "./support/temp-home.ts";

const issuer = "https://auth.example.com";
const calls = 1000;
/** In a loop that takes longer than a second the path is looked at once more: some calls beside those that are counted. */
const spare = 60;
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const linux = process.platform === "linux";
const traced = linux && spawnSync("strace", ["-o", "/dev/null", process.execPath, "-e", "0"]).status === 0;

test("a fresh token is one and the same promise, and starts no thread", async (t) => {
  const { home, config } = storedLogin(t);
  const child = Child.start(t, "fresh-calls.mjs", { env: home.env(), args: [JSON.stringify(config), String(calls)] });
  const { promises, started, token } = await child.event("asked");
  assert.equal(token, "token-000000");
  // Once a second it is a new one.
  assert.ok(Number(promises) <= spare, `${promises} promises for ${calls} calls`);
  assert.equal(started, 0);
});

test("a fresh token costs one system call for the file, none for the network, no lock and no thread", {
  skip: traced ? false : "strace cannot trace here",
}, (t) => {
  const { home, config } = storedLogin(t);
  const listing = join(home.path, "strace.txt");
  const program = [process.execPath, fixture("fresh-calls.mjs"), JSON.stringify(config), String(calls)];
  execFileSync("strace", ["-f", "-qq", "-o", listing, ...program], { env: home.env() });
  const { all, byMain } = systemCalls(readFileSync(listing, "utf8"));

  const ofFiles = byMain.filter((name) => /stat|open|read|access|fcntl|seek|statx/.test(name)).length;
  assert.ok(ofFiles >= calls, `${ofFiles} system calls for files in ${calls} calls: the file was not looked at`);
  assert.ok(ofFiles <= calls + spare, `${ofFiles} system calls for files in ${calls} calls`);
  const forbidden = /^(flock|socket|connect|sendto|sendmsg|recvfrom|recvmsg|clone|clone3|fork|vfork|inotify.*)$/;
  assert.deepEqual(
    all.filter((name) => forbidden.test(name)),
    [],
  );
});

test("10,000 writes of another process, each seen at the very next call", { timeout: 300_000 }, async (t) => {
  const { home, config, path } = storedLogin(t);
  const writer = Child.start(t, "writer.mjs", { env: home.env(), args: [path, template] });
  const write = async (way: string, number = 0) => {
    const written = writer.event("written");
    writer.send({ way, number });
    await written;
  };
  let number = 0;
  for (let round = 0; round < 2000; round += 1) {
    if (round % 20 === 0) {
      // Old enough that from here on only metadata is asked for: it alone has to tell.
      await pause(30);
      for (let call = 0; call < 3; call += 1) {
        await getValidAccessToken(config).catch(() => {});
      }
    }
    for (const way of ["replace", "overwrite", "overwrite"]) {
      number += 1;
      await write(way, number);
      assert.equal(await getValidAccessToken(config), token(number), `${way} ${number}`);
    }
    // A file without a word in it is damaged; one that is gone is a logout.
    for (const [way, code] of round % 2 === 0
      ? [
          ["truncate", "STORE_CORRUPT"],
          ["remove", "LOGIN_REQUIRED"],
        ]
      : [
          ["remove", "LOGIN_REQUIRED"],
          ["replace", undefined],
        ]) {
      await write(way as string, number);
      const asked = getValidAccessToken(config);
      if (code === undefined) {
        assert.equal(await asked, token(number));
      } else {
        await assert.rejects(asked, { code }, `${way} after ${number}`);
      }
    }
  }
});

test("while another process writes as fast as it can, no call gives a token from before a write that had returned", {
  timeout: 300_000,
}, async (t) => {
  const { home, config, path } = storedLogin(t);
  const progress = join(home.path, "progress");
  writeFileSync(progress, "000000");
  const said = openSync(progress, "r");
  t.after(() => closeSync(said));
  const buffer = Buffer.alloc(6);
  const written = () => {
    const length = readSync(said, buffer, 0, 6, 0);
    return length === 6 ? Number(buffer.toString()) : 0;
  };
  const count = 10_000;
  const args = [path, template, String(count), progress];
  const writer = Child.start(t, "writer.mjs", { env: home.env(), args });
  let asked = 0;
  for (let before = 0; before < count; before = written()) {
    const got = Number((await getValidAccessToken(config)).slice("token-".length));
    assert.ok(got >= before, `${got} was handed out after write ${before} had returned`);
    asked += 1;
    if (asked % 1000 === 0) {
      // Lets the test learn of a writer that failed.
      await Promise.race([pause(0), writer.exit]);
    }
  }
  assert.deepEqual(await writer.exit, { code: 0, signal: null });
  assert.equal(await getValidAccessToken(config), token(count));
});

const template = JSON.stringify({
  version: 1,
  access: "token-%",
  refresh: "refresh",
  expires: Date.now() + 3_600_000,
  createdAt: Date.now(),
  refreshedAt: Date.now(),
  tokenType: "Bearer",
  issuer,
  tokenEndpoint: `${issuer}/token`,
  clientId: "client",
});

function token(number: number): string {
  return `token-${String(number).padStart(6, "0")}`;
}

function storedLogin(t: TestContext): { home: TempHome; config: AuthConfig; path: string } {
  const home = TempHome.create(t);
  const path = home.credentialPath("demo");
  mkdirSync(dirname(path), { recursive: true });
  chmodSync(dirname(path), 0o700);
  writeFileSync(path, template.replace("%", "000000"), { mode: 0o600 });
  const config = { pluginId: "demo", issuer, clientId: "client", stateDir: home.stateDir };
  return { home, config, path };
}

/** The names of the system calls between the fixture's two marks: of all threads, and of the one that set them. */
function systemCalls(listing: string): { all: string[]; byMain: string[] } {
  const lines = listing.split("\n");
  const mark = (name: string) => lines.findIndex((line) => line.includes(`/fresh-calls-${name}`));
  const [begin, end] = [mark("begin"), mark("end")];
  assert.ok(begin !== -1 && end > begin, "the marks are in the listing");
  const main = lines[begin]?.split(" ")[0];
  const between = lines.slice(begin + 1, end).flatMap((line) => {
    const [, thread, name] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    return thread === undefined || name === undefined ? [] : [{ thread, name }];
  });
  return {
    all: between.map(({ name }) => name),
    byMain: between.filter(({ thread }) => thread === main).map(({ name }) => name),
  };
}
