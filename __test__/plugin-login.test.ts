/** The plugin kit: how a person logs in, out, and looks at it, on the command line and through the gateway. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { logout, type Verification } from "../index.js";
import { browserCommand, openPage } from "../plugin/browser.ts";
import { pluginAuth } from "../plugin/index.ts";
import { Screen } from "../plugin/screen.ts";
import { exitCode, logoutText, statusText } from "../plugin/status-text.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { approve, browserConfig } from "./support/browser-login.ts";
import { Child, scriptMissing } from "./support/child.ts";
import { exchange } from "./support/exchange.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { complete, configFor, grantedLogin } from "./support/login.ts";
import { Person } from "./support/person.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

const pluginId = "my-memory";

function command(t: Lifetime, home: TempHome, server: AuthorizationServer, args: string[], env = {}): Child {
  const { pluginId: _id, ...options } = configFor(server, home.stateDir);
  return Child.start(t, "plugin-command.mjs", { args: [JSON.stringify(options), ...args], env: home.env(env) });
}

async function outcome(child: Child): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code } = await child.exit;
  return { code, stdout: child.stdout, stderr: child.stderr };
}

const printedUrl = (child: Child) => child.written(/\S+\?user_code=\S+/);

test("commands without a terminal: plain lines, exit codes, JSON; one account after the other", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const run = (...args: string[]) => outcome(command(t, home, server, args));

  const none = await run("status", "--check");
  assert.equal(none.code, 1);
  assert.equal(none.stderr, "My Memory: not logged in\n", "else a host that knows no such command looks the same");
  assert.match(none.stdout, /^My Memory: not logged in\n.*Log in with: openclaw my-memory login\n$/s);
  assert.match((await run("accounts")).stdout, /^Nobody is logged in to My Memory\. Log in with: openclaw/);

  const login = command(t, home, server, ["login"], { DISPLAY: ":0" });
  await new Person().approve(await printedUrl(login));
  const done = await outcome(login);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /Waiting for your approval …\n✓ Logged in to My Memory, for .*memory.*\.\n$/);
  assert.equal(/[█▀]/.test(done.stdout) || done.stdout.includes("\u001b"), false, "no colours, no QR code");

  const status = await run("status", "--json", "--check");
  assert.equal(status.code, 0);
  assert.equal(JSON.parse(status.stdout).state, "valid");
  assert.match((await run("status")).stdout, /^My Memory: logged in\n {2}account {2}default\n/);
  assert.match((await run("status", "--account=work")).stdout, /Log in with: openclaw my-memory login --account work/);
  assert.match((await run("accounts")).stdout, /^default {2}logged in\n$/);
  assert.equal(JSON.parse((await run("accounts", "--json")).stdout)[0].profile, "default");

  assert.match((await run("logout", "--account=work")).stdout, /^Nobody was logged in/);
  assert.match(
    (await run("logout", "--without-keychain")).stdout,
    /^Logged out of My Memory; the server has revoked the tokens\.\n$/,
  );
  assert.equal((await run("status", "--check", "--json")).code, 1);
});

test("--profile behind the command touches no account: openclaw 2026.2.26 leaves it in the arguments and heeds it nowhere", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const run = (...args: string[]) => outcome(command(t, home, server, args));
  await grantedLogin(configFor(server, home.stateDir, { pluginId }));
  for (const line of [
    ["logout", "--profile=work"],
    ["login", "--token", "--profile=work"],
  ]) {
    const { code, stdout, stderr } = await run(...line);
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^Nothing was done: .* give `--account work`[^\n]*\n$/);
  }
  const { code, stderr } = await run("status", "--check");
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" }, "the default account is logged in as before");
});

/** Of the tests that send a signal from outside, as no terminal does. */
const withSignals = { skip: process.platform === "win32" && "Windows has no signals: kill ends a process" };

test("Ctrl-C says that nothing was changed, and that is so", withSignals, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const config = { ...configFor(server, home.stateDir), pluginId };
  await grantedLogin(config);
  for (const [signal, exitCode] of [["SIGINT", 130] as const, ["SIGTERM", 143] as const]) {
    const before = (await server.requests({ grant: "device_code" })).length;
    const login = command(t, home, server, ["login"]);
    await server.request({ endpoint: "token", grant: "device_code" }, before + 1);
    login.signal(signal);
    const { code, stderr } = await outcome(login);
    assert.equal(code, exitCode);
    assert.equal(stderr, "Given up. Nothing was changed.\n");
  }
  assert.equal((await outcome(command(t, home, server, ["status", "--check"]))).code, 0);
});

/** How hosts handle signals, as plugin-command.mjs plays them; and their output after the login. */
const hostsAndSignals: [name: string, host: string | undefined, said: string][] = [
  ["that does not listen", undefined, ""],
  ["that ends the process at once", "ends", ""],
  ["that listens where nobody else does, and gets them twice", "leaves", "The host has tidied up.\r\n"],
  ["that goes on", "stays", "listeners after the login: 1\r\n"],
];

for (const [name, host, said] of hostsAndSignals) {
  test(`Ctrl-C on a terminal is answered once, in a host ${name}`, {
    skip: process.platform !== "linux" && "takes util-linux's script",
  }, async (t) => {
    const server = await AuthorizationServer.start(t);
    const home = TempHome.create(t);
    const { pluginId: _id, ...options } = configFor(server, home.stateDir);
    const script = fileURLToPath(new URL("fixtures/plugin-command.mjs", import.meta.url));
    const login = Child.start(t, "terminal.mjs", {
      args: [process.execPath, script, JSON.stringify({ ...options, host }), "login"],
      env: home.env(),
    });
    await login.written(/ \d:\d\d left, Ctrl-C gives up/);
    login.signal("SIGINT");
    assert.equal((await login.exit).code, 130, login.stdout);
    const after = login.stdout.slice(login.stdout.lastIndexOf("^C"));
    assert.equal(after, `^C\r\u001b[KGiven up. Nothing was changed.\r\n${said}`);
  });
}

test("what fails is one line, and exit code 1", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  // Only Linux knows sessions without a desktop; elsewhere it would open a browser.
  const isLinux = process.platform === "linux";
  const login = command(t, home, server, isLinux ? ["login", "--open"] : ["login"]);
  await new Person().deny(await printedUrl(login));
  const { code, stdout, stderr } = await outcome(login);
  assert.equal(code, 1);
  assert.match(stderr, /^[^\n]*(declined|denied)[^\n]*\n$/i);
  if (isLinux) assert.match(stdout, /No browser is opened: this is not a desktop session\./);
});

test("a login without a refresh token says when it ends, and names offline_access unless it was asked for", async (t) => {
  const stub = await StubServer.start(t, {
    routes: {
      "/device": {
        status: 200,
        body: {
          device_code: "d",
          user_code: "AB-CD",
          verification_uri: "https://x.example",
          expires_in: 60,
          interval: 1,
        },
      },
      "/token": { status: 200, body: { access_token: "a", token_type: "Bearer", expires_in: 3600 } },
    },
  });
  for (const [id, scopes, advice] of [
    ["plain", ["memory"], / Most servers give one for the scope offline_access\.\n/],
    ["asked", ["memory", "offline_access"], /so this login ends \S[^\n]*\.\n/],
  ] as const) {
    const host = new FakeHost({ id, stateDir: TempHome.create(t).stateDir });
    const endpoints = { deviceAuthorizationEndpoint: `${stub.origin}/device`, tokenEndpoint: `${stub.origin}/token` };
    pluginAuth(host.api, { clientId: "c", ...endpoints, scopes: [...scopes] });
    const { exitCode, output } = await host.run(`${id} login`);
    assert.equal(exitCode, 0, output);
    assert.match(output, /The server gave no refresh token, so this login ends /);
    assert.match(output, advice);
    assert.equal(output.includes("Most servers"), id === "plain");
  }
});

test("status --check: 0 usable, 2 ends soon and cannot be renewed, 1 everything else", () => {
  const status = { profile: "default", path: "/x", refreshable: false, expiresAt: Date.now() + 3_600_000 };
  assert.equal(exitCode({ ...status, state: "valid" }), 0);
  assert.equal(exitCode({ ...status, state: "expiring" }), 2);
  assert.equal(exitCode({ ...status, state: "expired" }), 1);
  assert.equal(exitCode({ ...status, state: "login_required" }), 1);
  assert.equal(exitCode({ ...status, state: "logged_out" }), 1);
  assert.match(statusText({ ...status, state: "expiring" }, "X"), /X: logged in, ends soon\n.*cannot be renewed/s);
  assert.match(
    statusText({ ...status, state: "valid", missingScopes: ["notes"] }, "X"),
    /lacking {2}notes \(log in again to get them\)/,
  );
});

test("logout names what the keychain has kept, status where the token is sent", () => {
  const outcome = { removed: true, revoked: false, leftInKeychain: ["my-memory/default 1"] };
  assert.equal(
    logoutText(outcome, "My Memory"),
    "Logged out of My Memory; the server was not told.\n" +
      "  Still in the keychain: my-memory/default 1. Remove it with the system's own tool.",
  );
  const status = { state: "valid", profile: "default", path: "/x", refreshable: true } as const;
  assert.match(
    statusText(status, "My Memory", ["https://api.example.com"]),
    /sent to {2}https:\/\/api\.example\.com\n/,
  );
  assert.doesNotMatch(statusText(status, "My Memory"), /sent to/);
});

test("the browser is opened only on a desktop session", () => {
  assert.equal(browserCommand({}, "linux"), undefined);
  assert.deepEqual(browserCommand({ WAYLAND_DISPLAY: "wayland-0" }, "linux"), ["xdg-open"]);
  assert.equal(browserCommand({ DISPLAY: ":0", SSH_CONNECTION: "…" }, "linux"), undefined);
  assert.deepEqual(browserCommand({}, "darwin"), ["open"]);
  assert.equal(browserCommand({ SSH_TTY: "/dev/pts/0" }, "darwin"), undefined);
  assert.equal(browserCommand({}, "win32")?.[0], "rundll32");
});

test("whether the page is open is what the opener says: by its exit code, or by staying", {
  skip: process.platform === "win32" && "takes a shell",
}, async (t) => {
  const home = TempHome.create(t);
  // The login that goes on keeps a process alive, not the program that opens the page.
  const login = setInterval(() => {}, 60_000);
  t.after(() => clearInterval(login));
  const opener = (script: string): [string] => {
    const program = join(home.path, "opener");
    writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return [program];
  };
  await openPage(opener('test "$1" = https://auth.example.com/'), "https://auth.example.com/");
  // xdg-open: 3 is "a required tool could not be found", 4 "the action failed".
  await assert.rejects(openPage(opener("sleep 0.1; exit 3"), "https://auth.example.com/"), /ended with 3/);
  await assert.rejects(openPage(opener("exit 4"), "https://auth.example.com/"), /ended with 4/);
  await assert.rejects(openPage(opener("kill -9 $$"), "https://auth.example.com/"), /ended with null/);
  await assert.rejects(openPage([join(home.path, "none")], "https://auth.example.com/"), { code: "ENOENT" });
  // A browser in the foreground.
  const pid = join(home.path, "pid");
  await openPage(opener(`echo $$ > '${pid}'; exec sleep 600`), "https://auth.example.com/", 500);
  process.kill(Number(readFileSync(pid, "utf8")));
});

test("a browser that does not come back: after a while, what to look for; one that is refused: why", async (t) => {
  const stub = await StubServer.start(t);
  stub.describe({ authorization_endpoint: `${stub.origin}/authorize` });
  const home = TempHome.create(t);
  const host = new FakeHost({ id: pluginId, stateDir: home.stateDir });
  pluginAuth(host.api, { issuer: stub.origin, clientId: "c", flow: "authorization_code" });
  let said = "";
  const written = (pattern: RegExp): Promise<string> =>
    new Promise((resolve) => {
      const look = () => {
        const found = pattern.exec(said)?.[0];
        if (found === undefined) setImmediate(look);
        else resolve(found);
      };
      look();
    });
  t.mock.method(process.stdout, "write", (text: string) => {
    said += text;
    return true;
  });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const ended = host.actions.get("my-memory login")?.({ open: false });
  const url = new URL(await written(/http\S+\/authorize\S+/));
  assert.doesNotMatch(said, /Nothing has come back/);
  t.mock.timers.tick(30_000);
  await written(/ {2}Nothing has come back from the browser yet\. If it shows an error, that page alone says why/);
  const back = new URL(url.searchParams.get("redirect_uri") ?? "");
  back.search = "?code=c&state=foreign";
  await exchange(back);
  await written(/ {2}A browser came and was refused, because its answer belongs to another login\.\n/);
  back.search = `?error=server_error&state=${url.searchParams.get("state")}`;
  await exchange(back);
  await ended;
  t.mock.reset();
  assert.equal(process.exitCode, 1);
  process.exitCode = 0;
});

test(
  "after the approval Ctrl-C waits for the outcome, and claims nothing; a second one does not",
  withSignals,
  async (t) => {
    const login = Child.start(t, "approved-login.mjs", { env: TempHome.create(t).env() });
    await login.event("saving");
    login.signal("SIGINT");
    await login.event("heard");
    login.signal("SIGINT");
    const { code, stdout } = await outcome(login);
    assert.equal(code, 130);
    assert.doesNotMatch(stdout, /given up/);
  },
);

test("the page is opened on a terminal, unless --no-open; without one, with --open", {
  skip: process.platform !== "linux" && "takes util-linux's script",
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { pluginId: _id, ...options } = configFor(server, home.stateDir);
  const script = fileURLToPath(new URL("fixtures/plugin-command.mjs", import.meta.url));
  // The desktop: a browser that writes down what it is given.
  const pages = join(home.path, "pages");
  const desktop = (script: string) =>
    writeFileSync(join(home.path, "xdg-open"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  desktop(`echo "$1" >> '${pages}'`);
  const env = home.env({ DISPLAY: ":0", PATH: `${home.path}${delimiter}${process.env.PATH}` });
  const opened = async (isOnTerminal: boolean, flags: string[]) => {
    const args = [script, JSON.stringify(options), "login", ...flags];
    const login = isOnTerminal
      ? Child.start(t, "terminal.mjs", { args: [process.execPath, ...args], env })
      : Child.start(t, script, { args: args.slice(1), env });
    await new Person().approve(await login.written(/http\S+\?user_code=[A-Z]{4}-[A-Z]{4}/));
    assert.equal((await login.exit).code, 0, login.stdout + login.stderr);
    return /The page is open in your browser/.test(login.stdout);
  };
  assert.equal(await opened(true, []), true);
  assert.equal(await opened(true, ["--no-open"]), false);
  assert.equal(await opened(false, []), false);
  assert.equal(await opened(false, ["--open"]), true);
  desktop("sleep 0.1; echo 'no method available' >&2; exit 3");
  assert.equal(await opened(true, []), false, "xdg-open has found no browser");
  const codes = readFileSync(pages, "utf8").trim().split("\n");
  assert.equal(codes.length, 2, String(codes));
  for (const page of codes) {
    assert.match(page, new RegExp(`^${server.issuer}/device\\?user_code=[A-Z]{4}-[A-Z]{4}$`));
  }
});

test("a terminal: code and URL stand out, a QR code that fits, one line that counts down", (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "Date"], now: 1_000_000 });
  const verification: Verification = {
    userCode: "ABCD-EFGH",
    verificationUri: "https://auth.example.com/device",
    verificationUriComplete: "https://auth.example.com/device?user_code=ABCD-EFGH",
    expiresAt: 1_000_000 + 600_000,
    message: "plain",
    qrCode: "█▀▀█\n█▄▄█",
  };
  const terminal = (size: { columns: number; rows: number }, env = {}) => {
    const written: string[] = [];
    const write = (text: string) => void written.push(text.replaceAll("\u001b", "␛"));
    return { screen: new Screen({ isTTY: true, ...size, write }, env), take: () => written.splice(0).join("") };
  };

  const { screen, take } = terminal({ columns: 80, rows: 24 });
  screen.verification(verification, "My Memory");
  const shown = take();
  assert.match(shown, /␛\[1;7m ABCD-EFGH ␛\[0m/u);
  assert.match(shown, /␛\[1;4mhttps:\/\/auth.example.com\/device\?user_code=ABCD-EFGH␛\[0m/u);
  assert.match(shown, /█▀▀█/);
  screen.progress({ type: "waiting", expiresAt: verification.expiresAt });
  assert.match(take(), /Waiting for your approval … 10:00 left, Ctrl-C gives up/);
  t.mock.timers.tick(1000);
  assert.match(take(), /^\r␛\[K.*9:59 left/u);
  screen.progress({ type: "retrying", expiresAt: verification.expiresAt, detail: "connection refused" });
  assert.match(take(), /cannot be reached, trying again \(connection refused\) … 9:59/);
  screen.done("Logged in.");
  assert.match(take(), /^\r␛\[K␛\[32m✓␛\[0m Logged in\.\n$/u);
  screen.end();
  t.mock.timers.tick(5000);
  assert.equal(take(), "", "the line counts no more");

  const low = terminal({ columns: 80, rows: 10 }, { NO_COLOR: "1" });
  low.screen.verification(verification, "My Memory");
  assert.doesNotMatch(low.take(), /█|␛\[1/u);
  const dumb = terminal({ columns: 80, rows: 24 }, { TERM: "dumb" });
  dumb.screen.verification(verification, "My Memory");
  assert.equal(dumb.take(), "plain\n");
});

test("gateway: the login answers with the verification and goes on in the background", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { pluginId: _id, stateDir: _stateDir, ...options } = configFor(server, home.stateDir);
  const host = new FakeHost({ stateDir: home.stateDir });
  const auth = pluginAuth(host.api, options);

  assert.deepEqual(await host.call("my-memory.status").then(({ state, loginPending }) => ({ state, loginPending })), {
    state: "logged_out",
    loginPending: false,
  });
  const verification = (await host.call("my-memory.login")) as unknown as Verification;
  assert.match(verification.message, new RegExp(verification.userCode));
  assert.equal((await host.call("my-memory.status")).loginPending, true);
  // Registered again meanwhile, as hosts do: still the same login.
  const again = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(again.api, options);
  assert.equal((await again.call("my-memory.login")).userCode, verification.userCode);
  assert.equal((await server.requests({ endpoint: "device_authorization" })).length, 1);

  await new Person().approve(complete(verification));
  await server.request({ grant: "device_code" }, (await server.requests({ grant: "device_code" })).length + 1);
  while ((await host.call("my-memory.status")).loginPending === true) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal((await host.call("my-memory.status")).state, "valid");
  assert.ok(await auth.getValidAccessToken());
  assert.deepEqual(host.log, ["My Memory: logged in."]);
  assert.deepEqual(await host.call("my-memory.logout"), { revoked: true, removed: true });
  assert.equal((await host.call("my-memory.status")).state, "logged_out");
});

test("gateway: accounts, a denied login, a logout that ends a pending one, errors as the protocol wants them", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { pluginId: _id, stateDir: _stateDir, ...options } = configFor(server, home.stateDir);
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, options);

  const work = (await host.call("my-memory.login", { account: "work" })) as unknown as Verification;
  await new Person().deny(complete(work));
  while ((await host.call("my-memory.status", { account: "work" })).loginPending === true) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.match(String((await host.call("my-memory.status", { account: "work" })).lastLoginError), /declined|denied/i);
  assert.match(host.log.join(), /^warning: My Memory: the login failed\. /);

  await host.call("my-memory.login", { profile: "home" });
  assert.deepEqual(await host.call("my-memory.logout", { profile: "home" }), { revoked: false, removed: false });
  while ((await host.call("my-memory.status", { account: "home" })).loginPending === true) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal((await host.call("my-memory.status", { account: "home" })).lastLoginError, undefined);

  await assert.rejects(host.call("my-memory.status", { account: 7 }), { code: "INVALID_CONFIG", retryable: false });
  await server.stop();
  await assert.rejects(host.call("my-memory.login"), (error: { code: string; retryable: boolean }) => {
    assert.deepEqual([error.code, error.retryable], ["NETWORK", true]);
    return true;
  });
  await logout({ pluginId, stateDir: home.stateDir });
});

function commandOfBrowser(t: Lifetime, home: TempHome, server: AuthorizationServer, args: string[], terminal = false) {
  const { pluginId: _id, ...options } = browserConfig(server, home.stateDir);
  const child = { args: [JSON.stringify(options), ...args], env: home.env() };
  return Child.start(t, "plugin-command.mjs", { ...child, terminal });
}

const printedAuthorizationUrl = (child: Child) => child.written(/http\S+\?[\w&=%+.~-]*response_type=code[\w&=%+.~-]+/);

test("through the browser, without a terminal: the URL is printed, nothing is asked, the command ends by itself", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const login = commandOfBrowser(t, home, server, ["login"]);
  const url = await printedAuthorizationUrl(login);
  assert.equal((await approve({ url })).status, 200);
  const done = await outcome(login);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /^To log in, open this page in a browser on this machine:\n/);
  assert.match(done.stdout, /Waiting for your approval …\n✓ Logged in to My Memory, for .*memory.*\.\n$/);
  assert.doesNotMatch(done.stdout, /Code|paste/);
});

test("through the browser, on a terminal: what the last page shows is asked for", {
  skip: scriptMissing,
}, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const login = commandOfBrowser(t, home, server, ["login"], true);
  const url = await printedAuthorizationUrl(login);
  await login.written(/paste its whole address here:.*> /s);
  const before = login.mark;
  login.type("what?\r");
  await login.written(/What was pasted is no code that the server knows\..*> /s, before);
  login.type(`${await new Person().authorize(url)}\r`);
  const done = await outcome(login);
  assert.equal(done.code, 0, done.stdout);
  assert.match(done.stdout, /Logged in to My Memory/);
  assert.doesNotMatch(done.stdout, /Code|this code\./, "there is none");

  const given = commandOfBrowser(t, home, server, ["login"], true);
  await given.written(/paste its whole address here:.*> /s);
  given.type("\u0003");
  const { code, stdout } = await outcome(given);
  assert.equal(code, 130);
  assert.match(stdout, /Given up\. Nothing was changed\./);

  const returned = commandOfBrowser(t, home, server, ["login", "--no-open"], true);
  const page = await printedAuthorizationUrl(returned);
  await returned.written(/paste its whole address here:.*> /s);
  assert.equal((await approve({ url: page })).status, 200);
  assert.equal((await outcome(returned)).code, 0, "the question is taken back");
});

test("gateway: the page goes out, and what it shows at the end comes in by a method of its own", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const { pluginId: _id, stateDir: _stateDir, ...options } = browserConfig(server, home.stateDir);
  const host = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(host.api, options);
  await assert.rejects(host.call("my-memory.login.paste", { paste: "x" }), { code: "INVALID_RESPONSE" });

  const shown = (await host.call("my-memory.login")) as unknown as Verification;
  assert.match(shown.message, /my-memory\.login\.paste as \{"paste": "…"\}/);
  await assert.rejects(host.call("my-memory.login.paste", {}), { code: "INVALID_RESPONSE" });
  await assert.rejects(host.call("my-memory.login.paste", { paste: "I cannot" }), (error: Error) => {
    assert.match(error.message, /^What was pasted has no code in it\. At the end/);
    return true;
  });
  const paste = String(await new Person().authorize(shown.verificationUri));
  assert.equal((await host.call("my-memory.login.paste", { paste })).state, "valid");
  assert.deepEqual(host.log, ["My Memory: logged in."]);

  const without = new FakeHost({ stateDir: home.stateDir });
  pluginAuth(without.api, { issuer: server.issuer, flow: "device_code" });
  assert.equal(without.methods.has("my-memory.login.paste"), false);
});
