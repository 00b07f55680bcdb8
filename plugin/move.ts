/** `<command> move store | file`: logins change between the files of this machine and the store that several share. */
import { type AuthConfig, type AuthStatus, listProfiles, moveLogin, profileOrder } from "../index.js";
import { type AccountFlags, type CommandContext, print, reported } from "./command-line.ts";
import type { PluginCommand } from "./host.ts";
import { stateInWords } from "./status-text.ts";

/** Moves this account, or all of them, and their order. Resolves to what is then at the new place. */
export async function moveLogins(config: AuthConfig, to: "store" | "file", account?: string): Promise<AuthStatus[]> {
  const { profile: _, order: __, ...shared } = config;
  const { store: ___, ...inFile } = shared;
  const [from, target] = to === "store" ? [inFile, shared] : [shared, inFile];
  // Where there is no store at all the first move says so.
  const order = config.store === undefined ? null : await profileOrder(from);
  const found = account !== undefined || config.store === undefined ? [] : await listProfiles(from);
  const names =
    account !== undefined ? [account] : [...new Set([...found.map(({ profile }) => profile), ...(order ?? [])])];
  const moved: AuthStatus[] = [];
  for (const profile of names.length === 0 ? ["default"] : names) {
    moved.push(await moveLogin({ ...shared, profile }, to));
  }
  if (account === undefined && order !== null) {
    await profileOrder(target, order);
    await profileOrder(from, null);
  }
  return moved;
}

/** The report for a person. */
export function movedText(moved: AuthStatus[]): string {
  const width = Math.max(...moved.map(({ profile }) => profile.length));
  return moved
    .map((account) => `${account.profile.padEnd(width)}  ${stateInWords(account)}  ${account.path}`)
    .join("\n");
}

export function addMoveCommands(parent: PluginCommand, context: CommandContext): void {
  const move = parent.command("move").description("Move logins between this machine's files and the plugin's store");
  for (const [to, description] of [
    ["store", "from the files of this machine into the store"],
    ["file", "from the store into files of this machine, where alone they are then"],
  ] as const) {
    move
      .command(to)
      .description(description)
      .option("--account <name>", "this account alone")
      .action((flags: AccountFlags) =>
        reported(context, flags, async (config) => print(movedText(await moveLogins(config, to, flags.account)))),
      );
  }
}
