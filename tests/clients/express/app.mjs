// An Express application with the routes of docs/clients/express/routes.mjs. `POST /login?user=` sets the cookie.

import cookieParser from "cookie-parser";
import express from "express";

import { Curfew } from "./curfew.mjs";
import { COOKIE, issue, logoutRoutes } from "./routes.mjs";

const { CURFEW_PUBLIC_URL, CURFEW_INTERNAL_URL, CURFEW_INTERNAL_SECRET, CURFEW_APP_ID, CURFEW_APP_KEY } = process.env;
const { JWT_SECRET, ISSUER } = process.env;
const curfew = new Curfew({
  publicUrl: CURFEW_PUBLIC_URL,
  internalUrl: CURFEW_INTERNAL_URL,
  secret: CURFEW_INTERNAL_SECRET,
  appId: CURFEW_APP_ID,
  appKey: CURFEW_APP_KEY,
});

const ended = [];
const app = express();
app.use(cookieParser());
app.post("/login", async (request, response) => {
  const user = { id: request.query.user };
  const token = await issue(curfew, user, request, { secret: JWT_SECRET, issuer: ISSUER });
  response.cookie("token", token, COOKIE).json({ access_token: token });
});
app.get("/ended", (_, response) => response.json(ended));
app.use(
  logoutRoutes(curfew, {
    endRefreshTokens: async (_, { all }) => ended.push(all),
    userOf: async ({ cookies }) => cookies.session, // a session that needs no proof: this is a test
  }),
);

const server = app.listen(0, "127.0.0.1", () => console.log(`READY http://127.0.0.1:${server.address().port}`));
