/**
 * Pages on the gateway's port: where the browser comes back to, and a plain one that shows the code.
 * `api.registerHttpRoute`.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type LoginPage, type SharedLogin, shared } from "../lib/shared.js";
import type { HttpRoute } from "./host.ts";
import { qrImage } from "./qr-image.ts";

export interface PageContext {
  pluginId: string;
  title: string;
  /** Where browsers reach the callback: https, or http on this machine. */
  redirectUri: string;
  /** Hosts of the gateway itself, as a proxy before it may name them. */
  localHosts: string[];
}

/** How long the outcome can be looked at. */
const kept = 3_600_000;

export function loginRoutes(context: PageContext): HttpRoute[] {
  const { pathname } = new URL(context.redirectUri);
  const guarded = (handler: (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>) => {
    return async (request: IncomingMessage, response: ServerResponse) => {
      const url = new URL(request.url ?? "/", context.redirectUri);
      // A website that made its name mean this machine (DNS rebinding) sends that name.
      const hosts = [new URL(context.redirectUri).host, ...context.localHosts];
      if (!hosts.includes((request.headers.host ?? "").toLowerCase())) {
        show(response, 421, { heading: "This page is not here", text: "It was asked for by another name." });
      } else if (request.method !== "GET") {
        response.setHeader("Allow", "GET");
        show(response, 405, { heading: "This page is only to be read", text: "Open it in a browser." });
      } else {
        await handler(request, response, url);
      }
      return true;
    };
  };
  return [
    {
      path: pathname,
      auth: "plugin",
      match: "exact",
      handler: guarded((_, response, url) => comeBack(context, response, url)),
    },
    {
      path: pagePath(context),
      auth: "plugin",
      match: "exact",
      handler: guarded((...visit) => showLogin(context, ...visit)),
    },
  ];
}

/** The address of a page that shows that login, good for one browser. */
export function pageOf(context: PageContext, login: SharedLogin): string {
  const { loginPages } = shared();
  for (const [token, page] of loginPages) {
    if (page.madeAt < Date.now() - kept) {
      loginPages.delete(token);
    }
  }
  const token = random();
  loginPages.set(token, {
    login,
    pluginId: context.pluginId,
    cookie: undefined,
    madeAt: Date.now(),
    outcome: undefined,
  });
  const page = loginPages.get(token) as LoginPage;
  // The final text of a page holds no reference to the copy that served it.
  const end = (outcome: LoginPage["outcome"]) => {
    page.outcome = outcome;
    page.login = undefined;
  };
  login.outcome.then(
    () => end({ isDone: true }),
    (error: { message?: string }) => end({ isDone: false, message: error.message ?? "" }),
  );
  return `${new URL(pagePath(context), context.redirectUri)}?t=${token}`;
}

/** The answer of the authorization server (RFC 6749 section 4.1.2): checked as on the loopback port. */
async function comeBack({ pluginId, redirectUri }: PageContext, response: ServerResponse, url: URL): Promise<void> {
  const states = url.searchParams.getAll("state");
  const login = states.length === 1 ? await waitingFor(pluginId, states[0] ?? "") : undefined;
  if (login === undefined) {
    show(response, 400, {
      heading: "This page belongs to no login here",
      text: "A login that waits for you is not changed by it. If you began one in a terminal, give it the address of this page.",
    });
    return;
  }
  try {
    const ended = await login.paste(`${redirectUri}${url.search}`);
    show(response, typeof ended === "string" ? 400 : 200, typeof ended === "string" ? FAILED : APPROVED);
  } catch {
    show(response, 400, FAILED);
  }
}

const APPROVED = {
  heading: "The login was approved",
  text: "You can close this page and return to where you started the login.",
};
const FAILED = {
  heading: "The login failed",
  text: "Return to where you started it: the reason is shown there.",
};

/** The login that sent a browser out with this `state`. */
async function waitingFor(pluginId: string, state: string): Promise<SharedLogin | undefined> {
  for (const login of shared().pendingLogins.values()) {
    try {
      // One that has not asked its server yet sent nobody out.
      const verification = await Promise.race([login.verification, undefined]);
      const own = verification && new URL(verification.verificationUri).searchParams.get("state");
      if (login.pluginId === pluginId && own && isSame(own, state)) {
        return login;
      }
    } catch {}
  }
  return undefined;
}

async function showLogin(context: PageContext, request: IncomingMessage, response: ServerResponse, url: URL) {
  const { loginPages } = shared();
  const path = pagePath(context);
  const token = url.searchParams.get("t");
  const opened = token === null ? undefined : loginPages.get(token);
  if (opened !== undefined && opened.pluginId === context.pluginId && opened.cookie === undefined) {
    opened.cookie = random();
    response.statusCode = 303;
    const secure = context.redirectUri.startsWith("https:") ? "; Secure" : "";
    response.setHeader("Set-Cookie", `login=${opened.cookie}; Path=${path}; HttpOnly; SameSite=Lax${secure}`);
    response.setHeader("Location", path);
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Referrer-Policy", "no-referrer");
    response.end();
    return;
  }
  const cookie = /(?:^|;\s*)login=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  const page = [...loginPages.values()].find((page) => page.cookie !== undefined && isSame(page.cookie, cookie));
  if (page === undefined || page.pluginId !== context.pluginId) {
    show(response, 404, {
      heading: "This page was opened before",
      text: "Its address is good for one browser. Begin the login again.",
    });
    return;
  }
  const verification = await page.login?.verification.catch(() => undefined);
  const isWaiting = page.outcome === undefined && verification !== undefined;
  if (url.searchParams.has("poll")) {
    response.setHeader("Content-Type", "application/json");
    response.setHeader("Cache-Control", "no-store");
    response.end(JSON.stringify({ isWaiting }));
    return;
  }
  if (!isWaiting) {
    show(
      response,
      200,
      page.outcome?.isDone
        ? { heading: `Logged in to ${context.title}`, text: "You can close this page." }
        : { heading: "Not logged in", text: page.outcome?.message || FAILED.text },
    );
    return;
  }
  const { userCode, verificationUri, verificationUriComplete, expiresAt, qrCode } = verification;
  const address = verificationUriComplete ?? verificationUri;
  const code =
    userCode === "" ? "" : `<p>and check that it shows this code:</p><p class="code">${escaped(userCode)}</p>`;
  show(response, 200, {
    heading: `Log in to ${context.title}`,
    body:
      `<p>Open <a rel="noreferrer" target="_blank" href="${escaped(address)}">${escaped(verificationUri.split("?")[0] ?? "")}</a></p>${code}` +
      `${qrCode === "" ? "" : `<p>or with a phone:</p>${qrImage(qrCode)}`}` +
      `<p id="left" data-end="${expiresAt}" data-poll="${path}?poll" role="timer"></p>`,
    script: SCRIPT,
  });
}

// Counts down, and looks every two seconds whether the login has ended. A gateway that restarts answers 503 for a
// while.
const SCRIPT = `const left=document.getElementById("left"),{end,poll}=left.dataset;
const count=()=>{const s=Math.max(0,Math.ceil((end-Date.now())/1000));left.textContent=Math.floor(s/60)+":"+String(s%60).padStart(2,"0")+" left"};
count();setInterval(count,1000);
setInterval(async()=>{try{const answer=await fetch(poll);if(answer.status===404||(answer.ok&&!(await answer.json()).isWaiting))location.reload()}catch{}},2000);`;

const STYLE = `:root{color-scheme:light dark}body{font:1.25rem/1.6 system-ui,sans-serif;max-width:34rem;margin:8vh auto;padding:0 1.5rem;text-align:center}
h1{font-size:2rem;line-height:1.2}a{overflow-wrap:anywhere}.code{font:700 2.75rem/1.2 ui-monospace,monospace;letter-spacing:.08em;margin:.5rem 0}
svg{width:min(16rem,70vw);border-radius:.5rem}#left{font-variant-numeric:tabular-nums;opacity:.8;min-height:1.6em}`;

interface Shown {
  heading: string;
  text?: string;
  /** HTML. */
  body?: string;
  script?: string;
}

function show(response: ServerResponse, status: number, { heading, text, body, script }: Shown): void {
  const nonce = random();
  response.statusCode = status;
  const headers = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": `default-src 'none'; style-src 'nonce-${nonce}'; script-src ${script === undefined ? "'none'" : `'nonce-${nonce}'`}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value);
  }
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(heading)}</title>` +
      `<style nonce="${nonce}">${STYLE}</style><h1>${escaped(heading)}</h1>${body ?? `<p>${escaped(text ?? "")}</p>`}` +
      `${script === undefined ? "" : `<script nonce="${nonce}">${script}</script>`}</html>\n`,
  );
}

function pagePath({ redirectUri }: PageContext): string {
  return `${new URL(redirectUri).pathname.replace(/\/$/, "")}/page`;
}

function random(): string {
  return randomBytes(24).toString("base64url");
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
