// @cloudflare/workers-oauth-provider, both roles in one worker, in Node: its one import of the platform and its KV are given here.
import { register } from "node:module";
import { Readable } from "node:stream";
import { Browser, listen } from "./parts.mjs";

const platform =
  "data:text/javascript,export class WorkerEntrypoint { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }";
register(
  `data:text/javascript,export async function resolve(name, context, next) {
    return name === "cloudflare:workers" ? { url: ${JSON.stringify(platform)}, shortCircuit: true } : next(name, context);
  }`,
);

/** Workers KV, as far as the library uses it. */
class Namespace {
  #values = new Map();
  async get(key, options) {
    const kept = this.#values.get(key);
    if (kept === undefined || kept.until < Date.now()) return null;
    return options === "json" || options?.type === "json" ? JSON.parse(kept.value) : kept.value;
  }
  async put(key, value, { expirationTtl, expiration } = {}) {
    const until = expirationTtl
      ? Date.now() + expirationTtl * 1000
      : expiration
        ? expiration * 1000
        : Number.POSITIVE_INFINITY;
    this.#values.set(key, { value, until });
  }
  async delete(key) {
    this.#values.delete(key);
  }
  async list({ prefix = "" } = {}) {
    const keys = [...this.#values.keys()].filter((key) => key.startsWith(prefix)).map((name) => ({ name }));
    return { keys, list_complete: true };
  }
}

export async function cloudflareServer(t) {
  const { OAuthProvider } = await import("@cloudflare/workers-oauth-provider");
  const { McpServer, WebStandardStreamableHTTPServerTransport } = await import("@modelcontextprotocol/server");
  const app = {};
  const origin = await listen(t, (request, response) => app.answer(request, response));
  const resource = `${origin}/mcp`;
  const env = { OAUTH_KV: new Namespace() };
  const worker = new OAuthProvider({
    apiRoute: "/mcp",
    apiHandler: {
      async fetch(request, _env, ctx) {
        const text = await request.clone().text();
        if (text.includes('"write"') && !ctx.auth.scope.includes("write")) {
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
      },
    },
    defaultHandler: {
      async fetch(request, { OAUTH_PROVIDER }) {
        if (new URL(request.url).pathname !== "/authorize") return new Response("no", { status: 404 });
        const asked = await OAUTH_PROVIDER.parseAuthRequest(request);
        const { redirectTo } = await OAUTH_PROVIDER.completeAuthorization({
          request: asked,
          userId: "ada",
          metadata: {},
          scope: asked.scope,
          props: { userId: "ada" },
        });
        return Response.redirect(redirectTo, 302);
      },
    },
    authorizeEndpoint: "/authorize",
    tokenEndpoint: "/token",
    clientRegistrationEndpoint: "/register",
    scopesSupported: ["read", "write", "offline_access"],
    requiredScopes: ["read"],
    resourceMetadata: { resource, authorization_servers: [origin] },
  });
  app.answer = async (request, response) => {
    const body = ["GET", "HEAD"].includes(request.method) ? undefined : Readable.toWeb(request);
    const asked = new Request(new URL(request.url, origin), {
      method: request.method,
      headers: request.headers,
      body,
      duplex: "half",
    });
    const ctx = { waitUntil() {}, passThroughOnException() {}, props: {} };
    const answer = await worker.fetch(asked, env, ctx);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  };
  return { resource, origin, approve: (url) => new Browser().open(url) };
}
