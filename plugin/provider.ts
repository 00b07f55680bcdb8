/** For hosts that keep tokens themselves: the device flow as an auth method of `api.registerProvider`. */
import {
  type AuthConfig,
  AuthError,
  authorizeDevice,
  type CredentialStore,
  login,
  refreshTokens,
  type TokenSet,
} from "../index.js";
import { now } from "../lib/shared.js";

/** Where to authenticate, and what the host is to keep. There is no store: the host is it. */
export interface DeviceCodeAuthOptions
  extends Omit<
    AuthConfig,
    | "pluginId"
    | "profile"
    | "order"
    | "stateDir"
    | "credentialsPath"
    | "refreshBufferMs"
    | "lockTimeoutMs"
    | "flow"
    | "redirectUri"
    | "authorizationEndpoint"
    | "dpop"
    | "storage"
    | "store"
    | "credentialsFormat"
    | "agentId"
    | "profileId"
    | "adopt"
  > {
  /** The id of the provider, as given to `registerProvider`. */
  provider: string;
  /** @default provider */
  pluginId?: string | undefined;
  /** The id of this method. @default "device" */
  id?: string | undefined;
  /** The label of the choice for the person. @default "Log in with a code" */
  label?: string | undefined;
  hint?: string | undefined;
  /** The profile that the host keeps the tokens as. @default "<provider>:default" */
  profileId?: string | undefined;
  /** Merged into the host's configuration after the login. */
  configPatch?: Record<string, unknown> | undefined;
  /** The model that the host is to offer after the login. */
  defaultModel?: string | undefined;
}

/** The credential that the host keeps. Members beside the host's own carry the values that a refresh needs. */
export interface HostCredential {
  type: "oauth";
  provider: string;
  access: string;
  refresh: string;
  /** Unix milliseconds. */
  expires: number;
  clientId?: string;
  clientSecret?: string;
  /** The issuer of the tokens: {@link refreshOAuth} sends them to nobody else. */
  issuer?: string;
  tokenEndpoint?: string;
  [member: string]: unknown;
}

/** The part of the host's context that is used. */
interface AuthContext {
  prompter: {
    note(message: string, title?: string): Promise<void>;
    text(question: { message: string }): Promise<string>;
    deviceCode?: (shown: { title: string; code: string; expiresInMinutes?: number; message?: string }) => Promise<void>;
    progress(label: string): { update(message: string): void; stop(message?: string): void };
  };
  openUrl(url: string): Promise<void>;
  isRemote?: boolean;
  signal?: AbortSignal;
}

export interface DeviceCodeAuthMethod {
  id: string;
  label: string;
  hint?: string;
  kind: "device_code";
  // biome-ignore lint/suspicious/noExplicitAny: the hosts' own types differ
  run(context: any): Promise<{
    profiles: { profileId: string; credential: HostCredential }[];
    configPatch?: Record<string, unknown>;
    defaultModel?: string;
  }>;
}

/** For the `auth` of a provider. Give the same options to {@link refreshOAuth}. */
export function deviceCodeAuthMethod(options: DeviceCodeAuthOptions): DeviceCodeAuthMethod {
  const { provider, id = "device", label = "Log in with a code", hint, configPatch, defaultModel } = options;
  return {
    id,
    label,
    kind: "device_code",
    ...(hint !== undefined && { hint }),
    async run(context: AuthContext) {
      const tokens = await authorize(options, context);
      return {
        profiles: [{ profileId: options.profileId ?? `${provider}:default`, credential: credential(provider, tokens) }],
        ...(configPatch !== undefined && { configPatch }),
        ...(defaultModel !== undefined && { defaultModel }),
      };
    },
  };
}

/** Where to authenticate through the browser. */
export interface BrowserAuthOptions extends DeviceCodeAuthOptions {
  /** See `AuthConfig`. */
  redirectUri?: string | undefined;
  /** See `AuthConfig`. */
  authorizationEndpoint?: string | undefined;
}

export interface BrowserAuthMethod extends Omit<DeviceCodeAuthMethod, "kind"> {
  kind: "oauth";
}

/**
 * For the `auth` of a provider: the authorization code flow with PKCE, caught on this machine, or pasted where the
 * browser is on another. Give the same options to {@link refreshOAuth}.
 */
export function browserAuthMethod(options: BrowserAuthOptions): BrowserAuthMethod {
  const { provider, id = "browser", label = "Log in with the browser", hint, configPatch, defaultModel } = options;
  return {
    id,
    label,
    kind: "oauth",
    ...(hint !== undefined && { hint }),
    async run(context: AuthContext) {
      const tokens = await authorizeInBrowser(options, context);
      return {
        profiles: [{ profileId: options.profileId ?? `${provider}:default`, credential: credential(provider, tokens) }],
        ...(configPatch !== undefined && { configPatch }),
        ...(defaultModel !== undefined && { defaultModel }),
      };
    },
  };
}

async function authorizeInBrowser(options: BrowserAuthOptions, context: AuthContext): Promise<TokenSet> {
  const { prompter, signal, isRemote } = context;
  const kept = new Map<string, string>();
  const waiting = prompter.progress("Waiting for the browser …");
  try {
    await login(
      { ...authConfig(options), flow: "authorization_code", store: memory(kept) },
      {
        ...(signal !== undefined && { signal }),
        ...(isRemote === true && { remote: true }),
        onVerification: ({ message }) => prompter.note(message, options.label ?? "Log in with the browser"),
        ...(isRemote !== true && { openUrl: (url: string) => context.openUrl(url) }),
        onPaste: ({ message, signal }) =>
          // Text that a person types after the question has ended is ignored.
          Promise.race([
            prompter.text({ message }),
            new Promise<string>((give) => signal.addEventListener("abort", () => give(""))),
          ]),
      },
    );
  } catch (error) {
    waiting.stop("Not logged in.");
    throw error;
  }
  waiting.stop("Approved.");
  const documents = [...kept.values()].map((text) => JSON.parse(text));
  const tokens = documents.find((document) => typeof document.access === "string");
  // The client that was registered just now.
  const clients = documents.flatMap((document) => document.clients ?? []);
  const { clientSecret } = clients.find(({ clientId }: { clientId?: string }) => clientId === tokens.clientId) ?? {};
  return { ...tokens, ...(clientSecret !== undefined && { clientSecret }) };
}

/** A store for the length of one login: the host keeps the result. */
function memory(kept: Map<string, string>): CredentialStore {
  let version = 0;
  const versions = new Map<string, string>();
  return {
    async read(key) {
      const value = kept.get(key);
      return value === undefined ? undefined : { value, version: versions.get(key) ?? "" };
    },
    async write(key, value, expected) {
      if (versions.get(key) !== expected) {
        return undefined;
      }
      version += 1;
      kept.set(key, value);
      versions.set(key, `${version}`);
      return `${version}`;
    },
    withLock: (_key, work) => work(),
  };
}

/** For the `refreshOAuth` of the same provider. */
export function refreshOAuth(options: DeviceCodeAuthOptions): (credential: HostCredential) => Promise<HostCredential> {
  return async (kept) => {
    const { clientId, clientSecret } = kept;
    assertSameServer(options, kept);
    const config = {
      ...authConfig(options),
      ...(clientId !== undefined && { clientId }),
      ...(options.clientSecret === undefined && clientSecret !== undefined && { clientSecret }),
    };
    return { ...kept, ...credential(options.provider, await refreshTokens(config, kept.refresh)) };
  };
}

/** A refresh token goes to the server that gave it: options that name another one by now need another login. */
function assertSameServer(options: DeviceCodeAuthOptions, kept: HostCredential): void {
  const differs = (name: "issuer" | "tokenEndpoint") =>
    options[name] !== undefined && kept[name] !== undefined && options[name] !== kept[name];
  // The login went by endpoints alone: nothing shows that the issuer is the same server.
  const isUnknown =
    options.tokenEndpoint === undefined && kept.issuer === undefined && kept.tokenEndpoint !== undefined;
  if (!differs("issuer") && !differs("tokenEndpoint") && !isUnknown) {
    return;
  }
  const message =
    `The login belongs to ${kept.issuer ?? kept.tokenEndpoint}, but the plugin is configured for ` +
    `${options.issuer ?? options.tokenEndpoint}. Correct the configuration, or log in again.`;
  const details = { code: "ISSUER_MISMATCH", message, retryable: false, needsLogin: true };
  throw new (AuthError as unknown as new (from: typeof details) => AuthError)(details);
}

async function authorize(options: DeviceCodeAuthOptions, context: AuthContext): Promise<TokenSet> {
  const { prompter, signal, isRemote } = context;
  let waiting: { update(message: string): void; stop(message?: string): void } | undefined;
  try {
    const tokens = await authorizeDevice(authConfig(options), {
      ...(signal !== undefined && { signal }),
      async onVerification({ userCode, verificationUri, expiresAt, message }) {
        const title = options.label ?? "Log in with a code";
        if (prompter.deviceCode !== undefined) {
          const expiresInMinutes = Math.max(1, Math.round((expiresAt - now()) / 60_000));
          await prompter.deviceCode({ title, code: userCode, expiresInMinutes, message: `Open ${verificationUri}` });
        } else {
          await prompter.note(message, title);
        }
        waiting = prompter.progress("Waiting for your approval …");
      },
      ...(isRemote !== true && { openUrl: (url: string) => context.openUrl(url) }),
      onProgress({ type, detail }) {
        if (type === "retrying") {
          waiting?.update(`The server cannot be reached, trying again${detail === undefined ? "" : ` (${detail})`} …`);
        } else if (type !== "approved") {
          waiting?.update("Waiting for your approval …");
        }
      },
    });
    waiting?.stop("Approved.");
    return tokens;
  } catch (error) {
    waiting?.stop("Not logged in.");
    throw error;
  }
}

/** The options without this function's own. */
function authConfig(options: DeviceCodeAuthOptions): AuthConfig {
  const { provider, id, label, hint, profileId, configPatch, defaultModel, pluginId = provider, ...config } = options;
  return { ...config, pluginId };
}

const hour = 3_600_000;

function credential(provider: string, tokens: TokenSet): HostCredential {
  const { access, refresh, expires, clientId, clientSecret, issuer, tokenEndpoint } = tokens;
  return {
    type: "oauth",
    provider,
    access,
    // The host's type demands both. Where the server is silent: renewed hourly if it can be, else kept until rejected.
    refresh: refresh ?? "",
    expires: expires ?? now() + (refresh === undefined ? 10 * 365 * 24 * hour : hour),
    clientId,
    ...(clientSecret !== undefined && { clientSecret }),
    ...(issuer !== undefined && { issuer }),
    tokenEndpoint,
  };
}
