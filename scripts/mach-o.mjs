// Reads the requirements of a macOS binary from its load commands (64-bit, little endian).
import { readFileSync } from "node:fs";

const machines = { 16777223: "x64", 16777228: "arm64" };
const command = { segment: 0x19, symbols: 0x2, library: 0xc, name: 0xd, signature: 0x1d, version: 0x32 };
const codeDirectory = 0xfade0c02;
const adHoc = 0x2;

/**
 * @param {string} path
 * @returns {{ cpu: string, minos: string, name: string, libraries: string[], wanted: Map<string, string>, exported: string[],
 *   signature: "none" | "ad hoc" | "other", whole: boolean }} `wanted`: symbols and the library that each is looked for in, ""
 *   where that is any; `whole` says that the file ends where its last segment does.
 */
export function readMachO(path) {
  const file = readFileSync(path);
  if (file.readUInt32LE(0) !== 0xfeedfacf) throw new Error(`${path} is not a 64-bit little-endian Mach-O file.`);
  const text = (at) => file.toString("latin1", at, file.indexOf(0, at));
  const found = {
    cpu: machines[file.readUInt32LE(4)],
    minos: "",
    name: "",
    libraries: [],
    wanted: new Map(),
    exported: [],
    signature: "none",
    whole: false,
  };
  let symbols;
  let end = 0;
  let at = 32;
  for (let left = file.readUInt32LE(16); left > 0; left -= 1) {
    const kind = file.readUInt32LE(at) & 0x7fffffff;
    const field = (offset) => file.readUInt32LE(at + offset);
    if (kind === command.segment)
      end = Math.max(end, Number(file.readBigUInt64LE(at + 40) + file.readBigUInt64LE(at + 48)));
    if (kind === command.library) found.libraries.push(text(at + field(8)));
    if (kind === command.name) found.name = text(at + field(8));
    if (kind === command.version) found.minos = `${field(12) >> 16}.${(field(12) >> 8) & 0xff}`;
    if (kind === command.symbols) symbols = { first: field(8), count: field(12), strings: field(16) };
    if (kind === command.signature) {
      found.signature = signatureAt(file, field(8));
    }
    at += field(4);
  }
  found.whole = file.length === end;
  for (let index = 0; index < symbols.count; index += 1) {
    const entry = symbols.first + index * 16;
    const [type, description] = [file.readUInt8(entry + 4), file.readUInt16LE(entry + 6)];
    const isExternal = (type & 0x01) !== 0 && (type & 0xe0) === 0;
    if (!isExternal) continue;
    const name = text(symbols.strings + file.readUInt32LE(entry));
    if ((type & 0x0e) === 0) found.wanted.set(name, found.libraries[(description >> 8) - 1] ?? "");
    else found.exported.push(name);
  }
  return found;
}

/** Apple silicon loads no code without one; one of the machine that built it is as good as any there. */
function signatureAt(file, start) {
  for (let index = 0; index < file.readUInt32BE(start + 8); index += 1) {
    const blob = start + file.readUInt32BE(start + 16 + index * 8);
    if (file.readUInt32BE(blob) === codeDirectory)
      return (file.readUInt32BE(blob + 12) & adHoc) === 0 ? "other" : "ad hoc";
  }
  return "none";
}
