/** `<command> accounts [order get | set | clear]`: lists the logged-in accounts and their order. */
import { type AuthConfig, type AuthStatus, listProfiles, profileOrder, status } from "../index.js";
import { type CommandContext, print, reported } from "./command-line.ts";
import type { PluginCommand } from "./host.ts";
import { stateInWords } from "./status-text.ts";

/** The order that holds where no account is named; the config's own goes before the stored one. */
async function orderOf(config: AuthConfig): Promise<string[]> {
  if (config.profile !== undefined) {
    return [];
  }
  return (config.order?.length ? config.order : await profileOrder(config)) ?? [];
}

/** An account's name, whether it was given as such or as the id `<plugin>:<account>`. */
export function plainName(name: string, pluginId: string): string {
  return name.startsWith(`${pluginId}:`) ? name.slice(pluginId.length + 1) : name;
}

/** The account that a login without a name is for. */
export async function firstAccount(config: AuthConfig): Promise<string> {
  return plainName(config.profile ?? (await orderOf(config))[0] ?? "default", config.pluginId);
}

/** The command that logs an account in, without its name where that need not be given. */
export async function loginCommandOf({
  config,
  defaultProfile,
  loginCommand,
}: Pick<CommandContext, "config" | "defaultProfile" | "loginCommand">): Promise<(profile: string) => string> {
  const usual = defaultProfile();
  // A damaged order decides nothing.
  const first = await firstAccount(config(usual)).catch(() => undefined);
  return (profile) => loginCommand(profile === first ? usual : profile);
}

/** The accounts of the order, logged in or not, then all others with a state to report. */
export async function allAccounts(config: AuthConfig): Promise<AuthStatus[]> {
  const known = await listProfiles(config);
  const ordered = await Promise.all(
    (await orderOf(config)).map(async (name) => {
      const profile = plainName(name, config.pluginId);
      const isIt = (account: AuthStatus) => plainName(account.profile, config.pluginId) === profile;
      return known.find(isIt) ?? status({ ...config, profile: name });
    }),
  );
  return [...ordered, ...known.filter((account) => !ordered.includes(account))];
}

export function addAccountCommands(parent: PluginCommand, context: CommandContext): void {
  const { title } = context;
  const accounts = parent
    .command("accounts")
    .description(`List the accounts of ${title}`)
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) =>
      reported(context, {}, async (config) => {
        const all = await allAccounts(config);
        if (flags.json) {
          print(JSON.stringify(all, null, 2));
          return;
        }
        if (all.every(({ state }) => state === "logged_out")) {
          print(`Nobody is logged in to ${title}. Log in with: ${context.loginCommand(context.defaultProfile())}`);
        }
        const order = (await orderOf(config)).map((name) => plainName(name, config.pluginId));
        const width = Math.max(...all.map(({ profile }) => profile.length));
        for (const account of all) {
          const place = order.indexOf(plainName(account.profile, config.pluginId)) + 1;
          const rank = order.length === 0 ? "" : `${place === 0 ? " " : place}  `;
          print(`${rank}${account.profile.padEnd(width)}  ${stateInWords(account)}`);
        }
      }),
    );

  const order = accounts.command("order").description(`Whose login to ${title} is used where none is named`);
  const show = (names: string[] | null) => print(names === null ? "No order is set." : names.join("\n"));
  order
    .command("get")
    .description("show it, the preferred account first")
    .action(() => reported(context, {}, async (config) => show(await profileOrder(config))));
  order
    .command("set <accounts...>")
    .description("set it, the preferred account first: the first that needs no login is used")
    .action((names: string[]) =>
      reported(context, {}, async (config) => {
        show(await profileOrder(config, names));
        if (config.profile !== undefined || config.order?.length) {
          print(`${title} names its accounts itself: this order has no effect.`);
        }
      }),
    );
  order
    .command("clear")
    .description("remove it")
    .action(() => reported(context, {}, async (config) => show(await profileOrder(config, null))));
}
