/** Pages on the gateway's port: where the browser comes back to, and the one that shows the code, in a real browser. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { shared } from "../lib/shared.js";
import { type PluginAuthOptions, pluginAuth } from "../plugin/index.ts";
import { FakeHost } from "../plugin/testing/fake-host.ts";
import { AuthorizationServer, redirectUris } from "./support/authorization-server.ts";
import { chromiumMissing, startChromium } from "./support/chromium.ts";
import { exchange } from "./support/exchange.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { Person } from "./support/person.ts";
import { TempHome } from "./support/temp-home.ts";

const pluginId = "my-memory";

/** The gateway's port: plugins' routes by their exact path, as the hosts serve them. */
async function gateway(t: Lifetime, options: Partial<PluginAuthOptions> = {}) {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const http = createServer();
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  t.after(() => void http.close());
  const { port } = http.address() as AddressInfo;
  const host = new FakeHost({ id: pluginId, stateDir: home.stateDir, config: { gateway: { port } } });
  pluginAuth(host.api, {
    issuer: server.issuer,
    scopes: ["memory", "offline_access"],
    callbackRoute: true,
    chat: true,
    ...options,
  });
  const gateway = { isStarting: false };
  http.on("request", (request, response) => {
    if (gateway.isStarting) {
      // As openclaw 2026.9.6 answers until its plugins are loaded; __test__/hosts/support/login-from-chat.ts sees it
      // do so.
      response.writeHead(503, { "Cache-Control": "no-store", "Retry-After": "1", "Content-Type": "text/plain" });
      response.end("Plugin runtime is starting");
      return;
    }
    const { pathname } = new URL(request.url ?? "/", "http://gateway");
    const route = host.routes.find(({ path }) => path === pathname);
    if (route === undefined) {
      response.statusCode = 404;
      response.end();
    } else {
      void route.handler(request, response);
    }
  });
  t.after(async () => host.services[0]?.stop?.());
  return { server, home, host, gateway, origin: `http://127.0.0.1:${port}` };
}

test("the end of a login through the browser on the gateway's port: checked as on a port of its own", async (t) => {
  const { host, origin, server } = await gateway(t, { flow: "authorization_code" });
  const callback = `${origin}/plugins/${pluginId}/callback`;
  const { verificationUri, message, loginPending } = await host.call("my-memory.login");
  assert.doesNotMatch(String(message), /login\.paste/, "nothing has to be pasted");
  assert.equal(loginPending, undefined);
  const asked = new URL(String(verificationUri));
  assert.equal(asked.searchParams.get("redirect_uri"), callback);
  const state = asked.searchParams.get("state") ?? "";

  const refusals: [string, Parameters<typeof exchange>[1], number][] = [
    [`${callback}?code=c&state=foreign`, {}, 400],
    [`${callback}?code=c`, {}, 400],
    [`${callback}?code=c&state=${state}&state=${state}`, {}, 400],
    [`${callback}?code=c&state=${state}`, { headers: { host: "evil.example:80" } }, 421],
    [`${callback}?code=c&state=${state}`, { method: "POST" }, 405],
  ];
  for (const [url, request, status] of refusals) {
    const answer = await exchange(url, request);
    assert.equal(answer.status, status, url);
    assert.doesNotMatch(answer.text, /code=c|foreign/);
    assert.match(String(answer.headers["content-security-policy"]), /^default-src 'none'.*frame-ancestors 'none'$/);
  }
  const foreign = await new Person().authorize(String(verificationUri));
  foreign.searchParams.set("iss", "https://evil.example");
  assert.equal((await exchange(foreign)).status, 400, "RFC 9207");
  assert.equal((await server.requests({ grant: "authorization_code" })).length, 0);
  assert.match(String((await host.call("my-memory.status")).lastLoginError), /comes from the issuer/);

  const next = await host.call("my-memory.login");
  const back = await new Person().authorize(String(next.verificationUri));
  const page = await exchange(back);
  assert.equal(page.status, 200);
  assert.match(page.text, /<h1>The login was approved<\/h1>/);
  assert.equal((await host.call("my-memory.status")).state, "valid");
  assert.equal((await exchange(back)).status, 400, "once");
});

test("the address of the configuration, behind a proxy; a denial is said where the login was begun", async (t) => {
  const redirectUri = redirectUris.find((uri) => uri.startsWith("https:")) ?? "";
  const { host, origin } = await gateway(t, {
    flow: "authorization_code",
    clientId: "browser",
    redirectUri,
  });
  const { pathname, host: name } = new URL(redirectUri);
  assert.ok(host.routes.some(({ path }) => path === pathname));
  const { verificationUri } = await host.call("my-memory.login");
  assert.equal(new URL(String(verificationUri)).searchParams.get("redirect_uri"), redirectUri);
  const back = await new Person().refuseAuthorization(String(verificationUri));
  const page = await exchange(`${origin}${pathname}${back.search}`, { headers: { host: name } });
  assert.equal(page.status, 400);
  assert.match(page.text, /<h1>The login failed<\/h1>/);
  const { state, lastLoginError } = await host.call("my-memory.status");
  assert.equal(state, "logged_out");
  assert.match(String(lastLoginError), /denied|declined|refused|aborted/i);
});

test("the page of the code is for one browser, and says how it ended", async (t) => {
  const { host, origin } = await gateway(t);
  const { page, userCode } = await host.call("my-memory.login");
  assert.match(String(page), new RegExp(`^${origin}/plugins/${pluginId}/callback/page\\?t=[\\w-]{32}$`));
  const opened = await exchange(String(page));
  assert.equal(opened.status, 303);
  assert.equal(
    opened.headers.location,
    `/plugins/${pluginId}/callback/page`,
    "the address does not stay in the history",
  );
  const [cookie = ""] = opened.headers["set-cookie"] ?? [];
  assert.match(cookie, /; HttpOnly; SameSite=Lax$/);
  const own = { headers: { cookie: cookie.split(";")[0] ?? "" } };
  const address = `${origin}${opened.headers.location}`;
  assert.match((await exchange(address, own)).text, new RegExp(`class="code">${userCode}<`));
  for (const [url, request] of [
    [String(page), {}],
    [address, {}],
    [address, { headers: { cookie: "login=x" } }],
    [`${address}?t=guessed`, {}],
  ] as const) {
    const answer = await exchange(url, request);
    assert.equal(answer.status, 404);
    assert.doesNotMatch(answer.text, new RegExp(String(userCode)));
  }
  assert.deepEqual(JSON.parse((await exchange(`${address}?poll`, own)).text), { isWaiting: true });
  await host.call("my-memory.logout");
  await Promise.allSettled([...shared().loginPages.values()].map(({ login }) => login?.outcome));
  assert.deepEqual(JSON.parse((await exchange(`${address}?poll`, own)).text), { isWaiting: false });
  assert.match((await exchange(address, own)).text, /<h1>Not logged in<\/h1>/);
});

test("Chromium shows the code, light and dark, and says by itself when it is done", {
  skip: chromiumMissing,
}, async (t) => {
  const { host, home } = await gateway(t);
  const browser = await startChromium(t, home);
  const screenshots = process.env.SCREENSHOTS ?? join(home.path, "tmp");
  const { page: address, userCode, verificationUriComplete } = await host.call("my-memory.login");
  const page = await browser.newPage({ viewport: { width: 420, height: 900 } });
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (!message.location().url.endsWith("/favicon.ico")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(String(address));
  assert.equal(await page.innerText("h1"), "Log in to My Memory");
  assert.equal(await page.innerText(".code"), userCode);
  assert.equal(await page.getAttribute("a", "href"), verificationUriComplete);
  assert.match(await page.innerText("#left"), /^\d+:\d\d left$/);
  const size = await page.evaluate("parseFloat(getComputedStyle(document.querySelector('.code')).fontSize)");
  assert.ok(Number(size) >= 32, `${size}`);
  await page.screenshot({ path: join(screenshots, "code.png") });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(screenshots, "code-dark.png") });
  const colors = await page.evaluate("getComputedStyle(document.body).color");
  assert.equal(colors, "rgb(255, 255, 255)", "dark mode");
  await new Person().approve(String(verificationUriComplete));
  await page.locator("h1", { hasText: "Logged in to My Memory" }).waitFor();
  await page.screenshot({ path: join(screenshots, "done.png") });
  assert.deepEqual(complaints, []);
  assert.equal((await host.call("my-memory.status")).state, "valid");
});

test("a page that is open in Chromium waits while the gateway starts, and then says how it ended or what to do", {
  skip: chromiumMissing,
}, async (t) => {
  const { host, home, gateway: at } = await gateway(t);
  const browser = await startChromium(t, home);
  const shown = browser.newPage();
  const open = async () => {
    const { page: address, verificationUriComplete } = await host.call("my-memory.login");
    const page = await shown;
    await page.goto(String(address));
    at.isStarting = true;
    for (const _ of ["one poll", "another"]) {
      await page.waitForResponse((response) => response.status() === 503);
    }
    assert.equal(await page.innerText("h1"), "Log in to My Memory");
    return { page, verificationUriComplete };
  };
  const kept = await open();
  await new Person().approve(String(kept.verificationUriComplete));
  at.isStarting = false;
  await kept.page.locator("h1", { hasText: "Logged in to My Memory" }).waitFor();

  const lost = await open();
  // Another process, which knows of no page.
  shared().loginPages.clear();
  at.isStarting = false;
  await lost.page.getByText("Begin the login again.").waitFor();
  await host.call("my-memory.logout");
});
