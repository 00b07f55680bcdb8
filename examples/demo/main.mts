/**
 * The whole life of a login, against a real authorization server on this machine.
 *
 *     npm run demo                  approve in your browser
 *     npm run demo -- --approve     be approved by a script; so is a run without a terminal
 *     npm run demo -- --no-open     do not open the browser
 */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  type AuthConfig,
  AuthError,
  type AuthStatus,
  getValidAccessToken,
  login,
  logout,
  status,
  type Verification,
} from "clawdbot-plugin-auth";
import { AuthorizationServer } from "../../__test__/support/authorization-server.ts";
import { Scope } from "../../__test__/support/lifetime.ts";
import { Person } from "../../__test__/support/person.ts";
import { ProtectedApi } from "../../__test__/support/protected-api.ts";
import { TempHome } from "../../__test__/support/temp-home.ts";
import { browserCommand, openPage } from "./browser.mts";
import { bold, done, fact, failed, faint, live, say, step, title } from "./terminal.mts";

/** Short, so that nobody waits long for a token to expire. */
const accessTokenSeconds = 12;

const { values: flags } = parseArgs({
  options: { approve: { type: "boolean" }, "no-open": { type: "boolean" }, help: { type: "boolean", short: "h" } },
});

if (flags.help) {
  process.stdout.write(
    "npm run demo [-- options]\n\n" +
      "  --approve   be approved by a script (so is a run without a terminal)\n" +
      "  --no-open   do not open the verification page in the browser\n",
  );
} else {
  await main();
}

async function main(): Promise<void> {
  const scope = new Scope();
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => stop.abort(signal);
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    await demo(scope, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) {
      failed(error instanceof AuthError ? `${error.code}: ${error.message}` : String(error));
      process.exitCode = 1;
    }
  } finally {
    await scope.end();
  }
  if (stop.signal.aborted) {
    say("\nStopped. The servers have ended, and nothing is left on this machine.");
    process.exitCode = stop.signal.reason === "SIGINT" ? 130 : 143;
  }
}

async function demo(scope: Scope, signal: AbortSignal): Promise<void> {
  title(
    "clawdbot-plugin-auth, the whole life of a login",
    "A plugin logs in to a service of its own, and has a valid token whenever a tool runs.",
  );

  step("Two servers on this machine");
  const server = await AuthorizationServer.start(scope, { accessTokenTtl: accessTokenSeconds });
  const api = await ProtectedApi.start(scope, server);
  const home = TempHome.create(scope);
  fact("authorization server", `${server.issuer}  ${faint("the real oidc-provider")}`);
  fact("protected API", `${api.origin}/memories  ${faint("asks the server about every token")}`);
  say(`Access tokens live ${accessTokenSeconds} seconds, and every refresh replaces the refresh token.`);

  // All that a plugin has to say. No client id: the plugin registers itself at the server.
  const config: AuthConfig = {
    pluginId: "demo-memory",
    issuer: server.issuer,
    scopes: ["openid", "memory", "offline_access"],
    clientName: "Demo memory plugin",
    stateDir: home.stateDir,
  };

  step("Log in: login(config, { onVerification, openUrl })");
  const loggedIn = await logIn(config, signal);
  done("Logged in. The token is in the store, readable by you alone:");
  fact("file", `${loggedIn.path}  ${faint(`mode ${mode(loggedIn.path)}`)}`);
  fact("client", `${loggedIn.clientId}  ${faint("registered by itself (RFC 7591)")}`);
  fact("scopes", loggedIn.scopes?.join(" ") ?? "");

  step("Call the API: getValidAccessToken(config)");
  const first = await getValidAccessToken(config);
  await callApi(api, first, 200);
  expect((await refreshes(server)) === 0, "The stored token is good: the server was not asked for another.");

  step("Let the token expire, and call again");
  await countDown((await status(config)).expiresAt ?? 0, signal);
  await callApi(api, first, 401);
  const again = await Promise.all(Array.from({ length: 10 }, () => getValidAccessToken(config)));
  const [second = ""] = again;
  const asked = await refreshes(server);
  expect(
    asked === 1 && again.every((token) => token === second),
    `Ten callers at once: all got the same new token, for ${asked} request to the server.`,
  );
  await callApi(api, second, 200);

  step("Look at the login: status(config), no network and no secret in it");
  const { lastError: _none, ...now } = await status(config);
  for (const [name, value] of Object.entries(now)) {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    fact(name, name.endsWith("At") ? new Date(Number(value)).toLocaleTimeString() : text);
  }

  step("Log out: logout(config)");
  const { revoked, removed } = await logout(config, { signal });
  expect(removed && revoked, "The credential is removed here, and revoked at the server.");
  await callApi(api, second, 401);
  const refused = await getValidAccessToken(config).catch((error: unknown) => error);
  if (!(refused instanceof AuthError)) {
    throw new Error("There still is a token after the logout.");
  }
  expect(refused.needsLogin, `The next getValidAccessToken says ${bold(refused.code)}: ${refused.message}`);

  say("\nThat was all of it. The servers and the temporary home of this demo are being removed.");
}

async function logIn(config: AuthConfig, signal: AbortSignal): Promise<AuthStatus> {
  const isScripted = flags.approve === true || !process.stdin.isTTY || !process.stdout.isTTY;
  const browser = isScripted || flags["no-open"] ? undefined : browserCommand();
  let approval: Promise<void> | undefined;
  let isFirst = true;

  const loggedIn = await login(config, {
    signal,
    onVerification(verification: Verification) {
      say(`\n${verification.message}\n\n${verification.qrCode}\n`);
      say(faint("(The QR code leads to this machine, so no phone can follow it; with your server it can.)"));
      if (isScripted) {
        say("A script takes the part of the person: it opens the page, logs in as ada, and agrees.");
        approval = new Person({ name: "ada" }).approve(verification.verificationUriComplete ?? "");
        // Awaited below; until then a failure must not end the process.
        approval.catch(() => {});
      } else if (browser === undefined) {
        say("Open that page in a browser of this machine. Any name and any password will do.");
        say(faint("No browser here? Ctrl-C, then: npm run demo -- --approve"));
      }
    },
    ...(browser !== undefined && {
      async openUrl(url: string) {
        try {
          await openPage(browser, url);
          say("The page is open in your browser. Any name and any password will do.");
        } catch {
          say(
            `The browser could not be started (${browser[0]}): open the page yourself. Any name and password will do.`,
          );
        }
      },
    }),
    onProgress({ type, expiresAt }) {
      if (type !== "approved") {
        const minutes = Math.ceil((expiresAt - Date.now()) / 60_000);
        live(`${type.replace("_", " ")} … the code is good for ${minutes} more min, Ctrl-C gives up`, isFirst);
        isFirst = false;
      }
    },
  });
  await approval;
  return loggedIn;
}

function expect(holds: boolean, text: string): void {
  if (holds) {
    done(text);
  } else {
    failed(`Not so: ${text}`);
    process.exitCode = 1;
  }
}

async function callApi(api: ProtectedApi, token: string, expected: number): Promise<void> {
  const answer = await api.call(token);
  const { status: _status, ...body } = answer;
  const text = `GET /memories with token ${fingerprint(token)}: ${bold(String(answer.status))} ${JSON.stringify(body)}`;
  expect(answer.status === expected, text);
}

async function countDown(until: number, signal: AbortSignal): Promise<void> {
  for (let isFirst = true; Date.now() <= until; isFirst = false) {
    const left = until - Date.now();
    live(`waiting ${Math.ceil(left / 1000)} s for the access token to expire …`, isFirst);
    await pause(Math.min(1000, left + 1), undefined, { signal });
  }
}

async function refreshes(server: AuthorizationServer): Promise<number> {
  return (await server.requests({ grant: "refresh_token" })).length;
}

/** Distinguishes tokens without showing them. */
function fingerprint(token: string): string {
  return `#${createHash("sha256").update(token).digest("hex").slice(0, 6)}`;
}

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8).padStart(4, "0");
}
