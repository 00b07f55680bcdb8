// The build of a careful plugin author from npm: a client library, proper-lockfile, write-file-atomic, and one refresh
// at a time in a process. The order of steps is that of this package: lock, read again, refresh, save, release.
import { readFileSync } from "node:fs";
import lockfile from "proper-lockfile";
import writeFileAtomic from "write-file-atomic";
import { load } from "./scratch.mjs";

const clients = {
  async "openid-client"(config) {
    const oidc = await import("openid-client");
    const server = { issuer: config.issuer, token_endpoint: config.tokenEndpoint };
    const configuration = new oidc.Configuration(server, config.clientId, undefined, oidc.None());
    if (config.issuer.startsWith("http:")) oidc.allowInsecureRequests(configuration);
    return (refresh) => oidc.refreshTokenGrant(configuration, refresh);
  },
  async oauth4webapi(config) {
    const oauth = await import("oauth4webapi");
    const server = { issuer: config.issuer, token_endpoint: config.tokenEndpoint };
    const client = { client_id: config.clientId };
    const options = { [oauth.allowInsecureRequests]: config.issuer.startsWith("http:") };
    return async (refresh) => {
      const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), refresh, options);
      return oauth.processRefreshTokenResponse(server, client, response);
    };
  },
};

export async function rival(name, config, file) {
  const grant = await clients[name](config);
  const read = () => JSON.parse(readFileSync(file, "utf8"));
  const isFresh = (stored) => Date.now() < stored.expires;

  async function refresh() {
    // As patient, and as quick to try again, as this package.
    const retries = { forever: true, minTimeout: 5, maxTimeout: 20, factor: 1.5, randomize: true };
    const release = await lockfile.lock(file, { retries });
    try {
      const stored = read();
      if (isFresh(stored)) return stored.access;
      const tokens = await grant(stored.refresh);
      const now = Date.now();
      const renewed = {
        ...stored,
        access: tokens.access_token,
        refresh: tokens.refresh_token ?? stored.refresh,
        expires: now + tokens.expires_in * 1000,
        refreshedAt: now,
      };
      await writeFileAtomic(file, JSON.stringify(renewed), { mode: 0o600 });
      return renewed.access;
    } finally {
      await release();
    }
  }

  let flight;
  return async () => {
    const stored = read();
    if (isFresh(stored)) return stored.access;
    flight ??= refresh().finally(() => {
      flight = undefined;
    });
    return flight;
  };
}

/** This package, or one of these. */
export async function contestant(name, config, file) {
  if (name !== "ours" && name !== "before") return rival(name, config, file);
  const { getValidAccessToken } = load("index.js");
  return () => getValidAccessToken(config);
}
