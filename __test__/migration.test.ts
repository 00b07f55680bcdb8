/** docs/guide/migration.md, followed word for word: the plugin works, and its user stays logged in. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import after from "../examples/migration/after/index.ts";
import before from "../examples/migration/before/index.ts";
import { fakeHost, startAuthorizationServer } from "../plugin/testing/index.ts";
import { TempHome } from "./support/temp-home.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const example = (side: string) => join(root, "examples", "migration", side);

test("the steps of the page turn the plugin before into the plugin after", (t) => {
  const folder = join(TempHome.create(t).path, "plugin");
  cpSync(example("before"), folder, { recursive: true });
  const page = readFileSync(join(root, "docs", "guide", "migration.md"), "utf8");
  for (const [, language, code = ""] of page.matchAll(/^```(diff|sh)\n([\s\S]*?)^```/gm)) {
    if (language === "diff") {
      execFileSync("git", ["apply", "-"], { cwd: folder, input: code });
    } else {
      execFileSync("bash", ["-euc", code], { cwd: folder });
    }
  }
  const files = (path: string) =>
    Object.fromEntries(
      readdirSync(path)
        .filter((name) => name !== "index.test.ts")
        .map((name) => [name, readFileSync(join(path, name), "utf8")]),
    );
  assert.deepEqual(files(folder), files(example("after")));
});

test("a user who was logged in before stays logged in after, in any state folder", async (t) => {
  const home = TempHome.create(t);
  const { HOME: oldHome } = process.env;
  process.env.HOME = home.path;
  const server = await startAuthorizationServer({ approval: "automatic", accessTokenLifetime: 5 });
  const pluginConfig = { authServer: server.issuer };
  const hosts = [before, after].map((plugin) => {
    const host = fakeHost({ pluginConfig });
    host.register(plugin);
    return host;
  });
  t.after(async () => {
    process.env.HOME = oldHome;
    await Promise.all([...hosts.map((host) => host.close()), server.close()]);
  });
  const [old, now] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
  const { fetch } = globalThis;
  const mocked = mock.method(globalThis, "fetch", async (input: string | URL, init?: RequestInit) => {
    if (String(input).startsWith(server.issuer)) return fetch(input, init);
    const isAccepted = server.accepts(new Headers(init?.headers).get("authorization"));
    return new Response(isAccepted ? "Earl Grey" : "", { status: isAccepted ? 200 : 401 });
  });
  t.after(() => mocked.mock.restore());
  const menu = async (host: typeof old) => (await host.execute("tea_menu")).content[0].text;

  await assert.rejects(menu(old), /Not logged in/);
  await old.run("tea login");
  assert.equal(await menu(old), "Earl Grey");
  const file = join(home.path, ".openclaw", "tea-shop", "auth.json");
  assert.ok(existsSync(file));

  assert.equal(await menu(now), "Earl Grey");
  assert.equal(JSON.parse((await now.run("tea status --json")).output).state, "valid");
  assert.ok(existsSync(`${file}.adopted`));
  assert.ok(!existsSync(file));
  // Nobody had to log in once more, and the old refresh token was used once at most.
  assert.equal(server.requests.filter(({ endpoint }) => endpoint === "device_authorization").length, 1);

  await now.run("tea logout");
  await assert.rejects(menu(now), /Tea Shop needs a login: run `openclaw tea login` in a terminal/);
});
