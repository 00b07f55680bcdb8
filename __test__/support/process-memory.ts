/**
 * Searches the memory of another process, as its owner or root sees it: every readable mapping, heap, stacks and
 * V8's pages included. Linux.
 *
 *     const found = new ProcessMemory(pid).find({ refresh: "…" });
 *     found.get("refresh")  // → [{ mapping: "[heap]", encoding: "bytes" }, …]
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

export interface Copy {
  /** `[heap]`, `[stack]`, a file, or "anonymous". */
  mapping: string;
  /** How the text was spelled: as bytes, as UTF-16, or inside of a base64 text. */
  encoding: string;
  address: string;
}

const CHUNK = 8 * 1024 * 1024;

export class ProcessMemory {
  readonly #pid: number;

  static unavailable(): string | false {
    return process.platform === "linux" ? false : "/proc/<pid>/mem is Linux's";
  }

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Where each text is found. A part of a text that is no longer whole is found by giving that part. */
  find(texts: Record<string, string>): Map<string, Copy[]> {
    const needles = Object.entries(texts).flatMap(([name, text]) =>
      spellings(text).map(([encoding, bytes]) => ({ name, encoding, bytes })),
    );
    const longest = Math.max(...needles.map(({ bytes }) => bytes.length));
    const found = new Map<string, Copy[]>(Object.keys(texts).map((name) => [name, []]));
    const memory = openSync(`/proc/${this.#pid}/mem`, "r");
    const buffer = Buffer.alloc(CHUNK);
    try {
      for (const { start, end, mapping } of this.#mappings()) {
        // Chunks overlap by what could be cut in two.
        for (let at = start; at < end; at += CHUNK - longest) {
          const length = readAt(memory, buffer, at, Math.min(CHUNK, end - at));
          const chunk = buffer.subarray(0, length);
          for (const { name, encoding, bytes } of needles) {
            for (let hit = chunk.indexOf(bytes); hit !== -1; hit = chunk.indexOf(bytes, hit + 1)) {
              found.get(name)?.push({ mapping, encoding, address: (at + hit).toString(16) });
            }
          }
          if (end - at <= CHUNK) break;
        }
      }
    } finally {
      closeSync(memory);
    }
    return found;
  }

  #mappings(): { start: number; end: number; mapping: string }[] {
    const lines = readFileSync(`/proc/${this.#pid}/maps`, "utf8").trim().split("\n");
    return lines.flatMap((line) => {
      const [, start = "", end = "", mode = "", path = ""] = /^(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
      // A secret is never in what cannot be written.
      const isRead = mode.startsWith("rw") && path !== "[vvar]";
      return isRead ? [{ start: parseInt(start, 16), end: parseInt(end, 16), mapping: path || "anonymous" }] : [];
    });
  }
}

function spellings(text: string): [string, Buffer][] {
  // A text inside of another has one of three spellings in base64; its ends depend on the text around it.
  const base64 = [0, 1, 2].map((phase): [string, Buffer] => {
    const encoded = Buffer.from("x".repeat(phase) + text).toString("base64");
    return ["base64", Buffer.from(encoded.slice(phase === 0 ? 0 : 4, -4))];
  });
  return [["bytes", Buffer.from(text)], ["UTF-16", Buffer.from(text, "utf16le")], ...base64];
}

/** The bytes that could be read: a mapping may be gone by now, or have a hole. */
function readAt(memory: number, buffer: Buffer, position: number, length: number): number {
  try {
    return readSync(memory, buffer, 0, length, position);
  } catch {
    return 0;
  }
}
