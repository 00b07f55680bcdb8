/** A QR code as a picture, from the half blocks of a terminal: light modules drawn. */
export function qrImage(qrCode: string): string {
  const lines = qrCode.split("\n");
  const width = Math.max(...lines.map((line) => [...line].length));
  const squares = lines.flatMap((line, row) =>
    [...line.padEnd(width)].flatMap((block, column) => {
      const isDark = { " ": [true, true], "▀": [false, true], "▄": [true, false], "█": [false, false] }[block] ?? [];
      return isDark.flatMap((dark, half) => (dark ? [`M${column} ${2 * row + half}h1v1h-1z`] : []));
    }),
  );
  const height = 2 * lines.length;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="QR code of the page" shape-rendering="crispEdges"><rect width="${width}" height="${height}" fill="#fff"/><path fill="#000" d="${squares.join("")}"/></svg>`;
}
