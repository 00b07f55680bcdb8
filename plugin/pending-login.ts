/** Logins that go on in the background, after their code or page was handed out. */
import { type AuthConfig, type AuthStatus, login, type Verification } from "../index.js";

interface Question {
  message: string;
  answer(text: string): void;
}

export class PendingLogin {
  /** The code and where to enter it. Rejects when the server gives none. */
  readonly verification: Promise<Verification>;
  /** How it ended. */
  readonly outcome: Promise<AuthStatus>;
  readonly #stop = new AbortController();
  #ask: (question: Question) => void = () => {};
  #question = this.#nextQuestion();

  static start(config: AuthConfig): PendingLogin {
    return new PendingLogin(config);
  }

  private constructor(config: AuthConfig) {
    let show: (verification: Verification) => void = () => {};
    const shown = new Promise<Verification>((resolve) => {
      show = resolve;
    });
    this.outcome = login(config, {
      signal: this.#stop.signal,
      // Whoever calls a gateway method may be anywhere.
      remote: true,
      onPaste: ({ message }) => new Promise((answer) => this.#ask({ message, answer })),
      onVerification: (verification) => show(verification),
    });
    this.verification = Promise.race([shown, this.outcome.then(() => shown)]);
    // Whoever started it may be interested in one of them only.
    this.outcome.catch(() => {});
    this.verification.catch(() => {});
  }

  /** Hands over what the browser shows: how the login ends, or the question again, which says what was wrong. */
  async paste(text: string): Promise<AuthStatus | string> {
    const asked = await Promise.race([this.#question, this.outcome]);
    if (!("answer" in asked)) {
      return asked;
    }
    this.#question = this.#nextQuestion();
    asked.answer(text);
    return Promise.race([this.outcome, this.#question.then(({ message }) => message)]);
  }

  #nextQuestion(): Promise<Question> {
    return new Promise((resolve) => {
      this.#ask = resolve;
    });
  }

  abort(): void {
    this.#stop.abort();
  }
}
