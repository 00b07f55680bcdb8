/** A command line of the plugin: the context and the output of every subcommand. */
import { type AuthConfig, AuthError } from "../index.js";
import { explain } from "./account.ts";
import type { AllowedSenders } from "./allowed-senders.ts";
import { inTerminal, strayProfile } from "./host.ts";
import type { Say } from "./messages.ts";

export interface CommandContext {
  title: string;
  /** The account that is meant when none is named; nothing where an order decides. */
  defaultProfile(): string | undefined;
  config(profile: string | undefined): AuthConfig;
  loginCommand(profile: string | undefined): string;
  say: Say;
  /** Where the token is sent, and where without TLS. */
  origins: { list: readonly string[]; unencrypted: readonly string[] };
  /** The people who may log in from a chat, where there is a command for that. */
  chat?: { senders: AllowedSenders; invite(): Promise<{ message: string }> };
}

export interface AccountFlags {
  account?: string;
}

/** Runs a command for the account that its flags name; a failure is printed in one line, without a stack. */
export async function reported(
  context: CommandContext,
  flags: AccountFlags,
  run: (config: AuthConfig, profile: string | undefined) => Promise<void>,
  failed: (error: AuthError) => void = ({ message }) => process.stderr.write(`${message}\n`),
): Promise<void> {
  const stray = strayProfile();
  if (stray !== undefined) {
    // Acting on the default account instead would log the wrong one out.
    process.exitCode = 1;
    process.stderr.write(
      `Nothing was done: \`--profile\` belongs to the host here, and names no account of ${context.title}. ` +
        `For an account give \`--account ${stray || "<name>"}\`; for a profile of the host, give \`--profile\` before the command.\n`,
    );
    return;
  }
  const profile = flags.account ?? context.defaultProfile();
  try {
    await run(context.config(profile), profile);
  } catch (error) {
    if (!(error instanceof AuthError)) {
      throw error;
    }
    process.exitCode = 1;
    failed(explain(error, context.title, () => inTerminal(context.loginCommand(profile)), context.say, profile));
  }
}

// Not console.log, which the hosts copy into their log files.
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
