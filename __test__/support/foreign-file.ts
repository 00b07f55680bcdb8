/**
 * Credential files of other programs, written from their public formats, with odd spelling and members of a later
 * version: unknown members have to stay unchanged, to the byte.
 */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type AuthConfig, getValidAccessToken } from "../../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "./authorization-server.ts";
import { type Lifetime, Scope } from "./lifetime.ts";
import { configFor } from "./login.ts";
import { PluginProcess } from "./plugin-process.ts";
import { TempHome } from "./temp-home.ts";

export type Format =
  | "auth-profiles"
  | "claude-code"
  | "codex"
  | "qwen-code"
  | "pi"
  | "kimi-code"
  | "mcp-remote"
  | "gemini-cli";

export interface Tokens {
  access: string;
  refresh: string;
  /** Unix ms */
  expires: number;
  /** The lifetime in the file, seconds */
  lifetime?: number;
  scope?: string;
  idToken?: string;
}

interface Layout {
  /** Below the home. */
  path: string;
  config: Partial<AuthConfig>;
  /** The locks of the program that are held while a refresh token is spent, for a login file of that path. */
  locks: (path: string) => HostLock[];
  /** The locks for the rename alone. */
  saveLocks?: (path: string) => HostLock[];
  /** The file goes with its login. */
  logoutRemovesFile?: true;
  /** The mark that the program leaves where its refresh token was refused. */
  refusal?: "empty tokens" | "no file";
  text: (tokens: Tokens, more: More) => string;
  tokens: (json: Json) => Tokens;
  /** Where one file holds several logins: another one, of another account. */
  second?: { profileId: string; text: (tokens: Tokens) => string; entry: (json: Json) => Json };
}

/** A lock as its program makes it. */
export interface HostLock {
  path: string;
  kind: "folder" | "file" | "lease" | "flock";
  /** Seconds after which it is abandoned. */
  stale: number;
}

/** The changes of the program itself. */
interface More {
  counter: number;
  lastRefresh: string;
  /** The second login as the layout writes it. */
  second?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a foreign file may hold anything
type Json = any;

const anHour = 3_600_000;

/** A token that says when it ends, as Codex' do. */
export const jwt = (claims: object) =>
  `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

const exp = (token: string) => {
  const [, claims = ""] = token.split(".");
  try {
    return JSON.parse(Buffer.from(claims, "base64url").toString()).exp * 1000;
  } catch {
    return Number.NaN;
  }
};

export const layouts: Record<Format, Layout> = {
  "auth-profiles": {
    path: ".clawdbot/agents/main/agent/auth-profiles.json",
    config: { profileId: "memory:work" },
    locks: (path) => [{ path: `${path}.lock`, kind: "folder", stale: 30 }],
    second: {
      profileId: "memory:home",
      text: ({ access, refresh, expires }) =>
        `,\n    "memory:home": {"expires":${expires}, "type":"oauth", "refresh":"${refresh}","provider":"memory","clientId":"public","access":"${access}", "kept": 1.0}`,
      entry: ({ profiles }) => profiles["memory:home"],
    },
    text: ({ access, refresh, expires }, { counter, second = "" }) => `{
  "version": 1,
  "profiles": {
    "anthropic:default": {"type":"api_key", "provider":"anthropic", "key":"sk-other",   "weight": 1.50e+2},
    "memory:work": {
      "type": "oauth",
      "provider": "memory",
      "clientId": "public",
      "access": "${access}",
      "refresh": "${refresh}",
      "expires": ${expires},
      "email": "ann\\u0040example.com",
      "later": [1.0, { "refresh": "not this one" }, 12345678901234567890]
    }${second}
  },
  "usageStats": {"memory:work": { "lastUsed": ${counter} }},
  "order" : { "memory": ["memory:work"] }
}
`,
    tokens: ({ profiles }) => profiles["memory:work"],
  },
  "claude-code": {
    path: ".claude/.credentials.json",
    config: {},
    locks: (path) => [
      { path: join(dirname(path), ".oauth_refresh.lock"), kind: "folder", stale: 60 },
      { path: `${dirname(path)}.lock`, kind: "folder", stale: 60 },
    ],
    saveLocks: (path) => [{ path: join(dirname(path), ".storage-write.lock"), kind: "folder", stale: 15 }],
    refusal: "empty tokens",
    text: ({ access, refresh, expires }, { counter }) =>
      `{"claudeAiOauth":{"accessToken":"${access}","refreshToken":"${refresh}","expiresAt":${expires},"scopes":["memory", "offline_access"],"subscriptionType":"max","rateLimitTier":"default_claude_max_5x"},"mcpOAuth":{"plugin|0a":{"accessToken":"theirs","counter":${counter},"n":1e3}}}`,
    tokens: ({ claudeAiOauth: { accessToken, refreshToken, expiresAt } }) => ({
      access: accessToken,
      refresh: refreshToken,
      expires: expiresAt,
    }),
  },
  codex: {
    path: ".codex/auth.json",
    // Codex reads no login without an ID token.
    config: { scopes: ["memory", "offline_access", "openid"] },
    locks: () => [],
    saveLocks: (path) => [{ path: join(dirname(path), "auth.lock"), kind: "flock", stale: 0 }],
    logoutRemovesFile: true,
    text: ({ access, refresh, idToken = jwt({ email: "ann@example.com" }) }, { counter, lastRefresh }) => `{
    "auth_mode": "chatgpt",
    "OPENAI_API_KEY": null,
    "tokens": {
        "id_token": "${idToken}",
        "access_token": "${access}",
        "refresh_token": "${refresh}",
        "account_id": "acc-1"
    },
    "last_refresh": "${lastRefresh}",
    "counter": ${counter},
    "ratio": 0.10
}`,
    tokens: ({ tokens: { access_token, refresh_token, id_token } }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: exp(access_token),
      idToken: id_token,
    }),
  },
  "qwen-code": {
    path: ".qwen/oauth_creds.json",
    config: {},
    locks: (path) => [{ path: path.replace(/json$/, "lock"), kind: "file", stale: 35 }],
    refusal: "no file",
    text: ({ access, refresh, expires }, { counter }) =>
      `{\r\n\t"access_token": "${access}",\r\n\t"token_type": "Bearer",\r\n\t"refresh_token": "${refresh}",\r\n\t"resource_url": "portal.example.com\\/v1",\r\n\t"expiry_date": ${expires},\r\n\t"counter": ${counter}\r\n}\r\n`,
    tokens: ({ access_token, refresh_token, expiry_date }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: expiry_date,
    }),
  },
  pi: {
    path: ".pi/agent/auth.json",
    config: { profileId: "memory" },
    locks: (path) => [{ path: `${path}.lock`, kind: "folder", stale: 30 }],
    second: {
      profileId: "home",
      text: ({ access, refresh, expires }) =>
        `,\n  "home": {"refresh":"${refresh}", "type":"oauth","access":"${access}", "expires":${expires}, "kept": 1.0}`,
      entry: ({ home }) => home,
    },
    text: ({ access, refresh, expires }, { counter, second = "" }) => `{
  "anthropic": {"type": "api_key", "key": "sk-other"},
  "memory": {
    "type": "oauth",
    "refresh": "${refresh}",
    "access": "${access}",
    "expires": ${expires},
    "accountId": "acc\\u002d1",
    "counter": ${counter}
  }${second}
}`,
    tokens: ({ memory }) => memory,
  },
  "kimi-code": {
    path: ".kimi-code/credentials/kimi-code.json",
    config: {},
    locks: (path) => [{ path: join(path, "../../oauth/kimi-code.lock"), kind: "folder", stale: 5 }],
    logoutRemovesFile: true,
    refusal: "empty tokens",
    text: ({ access, refresh, expires, lifetime = 3600, scope = "memory offline_access" }, { counter }) => `{
  "access_token": "${access}",
  "refresh_token": "${refresh}",
  "expires_at": ${Math.floor(expires / 1000)},
  "scope": "${scope}",
  "token_type": "Bearer",
  "expires_in": ${lifetime},
  "counter": ${counter}
}
`,
    tokens: ({ access_token, refresh_token, expires_at, expires_in, scope }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: expires_at * 1000,
      lifetime: expires_in,
      scope,
    }),
  },
  "mcp-remote": {
    path: ".mcp-auth/mcp-remote-v1/0123456789abcdef0123456789abcdef_tokens.json",
    config: {},
    locks: (path) => [{ path: path.replace(/tokens\.json$/, "refresh_in_progress.json"), kind: "lease", stale: 30 }],
    logoutRemovesFile: true,
    text: ({ access, refresh, expires, lifetime = 3600, scope = "memory offline_access" }, { counter }) => `{
  "access_token": "${access}",
  "token_type": "Bearer",
  "expires_in": ${lifetime},
  "scope": "${scope}",
  "refresh_token": "${refresh}",
  "expires_at": ${expires},
  "requested_scope": "memory",
  "counter": ${counter}
}`,
    tokens: ({ access_token, refresh_token, expires_at, expires_in, scope }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: expires_at,
      lifetime: expires_in,
      scope,
    }),
  },
  "gemini-cli": {
    path: ".gemini/oauth_creds.json",
    config: {},
    locks: () => [],
    logoutRemovesFile: true,
    text: ({ access, refresh, expires, scope = "memory offline_access" }, { counter }) => `{
  "access_token": "${access}",
  "refresh_token": "${refresh}",
  "scope": "${scope}",
  "token_type": "Bearer",
  "expiry_date": ${expires},
  "counter": ${counter}
}`,
    tokens: ({ access_token, refresh_token, expiry_date, scope }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: expiry_date,
      scope,
    }),
  },
};

export const formats = Object.keys(layouts) as Format[];

/**
 * A real login, in the file of another program. Where one file holds several logins there is a second one beside it,
 * of another account: at the end of every test it is what it was, to the byte, and is refreshed as if nothing had
 * happened.
 */
export class ForeignFile {
  readonly server: AuthorizationServer;
  readonly home: TempHome;
  readonly config: AuthConfig;
  readonly path: string;
  readonly #layout: Layout;
  readonly #lifetime: Lifetime;
  #second: Tokens | undefined;
  /** The test itself wrote a file without it, as a program does that logs out of everything. */
  #isSecondGone = false;

  /** By default with an expired access token. */
  static async create(
    lifetime: Lifetime,
    format: Format,
    {
      lives = -1000,
      server: options = {},
      mode = 0o640,
    }: { lives?: number; server?: AuthorizationServerOptions; mode?: number } = {},
  ): Promise<ForeignFile> {
    // The server and the processes outlive the last look at the second login.
    const scope = new Scope();
    let file: ForeignFile | undefined;
    lifetime.after(async () => {
      try {
        if (file !== undefined) {
          await file.server.removeInterceptions();
          file.outwaitLocks();
          await file.refreshSecond();
        }
      } finally {
        await scope.end();
      }
    });
    const server = await AuthorizationServer.start(scope, options);
    const home = TempHome.create(scope);
    const { second } = layouts[format];
    const [first, other] = await Promise.all([granted(server), second && granted(server)]);
    file = new ForeignFile(scope, server, home, format);
    file.#second = other && { ...other, expires: Date.now() + anHour };
    mkdirSync(dirname(file.path), { recursive: true, mode: 0o700 });
    if (format === "auth-profiles") {
      // A host that reads that file was here.
      writeFileSync(join(home.path, ".clawdbot/clawdbot.json"), "{}");
    }
    const expires = Date.now() + lives;
    const dated = jwt({ exp: Math.floor(expires / 1000) });
    file.write({ ...first, access: format === "codex" ? dated : first.access, expires });
    chmodSync(file.path, mode);
    return file;
  }

  constructor(lifetime: Lifetime, server: AuthorizationServer, home: TempHome, format: Format) {
    this.#lifetime = lifetime;
    this.#layout = layouts[format];
    this.server = server;
    this.home = home;
    this.path = join(home.path, this.#layout.path);
    this.config = configFor(server, join(home.path, ".clawdbot"), {
      credentialsFormat: format,
      ...(format === "auth-profiles" ? {} : { credentialsPath: this.path }),
      ...this.#layout.config,
    });
  }

  /** The config and the token of the second login. */
  get second(): { config: AuthConfig; access: string } {
    const { profileId } = this.#layout.second ?? {};
    assert.ok(profileId !== undefined && this.#second !== undefined, "this format holds one login");
    return { config: { ...this.config, profileId }, access: this.#second.access };
  }

  /** The number of other logins of the provider in the file. */
  get others(): number {
    return this.#second === undefined ? 0 : 1;
  }

  /** Written in place, as these programs do; all other logins stay. */
  write(tokens: Tokens, counter = 0): void {
    this.put(this.#text(tokens, counter, "2026-01-01T00:00:00.000Z"));
  }

  /** Writes any text, or removes the file; members that are missing then are not expected any more. */
  put(text: string | undefined): void {
    this.#isSecondGone = this.#second !== undefined && !text?.includes(this.#second.access);
    if (text === undefined) {
      rmSync(this.path);
    } else {
      writeFileSync(this.path, text);
    }
  }

  /** The file as it is. */
  text(): string {
    return readFileSync(this.path, "utf8");
  }

  json(): Json {
    return JSON.parse(this.text());
  }

  tokens(): Tokens {
    return this.#layout.tokens(this.json());
  }

  /** The expected file, to the byte, if nothing but this login has changed. */
  expected(counter = 0): string {
    return this.#text(this.tokens(), counter, this.json().last_refresh);
  }

  #text(tokens: Tokens, counter: number, lastRefresh: string): string {
    const second = this.#second && this.#layout.second?.text(this.#second);
    return this.#layout.text(tokens, { counter, lastRefresh, ...(second && { second }) });
  }

  /** The second login has its own token, and any caller can refresh it; returns the number of requests that took. */
  async refreshSecond(accessToken: typeof getValidAccessToken = getValidAccessToken): Promise<number> {
    const { second } = this.#layout;
    if (this.#second === undefined || second === undefined || this.#isSecondGone) {
      return 0;
    }
    const { config, access } = this.second;
    const stored = () => second.entry(this.json());
    assert.deepEqual(stored(), parsed(second.text(this.#second)), "the second login is not what it was");
    assert.equal(await accessToken(config), access);
    const renewed = await accessToken(config, { rejectedToken: access });
    assert.notEqual(renewed, access);
    this.#second = stored();
    assert.equal(this.#second?.access, renewed);
    assert.deepEqual(stored(), parsed(second.text(stored())), "more than its tokens has changed");
    return 1;
  }

  mode(): number {
    return statSync(this.path).mode & 0o777;
  }

  /** Another process of the plugin. */
  plugin(): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.home.env() });
  }

  /** The locks of its program, all or those that are held while a refresh token is spent. */
  locks(which: "request" | "all" = "all"): HostLock[] {
    const { locks, saveLocks } = this.#layout;
    return [...locks(this.path), ...(which === "all" ? (saveLocks?.(this.path) ?? []) : [])];
  }

  /** Leaves its locks as a program does that was killed that many seconds ago. */
  static leave({ path, kind }: HostLock, secondsAgo: number, pid = process.pid): void {
    const at = new Date(Date.now() - secondsAgo * 1000);
    mkdirSync(dirname(path), { recursive: true });
    if (kind === "folder") {
      mkdirSync(path, { recursive: true });
    } else {
      writeFileSync(path, kind === "lease" ? JSON.stringify({ pid, nonce: "theirs", at: at.getTime() }) : "theirs");
    }
    utimesSync(path, at, at);
  }

  /** A killed holder's locks are waited for: here they have been. */
  outwaitLocks(): void {
    for (const { path, stale } of this.locks()) {
      if (existsSync(path)) {
        const longAgo = new Date(Date.now() - (stale + 1) * 1000);
        utimesSync(path, longAgo, longAgo);
      }
    }
  }

  /** Journals and new texts on their way. */
  temps(): string[] {
    const folder = dirname(this.path);
    return readdirSync(folder)
      .filter((name) => name.endsWith(".tmp"))
      .map((name) => join(folder, name));
  }

  refreshes() {
    return this.server.requests({ grant: "refresh_token" });
  }

  /** A login of the program itself; it lives for an hour or for `lives`. */
  static theirs(lives = anHour): Tokens {
    const expires = Date.now() + lives;
    return { access: jwt({ exp: Math.floor(expires / 1000), by: "them" }), refresh: "theirs", expires };
  }
}

/** The value of an object's member. */
function parsed(member: string): Json {
  const [value] = Object.values(JSON.parse(`{${member.replace(/^,/, "")}}`));
  return value;
}

/** The tokens of a login of its own at the server. */
async function granted(server: AuthorizationServer) {
  const { access, refresh = "" } = await server.grant("public", ["memory", "offline_access"]);
  return { access, refresh };
}
