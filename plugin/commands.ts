/** `<command> login | logout | status | doctor | accounts | move`, for `api.registerCli`. */
import { createInterface } from "node:readline/promises";
import {
  type AuthConfig,
  doctor,
  importToken,
  listProfiles,
  login,
  logout,
  type PasteRequest,
  status,
} from "../index.js";
import { addAccountCommands, allAccounts, loginCommandOf } from "./accounts.ts";
import { browserCommand, openPage } from "./browser.ts";
import { type AccountFlags, type CommandContext, print, reported } from "./command-line.ts";
import type { PluginCommand } from "./host.ts";
import { Interruption } from "./interruption.ts";
import { addMoveCommands } from "./move.ts";
import { pasteable } from "./pasteable-report.ts";
import { readToken } from "./read-token.ts";
import { type Output, Screen } from "./screen.ts";
import {
  asWhom,
  exitCode,
  logoutText,
  reportText,
  stateInWords,
  statusText,
  withCommands,
  worst,
} from "./status-text.ts";

/** The silence, in milliseconds, after which a browser that does not come back is mentioned. */
const silence = 30_000;

/** Adds the subcommands to the plugin's own command. */
export function addCommands(parent: PluginCommand, context: CommandContext): void {
  const { title, say } = context;
  const subcommand = (name: string, description: string) =>
    parent.command(name).description(description).option("--account <name>", "the account, where you have several");

  subcommand("login", `Log in to ${title}`)
    .option("--open", "open the page in the browser, also without a terminal")
    .option("--no-open", "do not open the page in the browser")
    .option("--token", "store a token that you paste or pipe in, instead of logging in")
    .action((flags: AccountFlags & { open?: boolean; token?: boolean }) =>
      flags.token ? runImport(context, flags) : runLogin(context, flags),
    );

  subcommand("logout", `Log out of ${title}`)
    .option(
      "--without-keychain",
      "where the system's keychain cannot be opened: close the login, and name what stays there",
    )
    .action((flags: AccountFlags & { withoutKeychain?: boolean }) =>
      reported(context, flags, async (config) => {
        const result = await logout(flags.withoutKeychain ? { ...config, storage: "file" } : config);
        print(logoutText(result, title, say));
        // The name may be a slip. It is no failure: a script may log out twice.
        const others = result.removed ? [] : await listProfiles(config);
        const named = others.filter(({ state }) => state !== "logged_out").map(({ profile }) => profile);
        if (named.length > 0) {
          print(`  Accounts with a login: ${named.join(", ")}. For one of them give --account <name>.`);
        }
      }),
    );

  subcommand("status", `Show the login to ${title}`)
    .option("--all", "every account")
    .option("--json", "print JSON")
    .option("--check", "exit with 0: usable; 1: a login is needed; 2: the login itself ends within 24 hours")
    .action((flags: AccountFlags & { all?: boolean; json?: boolean; check?: boolean }) =>
      reported(context, flags, async (config, profile) => {
        const all = flags.all ? await allAccounts(config) : [];
        const found = all.length > 0 ? all : [await status(config)];
        if (flags.json) {
          print(JSON.stringify(flags.all ? found : found[0], null, 2));
        }
        for (const account of flags.json ? [] : found) {
          print(statusText(account, title, context.origins.list, context.origins.unencrypted));
          if (exitCode(account) !== 0) {
            print(`  Log in with: ${context.loginCommand(all.length > 0 ? account.profile : profile)}`);
          }
        }
        if (flags.check) {
          process.exitCode = worst(found);
          for (const account of found.filter((account) => exitCode(account) !== 0)) {
            // Distinguishes exit code 1 from that of a host that does not know the command.
            const who = account.profile === "default" ? title : `${title} (account ${account.profile})`;
            process.stderr.write(`${who}: ${stateInWords(account)}\n`);
          }
        }
      }),
    );

  subcommand("doctor", `Find out what keeps the login to ${title} from working`)
    .option("--fix", "tighten permissions, and clear up after killed processes; changes nothing else")
    .option("--json", "print JSON for a bug report: no names of people or servers")
    .option("--with-servers", "with --json: keep the names of servers")
    .action((flags: AccountFlags & { fix?: boolean; json?: boolean; withServers?: boolean }) =>
      reported(context, flags, async (config) => {
        const report = await doctor(config, { fix: flags.fix === true });
        const json = () => JSON.stringify(pasteable(report, config, flags.withServers === true), null, 2);
        print(flags.json ? json() : reportText(withCommands(report, await loginCommandOf(context))));
        process.exitCode = report.ok ? 0 : 1;
      }),
    );

  addAccountCommands(parent, context);
  addMoveCommands(parent, context);
  addChatCommands(parent, context);
}

function addChatCommands(parent: PluginCommand, { chat, title, ...context }: CommandContext): void {
  if (chat === undefined) {
    return;
  }
  const commands = parent.command("chat").description(`Who may log in to ${title} from a chat`);
  const { senders } = chat;
  const subcommand = (name: string, description: string, run: () => Promise<string>) =>
    commands
      .command(name)
      .description(description)
      .action(() => reported({ ...context, title }, {}, async () => print(await run())));
  subcommand("allow", "print a word; the person who sends it can log in from that chat", async () => {
    return (await chat.invite()).message;
  });
  subcommand("list", "those who have sent such a word", async () => {
    const known = await senders.list();
    return known.map(({ channel, senderId }) => `${channel}  ${senderId}`).join("\n") || "Nobody has sent a word.";
  });
  subcommand("clear", "forget them", async () => {
    await senders.clear();
    return "Nobody may log in any more for having sent a word.";
  });
}

async function runImport(context: CommandContext, flags: AccountFlags): Promise<void> {
  const { title } = context;
  await reported(context, flags, async (config) => {
    const access = await readToken(`The token of ${title} (it is not shown): `);
    if (access === undefined) {
      process.stderr.write("Given up. Nothing was changed.\n");
      process.exitCode = 130;
      return;
    }
    print(statusText(await importToken(config, { access }), title));
  });
}

async function runLogin(context: CommandContext, flags: AccountFlags & { open?: boolean }): Promise<void> {
  const { title } = context;
  const screen = new Screen(process.stdout as Output);
  const interruption = new Interruption(() => {
    screen.end();
    process.stderr.write("Given up. Nothing was changed.\n");
  });
  const browser = flags.open === false || !(screen.isLive || flags.open) ? undefined : browserCommand();
  let silent: NodeJS.Timeout | undefined;
  let isOver = false;
  try {
    await reported(
      context,
      flags,
      async (config) => {
        let hasCode = false;
        const { profile, account, scopes, missingScopes, refreshable, expiresAt } = await login(config, {
          signal: interruption.signal,
          // A person who opens the page by hand may do so on any machine.
          ...(flags.open === false && { remote: true }),
          ...(process.stdin.isTTY && {
            onPaste: (request: PasteRequest) => pasted(request, screen, () => interruption.raise("SIGINT")),
          }),
          onVerification(verification) {
            hasCode = verification.userCode !== "";
            screen.verification(verification, title);
            if (!hasCode) {
              // A page from which the server does not send the browser back cannot be noticed here.
              silent = setTimeout(() => {
                screen.say(
                  "  Nothing has come back from the browser yet. If it shows an error, that page alone says why: often the redirect URI is not registered.",
                );
              }, silence).unref();
            }
            if (flags.open && browser === undefined) {
              screen.say("No browser is opened: this is not a desktop session.");
            }
          },
          ...(browser !== undefined && {
            async openUrl(url: string) {
              const said = await openPage(browser, url).then(
                () => `  The page is open in your browser.${hasCode ? " Check that it shows this code." : ""}`,
                () => "  The browser could not be started: open the page yourself.",
              );
              if (!isOver) {
                screen.say(said);
              }
            },
          }),
          onProgress(event) {
            if (event.type === "approved") {
              interruption.approved();
              clearTimeout(silent);
            }
            screen.progress(event);
          },
        });
        const granted = scopes?.length ? `, for ${scopes.join(" ")}` : "";
        const text = `Logged in to ${title}${asWhom({ account, profile })}${granted}.`;
        screen.done(context.say("loggedIn", { text, account: profile }));
        if (missingScopes?.length) {
          screen.say(`  The server did not grant ${missingScopes.join(" ")}.`);
        }
        if (!refreshable) {
          screen.say(unrenewable(config, expiresAt));
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
    isOver = true;
    clearTimeout(silent);
    screen.end();
    interruption.end();
  }
}

/** Most servers give a refresh token only where this scope is asked for (OpenID Connect Core section 11). */
function unrenewable({ scopes = [] }: AuthConfig, expiresAt: number | undefined): string {
  const end = expiresAt === undefined ? "" : `, so this login ends ${new Date(expiresAt).toLocaleString()}`;
  const advice = scopes.includes("offline_access") ? "" : " Most servers give one for the scope offline_access.";
  return `  The server gave no refresh token${end}.${advice}`;
}

/** Asks on the terminal for what the browser shows, until it has come back by itself. */
async function pasted({ message, signal }: PasteRequest, screen: Screen, giveUp: () => void): Promise<string> {
  // A line that counts down would write over what is typed.
  screen.end();
  screen.say(`\n${message}`);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C, which the terminal hands to the reader of lines, and Ctrl-D.
  terminal.once("SIGINT", giveUp).once("close", giveUp);
  try {
    return await terminal.question("> ", { signal });
  } finally {
    terminal.off("close", giveUp).close();
  }
}
