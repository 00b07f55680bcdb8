/** Logins as tests need them: by a person who approves at once. */
import { realpathSync } from "node:fs";
import {
  type AuthConfig,
  type AuthStatus,
  type ImportedToken,
  importToken,
  login,
  type ProgressEvent,
  status,
  type Verification,
} from "../../index.js";
import { AuthorizationServer } from "./authorization-server.ts";
import { Person } from "./person.ts";
import { StoredCredential } from "./stored-credential.ts";

export interface ObservedLogin {
  status: AuthStatus;
  verification: Verification;
  progress: ProgressEvent[];
}

/** Logs in; the person approves as soon as there is a code. */
export async function approvedLogin(config: AuthConfig, { ca }: { ca?: string } = {}): Promise<ObservedLogin> {
  const person = new Person(ca === undefined ? {} : { ca });
  const progress: ProgressEvent[] = [];
  let shown: Verification | undefined;
  const status = await login(config, {
    onVerification: async (verification) => {
      shown = verification;
      await person.approve(complete(verification));
    },
    onProgress: (event) => {
      progress.push(event);
    },
  });
  if (shown === undefined) {
    throw new Error("No verification was shown");
  }
  return { status, verification: shown, progress };
}

/**
 * Creates the state that {@link approvedLogin} leaves, without a login and its second of waiting for the person. The
 * server has given the tokens, the addon has stored them, and the file describes their server as after a login (a test
 * compares). For a registered client, a config without issuer or a DPoP key, log in instead.
 */
export async function grantedLogin(
  config: AuthConfig,
  server = AuthorizationServer.of(config.issuer),
  store: (tokens: ImportedToken) => Promise<unknown> = (tokens) => importToken(config, tokens),
): Promise<{ status: AuthStatus }> {
  const { clientId, clientSecret, scopes = [], issuer, clientAuthentication } = config;
  const resources = [...(config.resource ?? []), ...(config.otherResources ?? [])];
  if (clientId === undefined || config.dpop || config.store || config.credentialsFormat) {
    throw new Error("Only a login gives what this config asks for");
  }
  const { access, refresh, lifetime } = await server.grant(clientId, scopes, "ada", resources);
  const expires = Date.now() + lifetime * 1000;
  await store({ access, ...(refresh !== undefined && { refresh }), expires, scopes });
  const { path } = await status(config);
  new StoredCredential(realpathSync(path)).becomeLogin({
    ...(issuer !== undefined && { issuer }),
    tokenEndpoint: config.tokenEndpoint ?? server.endpoints.tokenEndpoint,
    revocationEndpoint: config.revocationEndpoint ?? server.endpoints.revocationEndpoint,
    clientId,
    clientAuthentication: clientAuthentication ?? (clientSecret === undefined ? "none" : "client_secret_basic"),
  });
  return { status: await status(config) };
}

/** Makes the access token expire, as far as its file says: the next caller has to refresh. */
export async function expireLogin(config: AuthConfig): Promise<void> {
  const { path } = await status(config);
  new StoredCredential(realpathSync(path)).expire();
}

export function complete(verification: Verification): string {
  if (verification.verificationUriComplete === undefined) {
    throw new Error("The server gave no verification_uri_complete");
  }
  return verification.verificationUriComplete;
}

/** The config of a test: the server's public client, everything in the given state folder. */
export function configFor(server: AuthorizationServer, stateDir: string, more: Partial<AuthConfig> = {}): AuthConfig {
  return {
    pluginId: "memory",
    issuer: server.issuer,
    clientId: "public",
    scopes: ["memory", "offline_access"],
    stateDir,
    ...more,
  };
}
