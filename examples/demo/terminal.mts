/** The look of the demo: numbered steps, indented facts, one line that counts down. */
const isTerminal = process.stdout.isTTY === true;
const isColored = isTerminal && !process.env.NO_COLOR;

function ink(code: number): (text: string) => string {
  return (text) => (isColored ? `\u001b[${code}m${text}\u001b[0m` : text);
}

export const bold = ink(1);
export const faint = ink(2);
const green = ink(32);
const red = ink(31);

export const indent = "   ";

let steps = 0;
let hasLiveLine = false;

function print(text: string): void {
  if (hasLiveLine) {
    process.stdout.write("\r\u001b[K");
    hasLiveLine = false;
  }
  process.stdout.write(`${text}\n`);
}

export function title(text: string, explanation: string): void {
  print(`\n${bold(text)}\n${explanation}`);
}

/** Opens a step; the lines after it belong to it. */
export function step(text: string): void {
  steps += 1;
  print(`\n${bold(`${steps}. ${text}`)}`);
}

export function say(text: string): void {
  for (const line of text.split("\n")) {
    print(line === "" ? "" : indent + line);
  }
}

/** A member and its value, the values of a step below each other. */
export function fact(name: string, value: string): void {
  say(`${faint(name.padEnd(22))} ${value}`);
}

export function done(text: string): void {
  say(`${green("✓")} ${text}`);
}

export function failed(text: string): void {
  say(`${red("✗")} ${text}`);
}

/** A line that the next one replaces. Only a terminal can do that: elsewhere only the first of a kind is printed. */
export function live(text: string, isFirst: boolean): void {
  if (isTerminal) {
    process.stdout.write(`\r\u001b[K${indent}${faint(text)}`);
    hasLiveLine = true;
  } else if (isFirst) {
    say(text);
  }
}
