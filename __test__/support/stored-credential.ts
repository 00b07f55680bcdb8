/** A credential's file as a test may look at it, and make it older than it is: no test then has to wait for an end. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";

export interface StoredMembers {
  access: string;
  refresh?: string;
  expires?: number;
  createdAt: number;
  refreshedAt: number;
  lastRefresh?: { failedAt: number; nextAttemptAt: number; code: string; final: boolean };
  [member: string]: unknown;
}

export class StoredCredential {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  read(): StoredMembers {
    return JSON.parse(readFileSync(this.path, "utf8")) as StoredMembers;
  }

  /** The access token has just ended. The server still accepts it; we do not know that. */
  expire(): void {
    this.age({ lifetime: 3600, remaining: -1 });
  }

  /** An access token that was given for `lifetime` seconds and has `remaining` of them left. */
  age({ lifetime, remaining }: { lifetime: number; remaining: number }): void {
    const expires = Date.now() + remaining * 1000;
    this.#write({ ...this.read(), expires, refreshedAt: expires - lifetime * 1000 });
  }

  /** An imported token becomes one of a login at this server. */
  becomeLogin(server: Record<string, string>): void {
    const { imported, ...members } = this.read();
    this.#write({ ...members, ...server } as StoredMembers);
  }

  /** Moves the pause after a failed refresh that many seconds into the past. */
  letPauseEnd(seconds: number): void {
    const { lastRefresh, ...members } = this.read();
    if (lastRefresh === undefined) {
      throw new Error(`No failed refresh is noted in ${this.path}`);
    }
    const { failedAt, nextAttemptAt } = lastRefresh;
    const earlier = { failedAt: failedAt - seconds * 1000, nextAttemptAt: nextAttemptAt - seconds * 1000 };
    this.#write({ ...members, lastRefresh: { ...lastRefresh, ...earlier } } as StoredMembers);
  }

  // Like the addon: at every instant the old file or the new one, whole.
  #write(members: StoredMembers): void {
    const written = `${this.path}.test`;
    writeFileSync(written, JSON.stringify(members), { mode: 0o600 });
    renameSync(written, this.path);
  }
}
