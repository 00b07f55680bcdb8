import core from "./index.js";

export const {
  AuthError,
  authorizationHeaders,
  authorizeDevice,
  getValidAccessToken,
  listProfiles,
  login,
  logout,
  refreshTokens,
  status,
} = core;
export default core;
