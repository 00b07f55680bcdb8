// Bluesky's PDS in a process of its own, and the directory of its identifiers in memory: serve.mjs PORT DIRECTORY_PORT
// FOLDER.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { envToCfg, envToSecrets, PDS } from "@atproto/pds";
import plc from "@did-plc/server";

const [port, directoryPort, folder] = process.argv.slice(2);
const { Database, PlcServer } = plc;
const directory = PlcServer.create({ db: Database.mock(), port: Number(directoryPort) });
await directory.start();
const env = {
  port: Number(port),
  hostname: "localhost",
  devMode: true,
  dataDirectory: folder,
  blobstoreDiskLocation: join(folder, "blobs"),
  didPlcUrl: `http://localhost:${directoryPort}`,
  serviceHandleDomains: [".test"],
  inviteRequired: false,
  jwtSecret: randomBytes(32).toString("hex"),
  dpopSecret: randomBytes(32).toString("hex"),
  adminPassword: "admin",
  plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString("hex"),
  logEnabled: false,
};
const pds = await PDS.create(envToCfg(env), envToSecrets(env));
await pds.start();
