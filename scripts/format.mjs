// Formats everything, and applies the fixes of lints that are safe.
import { run, runPackage } from "./command.mjs";
import { setUp } from "./setup.mjs";

await setUp();
const rust = await run("cargo", ["fmt", "--all"]);
const rest = await runPackage("@biomejs/biome/bin/biome", ["check", "--write", "."]);
process.exitCode = rust || rest;
