/** The real programs: the place and form of their login, and the command that makes each refresh it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Format, layouts } from "../support/foreign-file.ts";
import { nodeBinary } from "../support/nodes.ts";

const folder = process.env.PROGRAMS_FOLDER ?? fileURLToPath(new URL(".", import.meta.url));
const installed = (path: string) => join(folder, "node_modules", path);
const script = (path: string) => [nodeBinary(24), installed(path)];

export interface Program {
  /** On npm. */
  package: string;
  format: Format;
  /** The path of its login, below the home; `origin` is that of the service. */
  path: (origin: string) => string;
  text: (login: Login) => unknown;
  tokens: (json: never) => { access: string; refresh: string };
  /** Makes it use its login. */
  command: (origin: string) => string[];
  /** Reports whether there is a login, and the text of that report. */
  status?: { command: string[]; says: RegExp };
  env?: (origin: string) => Record<string, string>;
  /** Other files that it needs, below the home. */
  files?: Record<string, string>;
  /** Members of its server's answers. */
  answer?: Record<string, unknown>;
  /** Milliseconds that it takes, at most, to ask for its lock on a busy machine. */
  start: number;
  /** It sends its access token to the service. */
  sends: boolean;
  /** Content type of its refresh, where it is not a form. */
  json?: true;
}

interface Login {
  access: string;
  idToken: string;
  refresh: string;
  /** Unix ms */
  expires: number;
}

const below = (format: Format) => () => layouts[format].path;
const claude = [installed("@anthropic-ai/claude-code-linux-x64/claude")];
const codex = [installed("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex")];

export const programs: Record<string, Program> = {
  "Claude Code": {
    package: "@anthropic-ai/claude-code",
    format: "claude-code",
    path: below("claude-code"),
    text: ({ access, refresh, expires }) => ({
      claudeAiOauth: {
        accessToken: access,
        refreshToken: refresh,
        expiresAt: expires,
        scopes: ["user:inference", "user:profile"],
        subscriptionType: "max",
      },
    }),
    tokens: ({ claudeAiOauth }: { claudeAiOauth: { accessToken: string; refreshToken: string } }) => ({
      access: claudeAiOauth.accessToken,
      refresh: claudeAiOauth.refreshToken,
    }),
    command: () => [...claude, "-p", "hi"],
    status: { command: [...claude, "auth", "status"], says: /"loggedIn": true/ },
    env: () => ({ DISABLE_AUTOUPDATER: "1" }),
    answer: { scope: "user:inference user:profile" },
    start: 3000,
    sends: true,
    json: true,
  },
  Codex: {
    package: "@openai/codex",
    format: "codex",
    path: below("codex"),
    text: ({ access, refresh, idToken }) => ({
      auth_mode: "chatgpt",
      OPENAI_API_KEY: null,
      tokens: { id_token: idToken, access_token: access, refresh_token: refresh, account_id: "acc-1" },
      last_refresh: "2026-01-01T00:00:00Z",
    }),
    tokens: ({ tokens }: { tokens: { access_token: string; refresh_token: string } }) => ({
      access: tokens.access_token,
      refresh: tokens.refresh_token,
    }),
    command: () => [...codex, "exec", "--skip-git-repo-check", "hi"],
    status: { command: [...codex, "login", "status"], says: /Logged in using ChatGPT/ },
    env: (origin) => ({ CODEX_REFRESH_TOKEN_URL_OVERRIDE: `${origin}/token` }),
    start: 2000,
    sends: true,
  },
  "Qwen Code": {
    package: "@qwen-code/qwen-code",
    format: "qwen-code",
    path: below("qwen-code"),
    text: ({ access, refresh, expires }) => ({
      access_token: access,
      token_type: "Bearer",
      refresh_token: refresh,
      resource_url: "portal.qwen.ai",
      expiry_date: expires,
    }),
    tokens: rfc6749,
    command: () => [...script("@qwen-code/qwen-code/cli.js"), "-p", "hi", "--auth-type", "qwen-oauth"],
    answer: { resource_url: "portal.qwen.ai" },
    start: 6000,
    // It refreshes, and then reports that its login was discontinued.
    sends: false,
  },
  pi: {
    package: "@earendil-works/pi-coding-agent",
    format: "pi",
    path: below("pi"),
    text: ({ access, refresh, expires }) => ({ anthropic: { type: "oauth", refresh, access, expires } }),
    tokens: ({ anthropic }: { anthropic: { access: string; refresh: string } }) => anthropic,
    command: () => [
      ...script("@earendil-works/pi-coding-agent/dist/cli.js"),
      ...["-p", "hi", "--provider", "anthropic", "--model", "claude-sonnet-4-5"],
    ],
    start: 6000,
    sends: true,
  },
  "Kimi Code": {
    package: "@moonshot-ai/kimi-code",
    format: "kimi-code",
    path: below("kimi-code"),
    text: ({ access, refresh, expires }) => ({
      access_token: access,
      refresh_token: refresh,
      expires_at: Math.floor(expires / 1000),
      scope: "kimi",
      token_type: "Bearer",
      expires_in: 3600,
    }),
    tokens: rfc6749,
    command: () => [...script("@moonshot-ai/kimi-code/dist/main.mjs"), "-p", "hi"],
    files: {
      ".kimi-code/config.toml": `default_model = "kimi"
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
oauth = { storage = "file", key = "oauth/kimi-code" }
[models.kimi]
provider = "managed:kimi-code"
model = "kimi-for-coding"
max_context_size = 262144
`,
    },
    env: () => ({ KIMI_CODE_NO_AUTO_UPDATE: "1" }),
    answer: { scope: "kimi" },
    start: 8000,
    sends: true,
  },
  "mcp-remote": {
    package: "mcp-remote",
    format: "mcp-remote",
    path: (origin) => `.mcp-auth/mcp-remote-v1/${createHash("md5").update(`${origin}/mcp`).digest("hex")}_tokens.json`,
    text: ({ access, refresh, expires }) => ({
      access_token: access,
      token_type: "Bearer",
      refresh_token: refresh,
      expires_in: 3600,
      scope: "memory",
      expires_at: expires,
    }),
    tokens: rfc6749,
    command: (origin) => [
      ...script("mcp-remote/dist/proxy.js"),
      ...[`${origin}/mcp`, "--transport", "http-only", "--static-oauth-client-info", '{"client_id":"public"}'],
    ],
    start: 3000,
    sends: true,
  },
  "Gemini CLI": {
    package: "@google/gemini-cli",
    format: "gemini-cli",
    path: below("gemini-cli"),
    text: ({ access, refresh, idToken, expires }) => ({
      access_token: access,
      refresh_token: refresh,
      scope: "openid",
      token_type: "Bearer",
      id_token: idToken,
      expiry_date: expires,
    }),
    tokens: rfc6749,
    command: () => [...script("@google/gemini-cli/bundle/gemini.js"), "-p", "hi", "--skip-trust"],
    env: () => ({ GOOGLE_GENAI_USE_GCA: "true" }),
    answer: { scope: "openid", refresh_token: undefined },
    start: 8000,
    sends: false,
  },
};

function rfc6749({ access_token, refresh_token }: { access_token: string; refresh_token: string }) {
  return { access: access_token, refresh: refresh_token };
}
