/**
 * `npm run docs -- --pictures`: makes the pictures of a login for the first screen from a real run: the plugin kit's
 * own command, on a terminal, against oidc-provider. Only the address of the server is replaced.
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import headless from "@xterm/headless";
import { AuthorizationServer } from "../../__test__/support/authorization-server.ts";
import { Scope } from "../../__test__/support/lifetime.ts";
import { Person } from "../../__test__/support/person.ts";
import { TempHome } from "../../__test__/support/temp-home.ts";
import { chatPicture } from "./chat-picture.mts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fixtures = join(root, "__test__", "fixtures");
const shown = "https://auth.example.com";

/** Of a letter, in pixels. */
const width = 8;
const height = 18;
const colors: Record<number, string> = { 1: "#ff7b72", 2: "#7ee787", 3: "#e3b341", 4: "#79c0ff", 6: "#76e3ea" };

const scope = new Scope();
try {
  const server = await AuthorizationServer.start(scope);
  const home = TempHome.create(scope);
  const options = { stateDir: home.stateDir, issuer: server.issuer, scopes: ["memory", "offline_access"] };
  const log: string[] = [];
  for (const command of ["login", "status"]) {
    log.push(`\x1b[32m$\x1b[0m openclaw my-memory ${command}\r\n`);
    log.push(await onTerminal(command, options, home.env()));
  }
  const text = log
    .join("")
    .replaceAll(server.issuer, shown)
    .replaceAll(home.path, "~")
    .replace(/(\r?\n)+$/, "");
  writeFileSync(join(root, "docs", "guide", "login.svg"), svg(await screen(text)));
  writeFileSync(join(root, "docs", "guide", "chat.svg"), await chatPicture());
} finally {
  await scope.end();
}

/** Returns all that the command writes to a terminal. A script plays the person in the browser. */
async function onTerminal(command: string, options: object, env: NodeJS.ProcessEnv): Promise<string> {
  const words = [process.execPath, join(fixtures, "plugin-command.mjs"), JSON.stringify(options), command, "--no-open"];
  const child = spawn(process.execPath, [join(fixtures, "terminal.mjs"), ...words], { env });
  let written = "";
  let approval: Promise<void> | undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written += text;
    const [, url] = /(http:\S+?user_code=[A-Z0-9]{4}-[A-Z0-9]{4})/.exec(written) ?? [];
    if (url !== undefined) {
      approval ??= new Person().approve(url);
    }
  });
  await new Promise((resolve) => child.on("close", resolve));
  await approval;
  return written;
}

interface Cell {
  text: string;
  isBold: boolean;
  isFaint: boolean;
  isInverse: boolean;
  color: number | undefined;
}

/** The lines of the terminal when all is written, as a person sees them. */
async function screen(text: string): Promise<Cell[][]> {
  const terminal = new headless.Terminal({ cols: 120, rows: 200, allowProposedApi: true });
  await new Promise<void>((resolve) => terminal.write(text, resolve));
  const { active } = terminal.buffer;
  return Array.from({ length: active.cursorY + 1 }, (_, y) => {
    const line = active.getLine(y);
    return Array.from({ length: terminal.cols }, (_, x) => {
      const cell = line?.getCell(x);
      return {
        text: cell?.getChars() || " ",
        isBold: cell?.isBold() !== 0,
        isFaint: cell?.isDim() !== 0,
        isInverse: cell?.isInverse() !== 0,
        color: cell?.isFgPalette() ? cell.getFgColor() : undefined,
      };
    });
  });
}

function svg(lines: Cell[][]): string {
  const columns = Math.max(
    ...lines.map(
      (line) =>
        line
          .map(({ text }) => text)
          .join("")
          .trimEnd().length,
    ),
  );
  const [w, h] = [(columns + 4) * width, (lines.length + 2) * height];
  const drawn = lines.flatMap((line, y) => [...blocks(line, y), ...runs(line, y)]);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}" role="img" aria-label="A login on a terminal">
<rect width="${w}" height="${h}" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="13" fill="#e6edf3" xml:space="preserve">
${drawn.join("\n")}
</g>
</svg>
`;
}

/** The halves that a QR code is made of: as text they leave gaps. */
function blocks(line: Cell[], y: number): string[] {
  const halves: Record<string, [top: boolean, bottom: boolean]> = {
    "█": [true, true],
    "▀": [true, false],
    "▄": [false, true],
  };
  return [0, 1].flatMap((half) => {
    const filled = line.map(({ text }) => halves[text]?.[half] === true);
    return filled.flatMap((isFilled, x) => {
      if (!isFilled || filled[x - 1]) return [];
      const end = filled.indexOf(false, x);
      const length = (end === -1 ? filled.length : end) - x;
      const top = (y + 1) * height + (half * height) / 2;
      return [`<rect x="${(x + 2) * width}" y="${top}" width="${length * width}" height="${height / 2}"/>`];
    });
  });
}

function runs(line: Cell[], y: number): string[] {
  const same = (a: Cell, b: Cell) =>
    a.isBold === b.isBold && a.isFaint === b.isFaint && a.isInverse === b.isInverse && a.color === b.color;
  const found: { x: number; cells: Cell[] }[] = [];
  line.forEach((cell, x) => {
    const last = found.at(-1);
    const text = "█▀▄".includes(cell.text) ? " " : cell.text;
    if (last?.cells[0] !== undefined && same(last.cells[0], cell)) last.cells.push({ ...cell, text });
    else found.push({ x, cells: [{ ...cell, text }] });
  });
  return found.flatMap(({ x, cells: [first, ...rest] }) => {
    const all = [first, ...rest].map((cell) => cell?.text).join("");
    if (first === undefined || all.trim() === "") return [];
    const text = first.isInverse ? all : all.trimEnd();
    const style = [
      first.isBold ? ' font-weight="bold"' : "",
      first.isFaint ? ' fill-opacity="0.6"' : "",
      first.isInverse ? ' fill="#0d1117"' : "",
      first.color === undefined ? "" : ` fill="${colors[first.color] ?? "#e6edf3"}"`,
    ].join("");
    const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(" ", "&#160;");
    const behind = `<rect x="${(x + 2) * width}" y="${(y + 1) * height}" width="${text.length * width}" height="${height}"/>`;
    return [
      ...(first.isInverse ? [behind] : []),
      `<text x="${(x + 2) * width}" y="${(y + 1) * height + 13}" textLength="${text.length * width}"${style}>${escaped}</text>`,
    ];
  });
}
