/** A home folder for one test, and an environment without the developer's own settings. */
import { mkdirSync, mkdtempSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Lifetime } from "./lifetime.ts";

export class TempHome {
  /** The folder, without symbolic links in its path. */
  readonly path: string;

  static create(lifetime: Lifetime): TempHome {
    const home = new TempHome(realpathSync(mkdtempSync(join(tmpdir(), "plugin-auth-"))));
    lifetime.after(() => home.remove());
    return home;
  }

  private constructor(path: string) {
    this.path = path;
    mkdirSync(join(path, "tmp"));
  }

  /** Where openclaw keeps its state in this home. Does not exist yet. */
  get stateDir(): string {
    return join(this.path, ".openclaw");
  }

  /** The file that the store keeps a credential in; `pluginId` and `profile` of plain characters. */
  credentialPath(pluginId: string, profile = "default"): string {
    return join(this.stateDir, "credentials", pluginId, `${profile}.json`);
  }

  /**
   * Environment for a child process: this home, its own folder for temporary files, and of the developer's variables
   * only those that find programs. No state-dir variable, proxy or certificate gets in unless it is given.
   */
  env(more: Record<string, string> = {}): Record<string, string> {
    const inherited = ["PATH", "SystemRoot", "LANG"].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    const tmp = join(this.path, "tmp");
    const own = { HOME: this.path, USERPROFILE: this.path, TMPDIR: tmp, TEMP: tmp, TMP: tmp };
    return { ...Object.fromEntries(inherited), ...own, ...more };
  }

  async remove(): Promise<void> {
    // A process that is just being killed may still be writing.
    await rm(this.path, { recursive: true, force: true, maxRetries: 5 });
  }
}
