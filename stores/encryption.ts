/** Encryption at rest: AES-256-GCM by Node's own OpenSSL, with the id of its key in the value. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { StoreError } from "./store-error.ts";

/** 32 bytes: themselves, or in Base64 or hex, from a variable of the environment or a file. */
export type EncryptionKey = Uint8Array | { env: string } | { file: string };

interface Key {
  id: string;
  bytes: Buffer;
}

const PREFIX = "aes-256-gcm";

export class Encryption {
  readonly #keys: Key[];

  constructor(given: EncryptionKey | [EncryptionKey, EncryptionKey]) {
    this.#keys = (Array.isArray(given) ? given : [given]).map(keyOf);
  }

  /**
   * `aes-256-gcm:<key id>:<nonce, tag and text in Base64>`. Bound to its place: a value is worth nothing under another
   * key.
   */
  seal(place: string, text: string): string {
    const [key] = this.#keys as [Key];
    const nonce = randomBytes(12);
    const cipher = createCipheriv(PREFIX, key.bytes, nonce);
    cipher.setAAD(Buffer.from(place));
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return `${PREFIX}:${key.id}:${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64")}`;
  }

  /** Logins that were stored before there was a key are still read: the next write encrypts it. */
  open(place: string, value: string): string {
    const [prefix, id, sealed] = value.split(":");
    if (prefix !== PREFIX || id === undefined || sealed === undefined) {
      return value;
    }
    const key = this.#keys.find((one) => one.id === id);
    if (key === undefined) {
      throw new StoreError(
        "ENCRYPTION_KEY_UNKNOWN",
        `The value was encrypted with the key ${id}, which was not given.`,
      );
    }
    const bytes = Buffer.from(sealed, "base64");
    try {
      const decipher = createDecipheriv(PREFIX, key.bytes, bytes.subarray(0, 12), { authTagLength: 16 });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(bytes.subarray(12, 28));
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString("utf8");
    } catch {
      throw new StoreError("ENCRYPTED_VALUE_DAMAGED", "The value was changed, or belongs to another place.");
    }
  }
}

function keyOf(given: EncryptionKey): Key {
  const { bytes, from } = bytesOf(given);
  if (bytes.length !== 32) {
    throw new StoreError("ENCRYPTION_KEY", `${from} holds ${bytes.length} bytes; the key has 32, in Base64 or hex.`);
  }
  return { bytes, id: createHash("sha256").update("key id").update(bytes).digest("hex").slice(0, 8) };
}

function bytesOf(given: EncryptionKey): { bytes: Buffer; from: string } {
  if (given instanceof Uint8Array) {
    return { bytes: Buffer.from(given), from: "encryptionKey" };
  }
  if ("env" in given) {
    const text = process.env[given.env];
    if (!text) {
      throw new StoreError(
        "ENCRYPTION_KEY",
        `The variable ${given.env}, which is to hold the encryption key, is not set.`,
      );
    }
    return { bytes: decoded(text), from: given.env };
  }
  const raw = readFileSync(given.file);
  return { bytes: raw.length === 32 ? raw : decoded(raw.toString("latin1")), from: given.file };
}

function decoded(text: string): Buffer {
  const trimmed = text.trim();
  return Buffer.from(trimmed, /^[0-9a-f]{64}$/i.test(trimmed) ? "hex" : "base64");
}
