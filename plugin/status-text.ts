/** The state of a login in words, and as the exit code of `status --check`. */
import { isAbsolute } from "node:path";
import type { AuthStatus, DoctorReport, LoginAccount, LogoutResult } from "../index.js";
import { now } from "../lib/shared.js";
import { plainly, type Say } from "./messages.ts";

/** 0: usable. 2: usable, but the login itself ends within 24 hours. 1: a login is needed. */
export function exitCode({ state }: AuthStatus): 0 | 1 | 2 {
  return state === "valid" ? 0 : state === "expiring" ? 2 : 1;
}

/** The most urgent state of several accounts: 1 before 2 before 0. */
export function worst(accounts: AuthStatus[]): 0 | 1 | 2 {
  const codes = accounts.map(exitCode);
  return codes.includes(1) ? 1 : codes.includes(2) ? 2 : 0;
}

const words: Record<AuthStatus["state"], string> = {
  valid: "logged in",
  expiring: "logged in, ends soon",
  expired: "expired",
  login_required: "login needed",
  logged_out: "not logged in",
};

export function stateInWords({ state }: AuthStatus): string {
  return words[state];
}

/** The name by which people know the owner of the login; empty where the server names none. */
export function personOf({ name, email, id }: LoginAccount = {}): string {
  return [name, email ?? (name === undefined ? id : undefined)].filter((part) => part !== undefined).join(", ");
}

/** The owner of the login, as far as known: by the server, or by the name of the account here. */
export function asWhom({ account, profile: name }: { account?: LoginAccount | undefined; profile?: string }): string {
  const person = personOf(account);
  const profile = name === undefined || name === "default" ? "" : `account ${name}`;
  return person !== "" ? `, as ${person}${profile && ` (${profile})`}` : profile && `, ${profile}`;
}

/**
 * Several lines, one fact each. `origins`: where the token is sent, as far as the config says; `unencrypted`: and
 * where without TLS.
 */
export function statusText(
  status: AuthStatus,
  title: string,
  origins: readonly string[] = [],
  unencrypted: readonly string[] = [],
): string {
  const facts: [string, string | undefined][] = [
    ["account", status.profile],
    ["person", personOf(status.account)],
    ["from", source(status)],
    ["server", status.issuer],
    ["scopes", status.scopes?.join(" ")],
    [
      "lacking",
      status.missingScopes?.length ? `${status.missingScopes.join(" ")} (log in again to get them)` : undefined,
    ],
    ["token", token(status)],
    ["ends", loginEnd(status)],
    ["bound", status.dpop ? "to a key of this login (DPoP)" : undefined],
    ["sent to", origins.join(" ")],
    [
      "warning",
      unencrypted.length === 0 ? undefined : `the token travels without encryption to ${unencrypted.join(" ")}`,
    ],
    ["skipped", status.skipped?.map(({ message }) => message).join(" ")],
    // A store's key is no path.
    [isAbsolute(status.path) ? "file" : "store", status.path],
    ["problem", status.lastError?.message],
  ];
  const lines = facts.flatMap(([name, fact]) => (fact ? [`  ${name.padEnd(9)}${fact}`] : []));
  return [`${title}: ${stateInWords(status)}`, ...lines].join("\n");
}

function source({ source }: AuthStatus): string | undefined {
  return source === "env" ? "the environment" : source === "config" ? "the configuration" : undefined;
}

function token({ state, expiresAt, refreshable, imported }: AuthStatus): string | undefined {
  if (state === "logged_out" || state === "login_required") {
    return undefined;
  }
  const renewal = refreshable ? "renewed by itself" : `${imported ? "imported, " : ""}cannot be renewed`;
  if (expiresAt === undefined) {
    return `valid until the service rejects it, ${renewal}`;
  }
  const when = new Date(expiresAt).toLocaleString();
  return `${expiresAt > now() ? "valid until" : "ended"} ${when}, ${renewal}`;
}

/** The end of a login that is renewed by itself. */
function loginEnd({ loginEndsAt, refreshable }: AuthStatus): string | undefined {
  if (loginEndsAt === undefined || !refreshable) {
    return undefined;
  }
  const when = new Date(loginEndsAt).toLocaleString();
  return loginEndsAt > now() ? `the login itself ends ${when}` : `the login itself ended ${when}`;
}

/** The result of a logout, with a line for each entry that the keychain has kept. */
export function logoutText(
  { removed, revoked, leftInKeychain = [] }: LogoutResult,
  title: string,
  say: Say = plainly,
): string {
  if (!removed) {
    return say("notLoggedIn", { text: `Nobody was logged in to ${title}.` });
  }
  const told = revoked ? "the server has revoked the tokens" : "the server was not told";
  const left = leftInKeychain.map(
    (entry) => `  Still in the keychain: ${entry}. Remove it with the system's own tool.`,
  );
  return [say("loggedOut", { text: `Logged out of ${title}; ${told}.` }), ...left].join("\n");
}

/** The report with the command that logs in, where that is the advice: the package knows the account, the plugin its command. */
export function withCommands(report: DoctorReport, loginCommand: (profile: string) => string): DoctorReport {
  const advice = (_: string, profile: string) => `Log in with: ${loginCommand(profile)}`;
  const checks = report.checks.map(({ fix, ...check }) => ({
    ...check,
    ...(fix !== undefined && { fix: fix.replace(/^Log in \(profile (.+)\)\.$/, advice) }),
  }));
  return { ...report, checks };
}

/** A line for each check, and one below it for what to do. */
export function reportText({ ok, checks }: DoctorReport): string {
  const lines = checks.flatMap(({ name, level, message, fix, fixed }) => {
    const head = `${(fixed ? "fixed" : level).padEnd(8)} ${name.padEnd(10)} `;
    return fix === undefined || fixed ? [head + message] : [head + message, `${" ".repeat(head.length)}→ ${fix}`];
  });
  return [...lines, ok ? "No error was found." : "Errors were found."].join("\n");
}
