/** A row of __test__/hosts/versions.json: the features of a host version, as far as a test depends on them. */
export interface HostVersion {
  /** "<host>-<version>" */
  id: string;
  /** The package of the host, which is also the name of its command. */
  host: "clawdbot" | "openclaw-cn" | "openclaw";
  version: string;
  node: 22 | 24 | 26;
  /** Run by .ci/run, wholly or in brief. */
  ci?: true | "brief";
  /** Run only the tests that differ from host to host. */
  brief?: boolean;
  /** Something about chats changed with it: the whole of a login from a chat, in `.ci/run` as well. */
  chat?: true;
  /** The arguments that answer the questions of a plugin's installation, where the host asks any. */
  consent?: string[];
  /** It waits for a plugin's service that stops, at SIGTERM. */
  awaitsStop?: boolean;
  /** Its `gateway install` writes a unit of systemd without a user's D-Bus. */
  unit?: boolean;
  /** Its own `/login` in a chat lists a plugin's provider. */
  ownLogin?: boolean;
  /** Where several agents are configured, it takes none of them as the one that is meant. */
  namesAgents?: boolean;
  /** Not where it does not know the commands of plugins as Telegram's menu spells them. */
  menu?: false;
  /** Not where a tool does not learn which chat it is called from. */
  tellsTools?: false;
  /** The folder of its installation, if it is not in this checkout. */
  folder?: string;
}

export const hosts: HostVersion[];
export function compare(one: string, other: string): number;
export function named(name: string): HostVersion[];
export function installHosts(ids: string[]): Promise<void>;
export function lockHosts(): Promise<void>;
export function installElsewhere(row: HostVersion): Promise<HostVersion>;
export function removeElsewhere(row: HostVersion): void;
export function newerThanTable(host: string): Promise<string | undefined>;
