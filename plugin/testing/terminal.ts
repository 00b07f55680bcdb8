import { AsyncLocalStorage } from "node:async_hooks";

/** The output of a command, as it comes. */
export class Terminal {
  text = "";
  #waiting: (() => boolean)[] = [];

  /** The first match of what is printed: now, or when that has happened. Rejects where the command ends without it. */
  shown(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(this.text)?.[0];
        if (found !== undefined) {
          resolve(found);
        } else if (this.isOver) {
          reject(new Error(`The command ended without printing ${pattern}. It printed:\n${this.text}`));
        }
        return found !== undefined || this.isOver;
      };
      if (!look()) {
        this.#waiting.push(look);
      }
    });
  }

  isOver = false;

  print(text: string): void {
    this.text += text;
    this.#look();
  }

  end(): void {
    this.isOver = true;
    this.#look();
  }

  #look(): void {
    this.#waiting = this.#waiting.filter((look) => !look());
  }
}

const current = new AsyncLocalStorage<Terminal>();
/**
 * The commands that run. The last one gets what is printed from a callback of native code, which is of no async
 * context.
 */
const running: Terminal[] = [];
let isCapturing = false;

/** Runs a command with a terminal of its own; the output of a test runner meanwhile is not part of it. */
export async function runOn(terminal: Terminal, run: () => unknown): Promise<void> {
  capture();
  running.push(terminal);
  try {
    await current.run(terminal, async () => run());
  } finally {
    running.splice(running.indexOf(terminal), 1);
    terminal.end();
  }
}

function capture(): void {
  if (isCapturing) {
    return;
  }
  isCapturing = true;
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write;
    stream.write = function (this: typeof stream, ...args: Parameters<typeof write>) {
      const [text] = args;
      const terminal = current.getStore() ?? (isOfNativeCode() ? running.at(-1) : undefined);
      if (terminal === undefined || terminal.isOver || typeof text !== "string") {
        return write.apply(this, args);
      }
      terminal.print(text);
      return true;
    } as typeof write;
  }
}

/** Callbacks of a login come from native code by way of lib/call.js. */
function isOfNativeCode(): boolean {
  return running.length > 0 && /[\\/]lib[\\/]call\.js/.test(new Error().stack ?? "");
}
