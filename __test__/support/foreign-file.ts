/**
 * Credential files of other programs, written from their public formats, odd spelling and members of a later version
 * included: what we do not understand has to come through unchanged, to the byte.
 */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AuthConfig } from "../../index.js";
import { AuthorizationServer, type AuthorizationServerOptions } from "./authorization-server.ts";
import type { Lifetime } from "./lifetime.ts";
import { approvedLogin, configFor } from "./login.ts";
import { PluginProcess } from "./plugin-process.ts";
import { TempHome } from "./temp-home.ts";

export type Format = NonNullable<AuthConfig["credentialsFormat"]>;

export interface Tokens {
  access: string;
  refresh: string;
  /** Unix ms */
  expires: number;
}

interface Layout {
  /** Below the home. */
  path: string;
  config: Partial<AuthConfig>;
  text: (tokens: Tokens, more: More) => string;
  tokens: (json: Json) => Tokens;
}

/** What the program itself changes. */
interface More {
  counter: number;
  lastRefresh: string;
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
    text: ({ access, refresh, expires }, { counter }) => `{
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
    }
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
    config: {},
    text: ({ access, refresh }, { counter, lastRefresh }) => `{
    "auth_mode": "chatgpt",
    "OPENAI_API_KEY": null,
    "tokens": {
        "id_token": "${jwt({ email: "ann@example.com" })}",
        "access_token": "${access}",
        "refresh_token": "${refresh}",
        "account_id": "acc-1"
    },
    "last_refresh": "${lastRefresh}",
    "counter": ${counter},
    "ratio": 0.10
}`,
    tokens: ({ tokens: { access_token, refresh_token } }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: exp(access_token),
    }),
  },
  "qwen-code": {
    path: ".qwen/oauth_creds.json",
    config: {},
    text: ({ access, refresh, expires }, { counter }) =>
      `{\r\n\t"access_token": "${access}",\r\n\t"token_type": "Bearer",\r\n\t"refresh_token": "${refresh}",\r\n\t"resource_url": "portal.example.com\\/v1",\r\n\t"expiry_date": ${expires},\r\n\t"counter": ${counter}\r\n}\r\n`,
    tokens: ({ access_token, refresh_token, expiry_date }) => ({
      access: access_token,
      refresh: refresh_token,
      expires: expiry_date,
    }),
  },
};

export const formats = Object.keys(layouts) as Format[];

/** A real login, in the file of another program. */
export class ForeignFile {
  readonly server: AuthorizationServer;
  readonly home: TempHome;
  readonly config: AuthConfig;
  readonly path: string;
  readonly #layout: Layout;
  readonly #lifetime: Lifetime;

  /** With an access token that has ended, unless told otherwise. */
  static async create(
    lifetime: Lifetime,
    format: Format,
    {
      lives = -1000,
      server: options = {},
      mode = 0o640,
    }: { lives?: number; server?: AuthorizationServerOptions; mode?: number } = {},
  ): Promise<ForeignFile> {
    const server = await AuthorizationServer.start(lifetime, options);
    const home = TempHome.create(lifetime);
    const own = configFor(server, join(home.path, "own"));
    const { status } = await approvedLogin(own);
    const { access, refresh } = JSON.parse(readFileSync(status.path, "utf8"));
    const file = new ForeignFile(lifetime, server, home, format);
    mkdirSync(dirname(file.path), { recursive: true, mode: 0o700 });
    const expires = Date.now() + lives;
    const dated = jwt({ exp: Math.floor(expires / 1000) });
    file.write({ access: format === "codex" ? dated : access, refresh, expires });
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

  /** Written in place, as these programs do. */
  write(tokens: Tokens, counter = 0): void {
    writeFileSync(this.path, this.#layout.text(tokens, { counter, lastRefresh: "2026-01-01T00:00:00.000Z" }));
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

  /** What the file has to be, to the byte, if nothing but the login has changed. */
  expected(counter = 0): string {
    return this.#layout.text(this.tokens(), { counter, lastRefresh: this.json().last_refresh });
  }

  mode(): number {
    return statSync(this.path).mode & 0o777;
  }

  /** Another process of the plugin. */
  plugin(): Promise<PluginProcess> {
    return PluginProcess.start(this.#lifetime, { env: this.home.env() });
  }

  refreshes() {
    return this.server.requests({ grant: "refresh_token" });
  }

  /** A login of the program itself, that lives for an hour or as long as told. */
  static theirs(lives = anHour): Tokens {
    const expires = Date.now() + lives;
    return { access: jwt({ exp: Math.floor(expires / 1000), by: "them" }), refresh: "theirs", expires };
  }
}
