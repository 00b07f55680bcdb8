/** A token that a person pastes, or a script pipes in. Never an argument: every user of the machine can read those. */
import type { ReadStream } from "node:tty";

/** One line of a terminal that is not shown, or all of what is piped in. Nothing where the person gives up. */
export async function readToken(prompt: string, input: ReadStream = process.stdin): Promise<string | undefined> {
  if (!input.isTTY) {
    let text = "";
    for await (const chunk of input.setEncoding("utf8")) {
      text += chunk;
    }
    return text.trim();
  }
  // Raw: the terminal shows nothing of what is typed, and Ctrl-C is a character. Before the prompt: some type at once.
  input.setRawMode(true);
  process.stderr.write(prompt);
  input.setEncoding("utf8").resume();
  try {
    return await new Promise<string | undefined>((resolve) => {
      let line = "";
      input.on("data", (typed: string) => {
        // Some terminals wrap what is pasted.
        for (const character of typed.replaceAll("\u001b[200~", "").replaceAll("\u001b[201~", "")) {
          if (character === "\u0003" || (character === "\u0004" && line === "")) {
            resolve(undefined);
          } else if (character === "\r" || character === "\n" || character === "\u0004") {
            resolve(line.trim());
          } else {
            line = character === "\u007f" || character === "\b" ? line.slice(0, -1) : line + character;
          }
        }
      });
    });
  } finally {
    input.removeAllListeners("data");
    input.setRawMode(false);
    input.pause();
    process.stderr.write("\n");
  }
}
