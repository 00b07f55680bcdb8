import core from "./index.js";

export const { AuthError, authorizeDevice, getValidAccessToken, listProfiles, login, logout, refreshTokens, status } =
  core;
export default core;
