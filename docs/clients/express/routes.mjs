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

import { NotConfirmed } from "./curfew.mjs";

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

/** `endRefreshTokens(request, { all })` ends the refresh token of this browser, or all of the user. It may be called twice. */
export function logoutRoutes(curfew, { endRefreshTokens = async () => {} } = {}) {
  const routes = Router();
  routes.post("/logout", async (request, response) => {
    // First: otherwise a refresh in between brings a new token.
    await endRefreshTokens(request, { all: false });
    await answer(response, () => curfew.logout(request.cookies.token));
  });
  routes.post("/logout-all-devices", async (request, response) => {
    await endRefreshTokens(request, { all: true });
    await answer(response, () => curfew.logoutAllDevices(request.cookies.token));
  });
  return routes;
}

async function answer(response, logout) {
  try {
    const outcome = await logout();
    response.clearCookie("token", COOKIE).set("Clear-Site-Data", '"storage"').json({ outcome });
  } catch (error) {
    if (!(error instanceof NotConfirmed)) throw error;
    // The cookie stays, so that the browser can try again.
    response.status(503).set("Retry-After", String(error.retryAfter ?? 1)).json({ error: error.message });
  }
}
