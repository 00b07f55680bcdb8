/** A row of __test__/hosts/versions.json: the features of a host version, as far as a test depends on them. */
export interface HostVersion {
  /** "<host>-<version>" */
  id: string;
  /** The package of the host, which is also the name of its command. */
  host: "clawdbot" | "openclaw-cn" | "openclaw";
  version: string;
  node: 22 | 24;
  /** Run by .ci/run, wholly or in brief. */
  ci?: true | "brief";
  /** Run only the tests that differ from host to host. */
  brief?: boolean;
  /** Something about chats changed with it: run by `npm run test:hosts -- --chat`. */
  chat?: boolean | "ci";
  /** The arguments that answer the questions of a plugin's installation, where the host asks any. */
  consent?: string[];
  /** It hides the reason of a failed tool from HTTP callers; the log and the model get it. */
  hidesReasons?: boolean;
  /** It ignores a `--profile NAME` behind a plugin's command, and leaves it in place. */
  leavesProfile?: boolean;
  /** The folder of its installation, if it is not in this checkout. */
  folder?: string;
}

export const hosts: HostVersion[];
export function hostLike(host: string, version: string): HostVersion;
export function installHosts(ids: string[]): Promise<void>;
export function lockHosts(): Promise<void>;
export function installElsewhere(host: string, version: string): Promise<string>;
export function hostElsewhere(host: string, version: string): Promise<HostVersion>;
export function newerThanTable(host: string): Promise<string | undefined>;
