/*
 * Routes for an Express application whose token is in an `HttpOnly` cookie. Scripts cannot read that cookie, so the
 * application logs out for the browser. They need `cookie-parser` and `jsonwebtoken`:
 *
 *     app.use(cookieParser());
 *     app.use(logoutRoutes(curfew));
 *
 * The rule of the filter for these paths is `skip`, and no middleware before them asks for a valid token: after a 503 the
 * browser comes again, with a token that may be logged out by then.
 */

import { randomUUID } from "node:crypto";
import { Router } from "express";
import jwt from "jsonwebtoken";

import { LOGGED_OUT, NotConfirmed, REFUSED } from "./curfew.mjs";

/** A cookie is deleted only under the attributes that it was set with. */
export const COOKIE = { httpOnly: true, secure: true, sameSite: "lax", path: "/" };

/** At login and refresh: a token for this user, registered before it is handed out. */
export async function issue(curfew, user, request, { secret, issuer }) {
  const token = jwt.sign({}, secret, {
    algorithm: "HS256", expiresIn: "15m", subject: String(user.id), jwtid: randomUUID(), issuer,
  });
  await curfew.register(token, { userAgent: request.get("user-agent"), ip: request.ip });
  return token;
}

/**
 * `endRefreshTokens(request, { all })` ends the refresh token of this browser, or all of the user. It may be called twice.
 *
 * `userOf(request)` is the id of the user by something else than the access token, such as a valid refresh token or a
 * session, or undefined. With it, a logout of all devices does not need a valid access token.
 */
export function logoutRoutes(curfew, { endRefreshTokens = async () => {}, userOf = async () => undefined } = {}) {
  const routes = Router();
  routes.post("/logout", async (request, response) => {
    // First: otherwise a refresh in between brings a new token.
    await endRefreshTokens(request, { all: false });
    await answer(response, () => curfew.logout(request.cookies.token));
  });
  routes.post("/logout-all-devices", async (request, response) => {
    const user = await userOf(request); // before its refresh token ends
    await endRefreshTokens(request, { all: true });
    await answer(response, () => logoutAllDevices(curfew, request.cookies.token, user), { mayBeRefused: false });
  });
  return routes;
}

async function logoutAllDevices(curfew, token, user) {
  const outcome = await curfew.logoutAllDevices(token);
  if (outcome !== REFUSED || user === undefined) return outcome;
  await curfew.logoutUser(user);
  return LOGGED_OUT;
}

/** A refused token is as good as logged out, but says nothing about other devices. */
async function answer(response, logout, { mayBeRefused = true } = {}) {
  try {
    const outcome = await logout();
    if (outcome === REFUSED && !mayBeRefused) {
      const error = "Nothing is logged out: the token has expired or is invalid. Log in and try again.";
      response.status(401).set("WWW-Authenticate", "Bearer").json({ outcome, error });
      return;
    }
    response.clearCookie("token", COOKIE).set("Clear-Site-Data", '"storage"').json({ outcome });
  } catch (error) {
    if (!(error instanceof NotConfirmed)) throw error;
    // The cookie stays, so that the browser can try again.
    response.status(503).set("Retry-After", String(error.retryAfter ?? 1)).json({ error: error.message });
  }
}
