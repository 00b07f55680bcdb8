/** A QR code as a picture, from the half blocks of a terminal: light modules drawn. */
export function qrImage(qrCode: string): string {
  const lines = qrCode.split("\n");
  const width = Math.max(...lines.map((line) => [...line].length));
  const squares = lines.flatMap((line, row) =>
    [...line.padEnd(width)].flatMap((block, column) => {
      const isDark = { " ": [true, true], "▀": [false, true], "▄": [true, false], "█": [false, false] }[block] ?? [];
      // Their number is odd: the last line has but one of its two rows.
      return isDark.flatMap((dark, half) =>
        dark && 2 * row + half < width ? [`M${column} ${2 * row + half}h1v1h-1z`] : [],
      );
    }),
  );
  return `<svg viewBox="0 0 ${width} ${width}" role="img" aria-label="QR code of the page" shape-rendering="crispEdges"><rect width="${width}" height="${width}" fill="#fff"/><path fill="#000" d="${squares.join("")}"/></svg>`;
}
