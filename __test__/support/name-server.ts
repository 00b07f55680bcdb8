/** A DNS server of a test's own, which knows no name: the machine's may be slow, or answer for every name. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Lifetime } from "./lifetime.ts";
import type { PrivateMounts } from "./private-mounts.ts";

/** Nobody else's, as a rule: resolvers on a machine listen at 127.0.0.1 or 127.0.0.53. */
const address = "127.0.53.53";

/** RFC 1035 section 4.1.1: an answer (QR) to a recursive question, "Name Error". */
const nameError = 0x8183;

/** Starts it, and makes the processes inside those mounts ask it. `folder`: for a file of the test. */
export async function knowNoName(lifetime: Lifetime, mounts: PrivateMounts, folder: string): Promise<void> {
  const socket = createSocket("udp4");
  lifetime.after(() => void socket.close());
  socket.on("message", (question, { port, address }) => {
    const answer = Buffer.from(question);
    answer.writeUInt16BE(nameError, 2);
    socket.send(answer, port, address);
  });
  socket.bind(53, address);
  await once(socket, "listening");
  const file = join(folder, "resolv.conf");
  writeFileSync(file, `nameserver ${address}\n`);
  mounts.run("mount", "--bind", file, "/etc/resolv.conf");
}
