// better-auth with its MCP plugin, which brings the OAuth provider.
import { Readable } from "node:stream";
import { mcp, requireMcpAuth } from "@better-auth/mcp";
import { McpServer, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { jwt } from "better-auth/plugins";
import { Browser, listen } from "./parts.mjs";

const person = { email: "ada@example.com", password: "long enough", name: "Ada" };

export async function betterAuthServer(t) {
  const app = {};
  const origin = await listen(t, (request, response) => app.answer(request, response));
  const resource = `${origin}/mcp`;
  const tables = [
    "user",
    "session",
    "account",
    "verification",
    "jwks",
    "oauthClient",
    "oauthAccessToken",
    "oauthRefreshToken",
    "oauthConsent",
    "oauthResource",
    "oauthClientResource",
  ];
  const auth = betterAuth({
    baseURL: origin,
    secret: "a secret of the tests that is long enough",
    logger: { disabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    database: memoryAdapter(Object.fromEntries(tables.map((table) => [table, []]))),
    emailAndPassword: { enabled: true },
    plugins: [
      jwt(),
      mcp({
        loginPage: "/login",
        consentPage: "/consent",
        resource,
        scopes: ["openid", "offline_access", "read", "write"],
        allowDynamicClientRegistration: true,
        allowUnauthenticatedClientRegistration: true,
      }),
    ],
  });
  const handler = async (request, claims) => {
    const text = await request.clone().text();
    if (text.includes('"write"') && !String(claims.scope).split(" ").includes("write")) {
      const challenge = 'Bearer error="insufficient_scope", scope="write"';
      return new Response("{}", { status: 403, headers: { "www-authenticate": challenge } });
    }
    const server = new McpServer({ name: "lab", version: "1" });
    for (const name of ["tea", "write"]) {
      server.registerTool(name, { description: name }, () => ({ content: [{ type: "text", text: "green" }] }));
    }
    const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    await server.connect(transport);
    return transport.handleRequest(request);
  };
  const guarded = requireMcpAuth(auth, handler, { resource, requiredScopes: ["read"] });
  app.answer = async (request, response) => {
    const body = ["GET", "HEAD"].includes(request.method) ? undefined : Readable.toWeb(request);
    const asked = new Request(new URL(request.url, origin), {
      method: request.method,
      headers: request.headers,
      body,
      duplex: "half",
    });
    const { pathname } = new URL(request.url, origin);
    // As in its documentation: POST alone.
    const isTool = pathname === "/mcp" && request.method === "POST";
    const answer =
      pathname === "/mcp"
        ? isTool
          ? await guarded(asked)
          : new Response(null, { status: 405 })
        : await auth.handler(asked);
    const headers = Object.fromEntries(answer.headers);
    const cookies = answer.headers.getSetCookie();
    response.writeHead(answer.status, { ...headers, ...(cookies.length > 0 && { "set-cookie": cookies }) });
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  };
  const signUp = new Browser();
  const json = (value) => ({
    method: "POST",
    headers: { "content-type": "application/json", origin },
    body: JSON.stringify(value),
  });
  await signUp.open(`${origin}/api/auth/sign-up/email`, json(person));
  return {
    resource,
    origin,
    async approve(url) {
      const browser = new Browser();
      await browser.open(`${origin}/api/auth/sign-in/email`, json(person));
      // To what is no page navigation it says in JSON where to go.
      const asked = JSON.parse((await browser.open(url)).text);
      const consent = new URL(asked.url, origin);
      if (consent.pathname !== "/consent") return browser.open(consent);
      const answer = json({ accept: true, oauth_query: consent.search.slice(1) });
      const decided = JSON.parse((await browser.open(`${origin}/api/auth/oauth2/consent`, answer)).text);
      return browser.open(decided.url);
    },
  };
}
