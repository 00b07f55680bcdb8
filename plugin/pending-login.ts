/** Logins that go on in the background, after their code was handed out. */
import { type AuthConfig, type AuthStatus, login, type Verification } from "../index.js";

export class PendingLogin {
  /** The code and where to enter it. Rejects when the server gives none. */
  readonly verification: Promise<Verification>;
  /** How it ended. */
  readonly outcome: Promise<AuthStatus>;
  readonly #stop = new AbortController();

  static start(config: AuthConfig): PendingLogin {
    return new PendingLogin(config);
  }

  private constructor(config: AuthConfig) {
    let show: (verification: Verification) => void = () => {};
    const shown = new Promise<Verification>((resolve) => {
      show = resolve;
    });
    this.outcome = login(config, { signal: this.#stop.signal, onVerification: (verification) => show(verification) });
    this.verification = Promise.race([shown, this.outcome.then(() => shown)]);
    // Whoever started it may be interested in one of them only.
    this.outcome.catch(() => {});
    this.verification.catch(() => {});
  }

  abort(): void {
    this.#stop.abort();
  }
}
