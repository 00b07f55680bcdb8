/**
 * A process that is killed with SIGKILL at every step of writing into another program's file: the file is whole, the locks
 * are taken over, and the login lives on unless the server's answer died with the process.
 */
import { foreignKills } from "./support/foreign-kills.ts";

// One whose program excludes us while we refresh, and whose file holds a second login.
foreignKills("auth-profiles", true);
