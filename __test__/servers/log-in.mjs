// A login in a process of its own: prints the page, and ends when it is approved.
import { login } from "../../index.js";

await login(JSON.parse(process.argv[2]), {
  remote: false,
  onVerification: ({ verificationUri }) => console.log(verificationUri),
});
