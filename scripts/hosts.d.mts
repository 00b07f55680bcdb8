/** A row of __test__/hosts/versions.json: what a host version can, as far as a test goes by it. */
export interface HostVersion {
  /** "<host>-<version>" */
  id: string;
  /** Its package, which is what its command is called. */
  host: "clawdbot" | "openclaw-cn" | "openclaw";
  version: string;
  node: 22 | 24;
  /** Run by .ci/run, wholly or in brief. */
  ci?: true | "brief";
  /** Run in brief this time: what differs from host to host. */
  brief?: boolean;
  /** Something about chats changed with it: run by `npm run test:hosts -- --chat`. */
  chat?: boolean;
  /** What says yes to the questions of a plugin's installation, where it asks any. */
  consent?: string[];
  /** It keeps the reason of a failed tool from HTTP callers; the log and the model get it. */
  hidesReasons?: boolean;
  /** Where it is installed, if that is not this checkout's. */
  folder?: string;
}

export const hosts: HostVersion[];
export function hostLike(host: string, version: string): HostVersion;
export function installHosts(ids: string[]): Promise<void>;
export function lockHosts(): Promise<void>;
export function installElsewhere(host: string, version: string): Promise<string>;
export function newestVersion(host: string): Promise<string>;
