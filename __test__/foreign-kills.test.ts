/**
 * A process that is killed with SIGKILL at every step of writing into another program's file: the file is whole, the
 * locks are taken over, and the login lives on unless the server's answer died with the process.
 */
import { foreignKills } from "./support/foreign-kills.ts";

// A program that waits for locks while it refreshes, with a second login in its file.
foreignKills("auth-profiles", true);
