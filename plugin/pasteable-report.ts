/**
 * The doctor's report for a bug report: versions, host, platform and kind of store; no names of people or of servers.
 */
import { readFileSync } from "node:fs";
import { homedir, hostname, userInfo } from "node:os";
import { dirname, join } from "node:path";
import type { AuthConfig, DoctorReport } from "../index.js";
import { hostName } from "./host.ts";

export interface PasteableReport extends DoctorReport {
  versions: { package: string; node: string; host: string };
  platform: string;
  /** `file`, `keychain`, `auto`, `store`, or the format of another program's file. */
  storage: string;
}

/** `withServers` keeps the names of servers. */
export function pasteable(report: DoctorReport, config: AuthConfig, withServers: boolean): PasteableReport {
  const host = hostName();
  const withoutNames = replacements(config, withServers);
  return {
    versions: {
      package: versionOf(__dirname, ["clawdbot-plugin-auth"]),
      node: process.versions.node,
      host: `${host} ${versionOf(dirname(process.argv[1] ?? ""), [host, "clawdbot", "moltbot", "openclaw", "openclaw-cn"])}`,
    },
    platform: [process.platform, process.arch, libc()].filter(Boolean).join("-"),
    storage: config.store !== undefined ? "store" : (config.credentialsFormat ?? config.storage ?? "file"),
    ok: report.ok,
    checks: report.checks.map(({ message, fix, ...check }) => ({
      ...check,
      message: withoutNames(message),
      ...(fix !== undefined && { fix: withoutNames(fix) }),
    })),
  };
}

/** The version in the nearest package.json above that has one of these names. */
function versionOf(folder: string, names: string[]): string {
  for (let at = folder; ; at = dirname(at)) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
      if (names.includes(name)) {
        return String(version);
      }
    } catch {
      // No package.json here: try the folder above.
    }
    if (dirname(at) === at) {
      return "of unknown version";
    }
  }
}

function libc(): string | undefined {
  if (process.platform !== "linux") {
    return undefined;
  }
  try {
    const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime === undefined ? "musl" : `glibc ${header.glibcVersionRuntime}`;
  } catch {
    // Deno without --allow-sys.
    return undefined;
  }
}

/** Every name is replaced by the same word wherever it occurs, so that the report still says what belongs together. */
function replacements(config: AuthConfig, withServers: boolean): (text: string) => string {
  const people = numbered("account");
  const servers = numbered("server");
  const known: [name: string, word: string][] = [
    [homedir(), "~"],
    [hostname(), "this-machine"],
    ...[config.profile, config.profileId, config.agentId, ...(config.order ?? [])]
      .filter((name) => name !== undefined && !["default", "main"].includes(name))
      .flatMap((name): [string, string][] => {
        const word = people(name ?? "");
        return [
          [name ?? "", word],
          [fileName(name ?? ""), word],
        ];
      }),
    [userName(), "user"],
  ];
  return (text) => {
    let said = text;
    for (const [name, word] of known) {
      // A name of one or two letters is in every word.
      said = name.length < 3 ? said : said.replace(whole(name), word);
    }
    said = said
      .replace(/((?:\/home|\/Users|[A-Z]:\\Users)[\\/])[^\\/\s"`:]+/g, "$1user")
      .replace(/[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g, people);
    if (withServers) {
      return said;
    }
    const named = (host: string) => (isThisMachine(host) ? host : servers(host));
    return said
      .replace(
        /(\b[a-z][a-z0-9+.-]*:\/\/)([^\s/?#"'`,;)]+)/gi,
        (_, scheme: string, host: string) => scheme + named(host),
      )
      .replace(/(?<![\w./\\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])/g, named)
      .replace(new RegExp(hostsOf(config).map(escaped).join("|") || "(?!)", "gi"), named);
  };
}

/** The store's encoding of a name: bytes outside of a-z, 0-9, dot, underscore and hyphen as %XX. */
function fileName(profile: string): string {
  return Buffer.from(profile)
    .toString("latin1")
    .replace(/[^a-z0-9._-]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`);
}

function numbered(word: string): (name: string) => string {
  const seen = new Map<string, string>();
  return (name) => {
    const known = seen.get(name.toLowerCase()) ?? `${word}-${seen.size + 1}`;
    seen.set(name.toLowerCase(), known);
    return known;
  };
}

/** The servers that config and proxies name. */
function hostsOf(config: AuthConfig): string[] {
  const urls = [
    ...Object.entries(config).flatMap(([name, value]) =>
      /issuer|endpoint|resource|url/i.test(name) ? [value].flat() : [],
    ),
    ...["https_proxy", "http_proxy", "all_proxy"].flatMap((name) => [
      process.env[name],
      process.env[name.toUpperCase()],
    ]),
  ];
  return urls.flatMap((url) => {
    try {
      const { hostname: name } = new URL(String(url));
      return name === "" || isThisMachine(name) ? [] : [name];
    } catch {
      return [];
    }
  });
}

function isThisMachine(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?|0\.0\.0\.0)(:\d+)?$/i.test(host);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "";
  }
}

function whole(name: string): RegExp {
  return new RegExp(`(?<![\\w-])${escaped(name)}(?![\\w-])`, "g");
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
