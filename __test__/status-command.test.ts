/** `npx clawdbot-plugin-auth status`: the check of a timer where the host knows no commands of plugins. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { importToken, logout } from "../index.js";
import manifest from "../package.json" with { type: "json" };
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { configFor, grantedLogin } from "./support/login.ts";
import { TempHome } from "./support/temp-home.ts";

const script = fileURLToPath(new URL(`../${manifest.bin["clawdbot-plugin-auth"]}`, import.meta.url));

test("it says of each account whether somebody has to log in, without a host, a server or the plugin", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const run = async (...args: string[]) => {
    const child = Child.start(t, script, { env: home.env(), args: ["status", ...args] });
    const { code } = await child.exit;
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  const check = ["memory", "--check"];

  assert.deepEqual(await run(...check), {
    code: 1,
    stdout: `memory: not logged in\n  account  default\n  file     ${home.credentialPath("memory")}\n`,
    stderr: "memory: not logged in\n",
  });

  const config = configFor(server, home.stateDir);
  await grantedLogin(config);
  await server.stop();
  const well = await run(...check);
  assert.deepEqual([well.code, well.stderr], [0, ""]);
  assert.match(well.stdout, /^memory: logged in\n/);
  const { access } = JSON.parse((await run("memory", "--json")).stdout);
  assert.equal(access, undefined, "no token is shown");
  assert.equal(JSON.parse((await run("memory", "--json")).stdout).state, "valid");

  await importToken({ ...config, profile: "work" }, { access: "x", expires: Date.now() + 3_600_000 });
  const ending = await run(...check, "--all");
  assert.deepEqual([ending.code, ending.stderr], [2, "memory (account work): logged in, ends soon\n"]);
  assert.equal((await run(...check)).code, 0, "of the account that is meant alone");
  assert.equal((await run(...check, "--account", "work")).code, 2);
  await logout({ ...config, profile: "work" });
  assert.equal((await run(...check, "--account", "work")).code, 1);

  const elsewhere = TempHome.create(t);
  assert.equal((await run(...check, "--state-dir", elsewhere.stateDir)).code, 1);
  writeFileSync(home.credentialPath("memory"), "damaged");
  const damaged = await run(...check);
  assert.equal(damaged.code, 3, "it cannot say");
  assert.match(damaged.stderr, /default\.json/);
  const misused = await run();
  assert.equal(misused.code, 3);
  assert.match(misused.stderr, /Usage: clawdbot-plugin-auth status <plugin id>/);
});

test("what is wrong with the command line is said in one line, then comes the usage", async (t) => {
  const home = TempHome.create(t);
  const lines = async (...args: string[]) => {
    const child = Child.start(t, script, { env: home.env(), args });
    assert.equal((await child.exit).code, 3);
    return child.stderr.split("\n");
  };
  for (const [args, said] of [
    [["status", "memory", "--acount", "work"], "Unknown option '--acount'"],
    [["staus", "memory"], 'There is no command "staus"'],
    [
      ["move", "memory", "--to", "redis", "--options", "redis://127.0.0.1"],
      `--options takes JSON, such as '{"url":"redis://127.0.0.1:6379"}'`,
    ],
  ] as const) {
    const [first, second = ""] = await lines(...args);
    assert.equal(first, said);
    assert.match(second, /^Usage: clawdbot-plugin-auth /);
  }
});
