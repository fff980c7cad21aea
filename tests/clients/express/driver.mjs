// Plays calls of docs/clients/express/curfew.mjs.
//
// The argument is a file with one call a line, as a query string: the function's name, the scope if there is one, and the
// token or user. One line of JSON is printed for each.

import { readFileSync } from "node:fs";
import { inspect } from "node:util";

import { Curfew, NotConfirmed, SessionMissing } from "./curfew.mjs";

const { CURFEW_PUBLIC_URL, CURFEW_INTERNAL_URL, CURFEW_INTERNAL_SECRET, CURFEW_APP_ID, CURFEW_APP_KEY } = process.env;
const curfew = new Curfew({
  publicUrl: CURFEW_PUBLIC_URL,
  internalUrl: CURFEW_INTERNAL_URL,
  secret: CURFEW_INTERNAL_SECRET,
  appId: CURFEW_APP_ID,
  appKey: CURFEW_APP_KEY,
  timeout: Number(process.env.TIMEOUT_MS),
});
console.error(inspect(curfew, { depth: 9, showHidden: true }));

const lines = readFileSync(process.argv[2], "utf8").trim().split("\n");
for (const played of await Promise.all(lines.map((line) => play(Object.fromEntries(new URLSearchParams(line)))))) {
  console.log(JSON.stringify(played));
}

async function play({ call, subject, scope }) {
  try {
    const options = { register: { userAgent: "a device", ip: "::1" }, logout: { scope } };
    const outcome = await (call === "logoutNobody" ? curfew.logoutUser(undefined) : curfew[call](subject, options[call]));
    return { outcome: outcome ?? "done" };
  } catch (error) {
    console.error(inspect(error, { depth: 9, showHidden: true }));
    if (error instanceof SessionMissing) return { missing: error.message };
    if (!(error instanceof NotConfirmed)) return { crash: String(error) };
    return { error: error.message, retryAfter: error.retryAfter ?? null, status: error.status, code: error.code };
  }
}
