/** A login as a person sees it: code and URL that stand out, and a line that says what is happening. */
import type { ProgressEvent, Verification } from "../index.js";
import { now } from "../lib/shared.js";

/** The stream that shows it; a part of `tty.WriteStream`. */
export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** Lines around the QR code that must not scroll away with it. */
const linesBesides = 12;

export class Screen {
  readonly #output: Output;
  readonly #isLive: boolean;
  readonly #isColored: boolean;
  #line = "";
  #said: ProgressEvent["type"] | undefined;
  #ticking: NodeJS.Timeout | undefined;

  constructor(output: Output, env: NodeJS.ProcessEnv = process.env) {
    this.#output = output;
    this.#isLive = output.isTTY === true && env.TERM !== "dumb";
    this.#isColored = this.#isLive && !env.NO_COLOR;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Shows where to go and what to enter. */
  verification(verification: Verification, title: string): void {
    if (!this.#isLive) {
      this.say(verification.message);
      return;
    }
    const { userCode, verificationUri, verificationUriComplete, qrCode } = verification;
    this.say(`\n${this.#ink(1, `Log in to ${title}`)}\n`);
    this.say(`  Open   ${this.#ink("1;4", verificationUriComplete ?? verificationUri)}`);
    // A login through the browser alone has none.
    this.say(userCode === "" ? "" : `  Code   ${this.#ink("1;7", ` ${userCode} `)}\n`);
    if (this.#fits(qrCode)) {
      this.say(`${qrCode}\n`);
    }
  }

  /** Says what is happening, from now on: a terminal shows it with the time that is left. */
  progress({ type, expiresAt, detail }: ProgressEvent): void {
    clearInterval(this.#ticking);
    if (type === "approved") {
      return;
    }
    if (type === "waiting" && detail !== undefined) {
      this.say(`  ${detail.charAt(0).toUpperCase()}${detail.slice(1)}.`);
    }
    if (!this.#isLive) {
      if (type !== this.#said && !(type === "waiting" && this.#said === "slow_down")) {
        this.say(happening(type, detail));
      }
      this.#said = type;
      return;
    }
    const show = () => this.#replaceLine(`  ${happening(type, detail)} ${timeLeft(expiresAt)} left, Ctrl-C gives up`);
    show();
    this.#ticking = setInterval(show, 1000);
    this.#ticking.unref();
  }

  say(text: string): void {
    this.#replaceLine("");
    this.#output.write(`${text}\n`);
  }

  done(text: string): void {
    this.say(`${this.#ink(32, "✓")} ${text}`);
  }

  /** Takes the live line away and stops counting. */
  end(): void {
    clearInterval(this.#ticking);
    this.#replaceLine("");
  }

  #replaceLine(line: string): void {
    if (line === this.#line) {
      return;
    }
    // Longer than the terminal is wide, it would wrap, and only its last row could be replaced.
    const shown = line.slice(0, Math.max(0, (this.#output.columns ?? 80) - 1));
    this.#output.write(`\r\u001b[K${line === "" ? "" : this.#ink(2, shown)}`);
    this.#line = line;
  }

  #fits(qrCode: string): boolean {
    const lines = qrCode.split("\n");
    const { columns = 80, rows = 24 } = this.#output;
    return qrCode !== "" && lines.length + linesBesides <= rows && lines.every((line) => [...line].length <= columns);
  }

  #ink(style: number | string, text: string): string {
    return this.#isColored ? `\u001b[${style}m${text}\u001b[0m` : text;
  }
}

function happening(type: ProgressEvent["type"], detail: string | undefined): string {
  switch (type) {
    case "retrying":
      return `The server cannot be reached, trying again${detail === undefined ? "" : ` (${detail})`} …`;
    case "slow_down":
      return "Waiting for your approval, the server wants to be asked less often …";
    default:
      return "Waiting for your approval …";
  }
}

function timeLeft(expiresAt: number): string {
  const seconds = Math.max(0, Math.ceil((expiresAt - now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
