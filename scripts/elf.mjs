// Reads the requirements of a Linux binary from its dynamic section (64-bit, little endian).
import { readFileSync } from "node:fs";

const machines = { 62: "x64", 183: "arm64" };
const tag = { needed: 1n, strtab: 5n, flags1: 0x6ffffffbn, verneed: 0x6ffffffen, verneedCount: 0x6fffffffn };
const noDelete = 0x8n;
const [load, dynamic] = [1, 2];

/**
 * @param {string} path
 * @returns {{ cpu: string, libraries: string[], versions: string[], staysLoaded: boolean, pages: number,
 *   whole: boolean }} `versions`
 *   are those of symbols, such as GLIBC_2.17; `pages` is the size of pages that it fits, `whole` says that the section headers end the file.
 */
export function readElf(path) {
  const file = readFileSync(path);
  if (file.readUInt32BE(0) !== 0x7f454c46 || file.readUInt16BE(4) !== 0x0201) {
    throw new Error(`${path} is not a 64-bit little-endian ELF file.`);
  }
  const segments = Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = Number(file.readBigUInt64LE(32)) + index * file.readUInt16LE(54);
    const [offset, address, , size] = [8, 16, 24, 32].map((field) => Number(file.readBigUInt64LE(at + field)));
    return { type: file.readUInt32LE(at), offset, address, size, align: Number(file.readBigUInt64LE(at + 48)) };
  });
  const offsetOf = (address) => {
    const segment = segments.find(
      (one) => one.type === load && address >= one.address && address < one.address + one.size,
    );
    return address - segment.address + segment.offset;
  };

  const entries = [];
  const table = segments.find(({ type }) => type === dynamic);
  for (let at = table.offset; at < table.offset + table.size; at += 16) {
    entries.push({ tag: file.readBigInt64LE(at), value: file.readBigUInt64LE(at + 8) });
  }
  const value = (wanted) => Number(entries.find((entry) => entry.tag === wanted)?.value ?? 0n);
  const strings = offsetOf(value(tag.strtab));
  const text = (index) => file.toString("latin1", strings + index, file.indexOf(0, strings + index));

  const versions = [];
  let need = value(tag.verneed) === 0 ? 0 : offsetOf(value(tag.verneed));
  for (let left = value(tag.verneedCount); left > 0; left -= 1) {
    let version = need + file.readUInt32LE(need + 8);
    for (let more = file.readUInt16LE(need + 2); more > 0; more -= 1) {
      versions.push(text(file.readUInt32LE(version + 8)));
      version += file.readUInt32LE(version + 12);
    }
    need += file.readUInt32LE(need + 12);
  }
  return {
    cpu: machines[file.readUInt16LE(18)],
    libraries: entries.filter((entry) => entry.tag === tag.needed).map(({ value }) => text(Number(value))),
    versions: [...new Set(versions)],
    staysLoaded: (BigInt(value(tag.flags1)) & noDelete) !== 0n,
    pages: Math.min(...segments.filter(({ type }) => type === load).map(({ align }) => align)),
    whole: file.length === Number(file.readBigUInt64LE(40)) + file.readUInt16LE(58) * file.readUInt16LE(60),
  };
}
