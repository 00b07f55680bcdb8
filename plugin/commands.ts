/** `<command> login | logout | status | accounts`, for `api.registerCli`. */
import { createInterface } from "node:readline/promises";
import { type AuthConfig, AuthError, listProfiles, login, logout, type PasteRequest, status } from "../index.js";
import { explain } from "./account.ts";
import { browserCommand, openPage } from "./browser.ts";
import type { PluginCommand } from "./host.ts";
import { Interruption } from "./interruption.ts";
import { type Output, Screen } from "./screen.ts";
import { exitCode, stateInWords, statusText } from "./status-text.ts";

export interface CommandContext {
  title: string;
  /** The account that is meant when none is named. */
  defaultProfile(): string;
  config(profile: string): AuthConfig;
  loginCommand(profile: string): string;
}

interface AccountFlags {
  account?: string;
  profile?: string;
}

/** Adds the subcommands to the plugin's own command. */
export function addCommands(parent: PluginCommand, context: CommandContext): void {
  const { title } = context;
  const subcommand = (name: string, description: string) =>
    parent
      .command(name)
      .description(description)
      .option("--account <name>", "the account, where you have several")
      .option("--profile <name>", "the same; newer hosts take this option for their own, wherever it stands");

  subcommand("login", `Log in to ${title}`)
    .option("--open", "open the page in the browser, also without a terminal")
    .option("--no-open", "do not open the page in the browser")
    .action((flags: AccountFlags & { open?: boolean }) => runLogin(context, flags));

  subcommand("logout", `Log out of ${title}`).action((flags: AccountFlags) =>
    reported(context, flags, async (config) => {
      const { removed, revoked } = await logout(config);
      const told = revoked ? "the server has revoked the tokens" : "the server was not told";
      print(removed ? `Logged out of ${title}; ${told}.` : `Nobody was logged in to ${title}.`);
    }),
  );

  subcommand("status", `Show the login to ${title}`)
    .option("--json", "print JSON")
    .option("--check", "exit with 0: usable; 1: a login is needed; 2: ends within 24 hours and cannot be renewed")
    .action((flags: AccountFlags & { json?: boolean; check?: boolean }) =>
      reported(context, flags, async (config, profile) => {
        const found = await status(config);
        print(flags.json ? JSON.stringify(found, null, 2) : statusText(found, title));
        if (!flags.json && exitCode(found) !== 0) {
          print(`  Log in with: ${context.loginCommand(profile)}`);
        }
        if (flags.check) {
          process.exitCode = exitCode(found);
        }
      }),
    );

  parent
    .command("accounts")
    .description(`List the accounts of ${title}`)
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) =>
      reported(context, {}, async (config) => {
        const accounts = await listProfiles(config);
        if (flags.json) {
          print(JSON.stringify(accounts, null, 2));
        } else if (accounts.length === 0) {
          print(`Nobody is logged in to ${title}. Log in with: ${context.loginCommand(context.defaultProfile())}`);
        }
        const width = Math.max(...accounts.map(({ profile }) => profile.length));
        for (const account of flags.json ? [] : accounts) {
          print(`${account.profile.padEnd(width)}  ${stateInWords(account)}`);
        }
      }),
    );
}

async function runLogin(context: CommandContext, flags: AccountFlags & { open?: boolean }): Promise<void> {
  const { title } = context;
  const screen = new Screen(process.stdout as Output);
  const interruption = new Interruption(() => {
    screen.end();
    process.stderr.write("Given up. Nothing was changed.\n");
  });
  const browser = flags.open === false || !(screen.isLive || flags.open) ? undefined : browserCommand();
  try {
    await reported(
      context,
      flags,
      async (config) => {
        let hasCode = false;
        const { profile, scopes, missingScopes } = await login(config, {
          signal: interruption.signal,
          // Who opens the page by hand may do so anywhere.
          ...(flags.open === false && { remote: true }),
          ...(process.stdin.isTTY && {
            onPaste: (request: PasteRequest) => pasted(request, screen, () => interruption.raise("SIGINT")),
          }),
          onVerification(verification) {
            hasCode = verification.userCode !== "";
            screen.verification(verification, title);
            if (flags.open && browser === undefined) {
              screen.say("No browser is opened: this is not a desktop session.");
            }
          },
          ...(browser !== undefined && {
            async openUrl(url: string) {
              try {
                await openPage(browser, url);
                screen.say(`  The page is open in your browser.${hasCode ? " Check that it shows this code." : ""}`);
              } catch {
                screen.say("  The browser could not be started: open the page yourself.");
              }
            },
          }),
          onProgress(event) {
            if (event.type === "approved") {
              interruption.approved();
            }
            screen.progress(event);
          },
        });
        const granted = scopes?.length ? `, for ${scopes.join(" ")}` : "";
        screen.done(`Logged in to ${title}${profile === "default" ? "" : ` as ${profile}`}${granted}.`);
        if (missingScopes?.length) {
          screen.say(`  The server did not grant ${missingScopes.join(" ")}.`);
        }
      },
      ({ code, message }) => {
        if (code === "ABORTED") {
          interruption.givenUp();
          return;
        }
        screen.end();
        process.stderr.write(`${message}\n`);
      },
    );
  } finally {
    screen.end();
    interruption.end();
  }
}

/** Asks on the terminal for what the browser shows, until it has come back by itself. */
async function pasted({ message, signal }: PasteRequest, screen: Screen, giveUp: () => void): Promise<string> {
  // A line that counts down would write over what is typed.
  screen.end();
  screen.say(`\n${message}`);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C, which the terminal hands to whoever reads lines, and Ctrl-D.
  terminal.once("SIGINT", giveUp).once("close", giveUp);
  try {
    return await terminal.question("> ", { signal });
  } finally {
    terminal.off("close", giveUp).close();
  }
}

/** Runs a command for the account that its flags name; what fails is said in one line, without a stack. */
async function reported(
  context: CommandContext,
  flags: AccountFlags,
  run: (config: AuthConfig, profile: string) => Promise<void>,
  failed: (error: AuthError) => void = ({ message }) => process.stderr.write(`${message}\n`),
): Promise<void> {
  const profile = flags.account ?? flags.profile ?? context.defaultProfile();
  try {
    await run(context.config(profile), profile);
  } catch (error) {
    if (!(error instanceof AuthError)) {
      throw error;
    }
    process.exitCode = 1;
    failed(explain(error, context.title, () => context.loginCommand(profile)));
  }
}

// Not console.log, which the hosts copy into their log files.
function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
