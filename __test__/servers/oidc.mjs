// oidc-provider, with what strict servers demand, before the MCP server of the 2.x packages.
import { generateKeyPairSync } from "node:crypto";
import http from "node:http";
import Provider, { errors } from "oidc-provider";
import { Person } from "../support/person.ts";
import { Browser, listen, mcpApp } from "./parts.mjs";

/**
 * @param {{ profile?: "fapi", pushed?: "off" | "offered" | "required", registration?: boolean, documents?: object, device?: boolean,
 *   methods?: string[], clients?: object[], dpop?: boolean, hold?: () => Promise<void> }} options
 */
export async function oidcServer(t, options = {}) {
  const requests = [];
  let provider;
  const app = { answer: undefined };
  const origin = await listen(t, (request, response) => app.answer(request, response));
  const resource = `${origin}/mcp`;
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  provider = new Provider(`${origin}/`, {
    clients: options.clients ?? [],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    clientAuthMethods: options.methods ?? ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig", kid: "test" }] },
    cookies: { keys: ["only-for-tests"] },
    scopes: ["openid", "offline_access", "read", "write"],
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    ttl: {
      AccessToken: 600,
      RefreshToken: 3600,
      Grant: 3600,
      IdToken: 600,
      Interaction: 600,
      Session: 3600,
      DeviceCode: 600,
    },
    rotateRefreshToken: true,
    ...(options.fetch && { fetch: options.fetch }),
    ...(options.profile === "fapi" && {
      // FAPI 2.0 asks for these: section 5.3.2.
      pkce: { required: () => true },
      acceptQueryParamAccessTokens: false,
    }),
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: options.device ?? false },
      introspection: { enabled: true, allowedPolicy: () => true },
      registration: { enabled: options.registration ?? true },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: options.profile === "fapi" },
      dPoP: {
        enabled: options.dpop ?? false,
        ...(options.dpop && { nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true }),
      },
      pushedAuthorizationRequests: {
        enabled: (options.pushed ?? "off") !== "off",
        requirePushedAuthorizationRequests: options.pushed === "required",
      },
      ...(options.profile === "fapi" && { fapi: { enabled: true, profile: "2.0" } }),
      ...options.features,
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo(_context, wanted) {
          if (wanted !== resource) throw new errors.InvalidTarget();
          return { scope: "read write", accessTokenTTL: 600, accessTokenFormat: "opaque" };
        },
      },
    },
  });
  if (process.env.LOUD) provider.on("pushed_authorization_request.error", (_context, error) => console.error(error));
  const verify = async (token) => {
    const found = await provider.AccessToken.find(token);
    if (found === undefined || found.isExpired) {
      const { OAuthError, OAuthErrorCode } = await import("@modelcontextprotocol/server");
      throw new OAuthError(OAuthErrorCode.InvalidToken, "no such token");
    }
    return { token, clientId: found.clientId, scopes: found.scope.split(" "), expiresAt: found.exp };
  };
  const callback = provider.callback();
  const mcp = mcpApp({
    resource,
    oauthMetadata: {
      issuer: `${origin}/`,
      authorization_endpoint: `${origin}/auth`,
      token_endpoint: `${origin}/token`,
      response_types_supported: ["code"],
    },
    verify,
    scopes: ["read"],
    hold: options.hold,
    ...(options.dpop && {
      isBound: async (token, thumbprint) => (await provider.AccessToken.find(token))?.jkt === thumbprint,
    }),
  });
  const isMcp = (url) => url.startsWith("/mcp") || url.startsWith("/.well-known/oauth-protected-resource");
  app.answer = (request, response) => {
    requests.push(`${request.method} ${new URL(request.url, origin).pathname}`);
    (isMcp(request.url) ? mcp : callback)(request, response);
  };
  return {
    resource,
    origin,
    requests,
    provider,
    // Through our own port first, where the request is pushed.
    async approve(url) {
      const person = new Person();
      const at = new URL(url);
      const target = at.origin === origin ? at : await sentTo(at);
      return new Browser().open(await person.authorize(target));
    },
  };
}

/** Where our own port sends the browser. */
export function sentTo(url) {
  return new Promise((resolve, reject) => {
    http
      .get(url, (answer) => {
        answer.resume();
        answer.headers.location === undefined
          ? reject(new Error(`HTTP ${answer.statusCode}`))
          : resolve(answer.headers.location);
      })
      .on("error", reject);
  });
}
