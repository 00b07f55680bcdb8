/** A certificate authority made for one test, and the server certificates that it issues. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const hour = 3_600_000;

/** PEM of a private key and its certificate, as node's https wants them. */
export interface ServerCertificate {
  key: string;
  cert: string;
}

export class CertificateAuthority {
  /** PEM of the authority's certificate, and the file that holds it (for NODE_EXTRA_CA_CERTS and SSL_CERT_FILE). */
  readonly certificate: string;
  readonly path: string;
  readonly #keys: CryptoKeyPair;
  readonly #certificate: X509Certificate;

  /** @param folder Where the certificate's file goes, for example the path of a {@link TempHome}. */
  static async create(folder: string, name = "Plugin Auth Test CA"): Promise<CertificateAuthority> {
    const keys = await keyPair();
    const certificate = await X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: "01",
        name: `CN=${name}`,
        notBefore: new Date(Date.now() - hour),
        notAfter: new Date(Date.now() + 24 * hour),
        signingAlgorithm: algorithm,
        keys,
        extensions: [
          new BasicConstraintsExtension(true, 0, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
          await SubjectKeyIdentifierExtension.create(keys.publicKey),
        ],
      },
      webcrypto,
    );
    const path = join(folder, "ca.pem");
    writeFileSync(path, certificate.toString("pem"));
    return new CertificateAuthority(certificate, keys, path);
  }

  private constructor(certificate: X509Certificate, keys: CryptoKeyPair, path: string) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.path = path;
    this.certificate = certificate.toString("pem");
  }

  /** A certificate for a server of these names and addresses; with `expired`, one that has expired. */
  async issue({
    names = ["localhost", "127.0.0.1", "::1"],
    expired = false,
  }: {
    names?: string[];
    expired?: boolean;
  } = {}): Promise<ServerCertificate> {
    const keys = await keyPair();
    const end = Date.now() + (expired ? -hour : 12 * hour);
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString("hex"),
        subject: `CN=${names[0]}`,
        issuer: this.#certificate.subject,
        notBefore: new Date(end - 13 * hour),
        notAfter: new Date(end),
        signingAlgorithm: algorithm,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
          new SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }) as const),
          ),
          await SubjectKeyIdentifierExtension.create(keys.publicKey),
          await AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
        ],
      },
      webcrypto,
    );
    return { key: await privateKeyPem(keys.privateKey), cert: certificate.toString("pem") };
  }
}

type CryptoKeyPair = webcrypto.CryptoKeyPair;

function keyPair(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
}
