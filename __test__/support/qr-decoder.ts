/** Reads a QR code that was drawn in a terminal with half blocks, as a camera would: as pixels. */
import jsQR from "jsqr";

/** Pixels to a module: a decoder wants more than one. */
const scale = 4;
/** The margin of a terminal that shows nothing, in modules. */
const margin = 4;

/** The text of the QR code; throws where a decoder finds none. ANSI escapes are ignored. */
export function decodedQrCode(drawing: string): string {
  // Ink is light on a dark terminal, and not every camera reads a code with swapped colours.
  const rows = modules(drawing);
  const height = (rows.length + 2 * margin) * scale;
  const width = (Math.max(...rows.map((row) => row.length)) + 2 * margin) * scale;
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const ink = rows[Math.floor(y / scale) - margin]?.[Math.floor(x / scale) - margin] === true;
      pixels.set(ink ? [255, 255, 255, 255] : [0, 0, 0, 255], (y * width + x) * 4);
    }
  }
  const code = jsQR.default(pixels, width, height, { inversionAttempts: "dontInvert" });
  if (code === null) {
    throw new Error(`No QR code can be read in:\n${drawing}`);
  }
  return code.data;
}

/** Two rows of modules to each line of text. */
function modules(drawing: string): boolean[][] {
  const blocks: Record<string, [upper: boolean, lower: boolean]> = {
    "█": [true, true],
    "▀": [true, false],
    "▄": [false, true],
    " ": [false, false],
    "\u00a0": [false, false],
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape is what an ANSI sequence begins with
  const lines = drawing.replace(/\u001b\[[0-9;]*m/g, "").split(/\r?\n/);
  return lines.flatMap((line) => {
    const cells = [...line].map((character) => {
      const cell = blocks[character];
      if (cell === undefined) {
        throw new Error(`Not a half block: ${JSON.stringify(character)} in:\n${drawing}`);
      }
      return cell;
    });
    return [cells.map(([upper]) => upper), cells.map(([, lower]) => lower)];
  });
}
