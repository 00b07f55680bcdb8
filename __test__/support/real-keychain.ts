/**
 * Logins in real programs that serve secrets, and tests that begin again where such a program has crashed by itself.
 */
import { test } from "node:test";
import type { AuthorizationServerOptions } from "./authorization-server.ts";
import { KeychainLogin } from "./keychain-login.ts";
import { KeychainProgram, type ProgramName } from "./keychain-program.ts";
import { type Lifetime, Scope } from "./lifetime.ts";

/** KeePassXC asks nobody. */
export const silent = "ConfirmAccessItem=false\nConfirmDeleteItem=false";

/** Server, home and program; nobody is logged in yet. KeePassXC asks nobody, unless other settings are given. */
export function realKeychainLogin(
  t: Lifetime,
  name: ProgramName,
  options: AuthorizationServerOptions = {},
  settings = silent,
): Promise<KeychainLogin<KeychainProgram>> {
  return KeychainLogin.prepareIn(t, (home) => KeychainProgram.start(t, home, name, settings), options);
}

/**
 * KeePassXC 2.7.4 crashes now and then when it is asked while it saves (one of some 70 logins, refreshes and logouts
 * on a busy machine). Its answers in that run prove nothing: the test begins again.
 */
export function withoutItsOwnCrash(
  title: string,
  body: (t: Lifetime) => Promise<void>,
  skip: string | false = false,
): void {
  test(title, { skip }, async () => {
    for (let lives = 3; lives > 0; lives -= 1) {
      const scope = new Scope();
      const failure = await body(scope).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      await scope.end();
      if (failure === undefined) return;
      if (lives === 1 || !KeychainProgram.crashed.has(scope)) throw failure.error;
    }
  });
}
