import core from "./index.js";

export const {
  AuthError,
  authorizationHeaders,
  authorizeDevice,
  doctor,
  getValidAccessToken,
  importToken,
  listProfiles,
  login,
  logout,
  profileOrder,
  refreshTokens,
  status,
} = core;
export default core;
