// Runs a program with our own terminal, from the root of the checkout.
import { execFile, spawn } from "node:child_process";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { root } from "./setup.mjs";

/**
 * @param {string[]} [said] Takes what the program says, which then leaves the processors to others.
 * @returns {Promise<number>} The exit code; 128 + signal number for one that was killed, as shells count.
 */
export function run(command, args, { env = {}, said } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = said === undefined ? "inherit" : ["ignore", "pipe", "pipe"];
    const child = spawn(command, args, { cwd: root, stdio, env: { ...process.env, ...env } });
    if (said !== undefined) {
      if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding("utf8").on("data", (text) => said.push(text));
    }
    // We stay until it has tidied up, and report how it ended. Ctrl-C reaches it by itself.
    const stay = () => {};
    const end = () => child.kill("SIGTERM");
    process.on("SIGINT", stay).on("SIGTERM", end);
    child.on("error", (error) => {
      reject(error.code === "ENOENT" ? new Error(`${command} is not installed or not on PATH.`) : error);
    });
    child.on("close", (code, signal) => {
      process.off("SIGINT", stay).off("SIGTERM", end);
      resolve(code ?? 128 + (signals[signal] ?? 0));
    });
  });
}

/** Runs a program in silence. @returns {Promise<string>} What it says; it is thrown if the program fails. */
export function output(command, args, { env = {}, cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: { ...process.env, ...env }, maxBuffer: 1 << 26 };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.code === "ENOENT") reject(new Error(`${command} is not installed or not on PATH.`));
      else
        reject(new Error(`${command} ${args.join(" ")} failed (${error.code ?? error.signal}):\n${stdout}${stderr}`));
    });
  });
}

const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Runs the program of a package in node_modules, without depending on how the platform links it into `.bin`. */
export function runPackage(script, args, options) {
  return run(process.execPath, [join(root, "node_modules", script), ...args], options);
}
