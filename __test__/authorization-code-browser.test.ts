/** The authorization code flow in a real browser: the whole login, and the page that it ends on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { getValidAccessToken } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { begin, browserConfig } from "./support/browser-login.ts";
import { chromiumMissing, startChromium } from "./support/chromium.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

test("Chromium logs in, and in the dark a denial; the pages say what to do", { skip: chromiumMissing }, async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const browser = await startChromium(t, home);
  const config = browserConfig(server, home.stateDir);
  const screenshots = process.env.SCREENSHOTS ?? join(home.path, "tmp");

  const page = await browser.newPage();
  const begun = await begin(config);
  const ours = new URL(begun.redirectUri).origin;
  const complaints: string[] = [];
  page.on("console", (message) => {
    const { url } = message.location();
    if (url.startsWith(ours) && !url.endsWith("/favicon.ico")) complaints.push(message.text());
  });
  await page.goto(begun.url);
  await page.fill("input[name=login]", "ada");
  await page.fill("input[name=password]", "x");
  await page.click("button[type=submit]");
  await page.click("button[type=submit]");
  await page.waitForURL((url) => url.href.startsWith(`${begun.redirectUri}?`));
  assert.equal(await page.title(), "The login was approved");
  assert.equal(
    await page.innerText("main"),
    "The login was approved\n\nYou can close this page and return to where you started the login.",
  );
  await page.screenshot({ path: join(screenshots, "logged-in.png") });
  assert.equal((await begun.outcome).state, "valid");
  assert.ok(await getValidAccessToken(config));
  assert.deepEqual(complaints, [], "the style is allowed by its own policy");
  assert.equal(await page.evaluate("performance.getEntriesByType('resource').length"), 0, "nothing else is loaded");
  const background = await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor");
  assert.equal(background, "rgb(255, 255, 255)");

  // Another person, without scripts, who likes it dark and says no.
  const dark = await browser.newPage({ colorScheme: "dark", javaScriptEnabled: false });
  const refused = await begin(config);
  await dark.goto(refused.url);
  await dark.click("a:has-text('Cancel')");
  await dark.waitForURL((url) => url.href.startsWith(`${refused.redirectUri}?`));
  assert.equal(
    await dark.innerText("main"),
    "The login failed\n\nReturn to where you started it: the reason is shown there.",
  );
  await dark.screenshot({ path: join(screenshots, "failed.png") });
  await rejection(refused.outcome, "ACCESS_DENIED");
  assert.ok(await getValidAccessToken(config), "the login from before stays");
});
