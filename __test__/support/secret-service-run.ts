// A locked Secret Service in a process of its own, on the bus of its environment, under the name of the file that runs it.
import { basename } from "node:path";
import { Scope } from "./lifetime.ts";
import { SecretService } from "./secret-service.ts";
import { SessionBus } from "./session-bus.ts";
import { TempHome } from "./temp-home.ts";

const scope = new Scope();
// Node 24 calls its first thread, and so the process, "MainThread".
process.title = basename(process.execPath);
const service = await SecretService.start(scope, TempHome.create(scope), {}, SessionBus.given(process.env));
service.lock();
console.log("ready");
