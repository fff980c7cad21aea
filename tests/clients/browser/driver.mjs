// Plays calls of docs/clients/browser/logout.js in Node.js, with stand-ins for the browser's storage and location.
//
// The argument is a file with one call a line, as a query string: the function's name, the scope if there is one, and the
// token or user. One line of JSON is printed for each.

import { readFileSync } from "node:fs";
import { inspect } from "node:util";

import * as client from "./logout.js";

const KEY = "access_token";

// A browser shows nothing of a redirect that it does not follow. Node.js shows the answer.
const fetchOfNode = globalThis.fetch;
globalThis.fetch = async (url, options) => {
  const answer = await fetchOfNode(url, options);
  const hidden = options.redirect === "manual" && answer.status >= 300 && answer.status < 400;
  const nothing = async () => JSON.parse("");
  return hidden ? { type: "opaqueredirect", status: 0, headers: new Headers(), json: nothing } : answer;
};

// One call after the other, because storage and location are global.
for (const line of readFileSync(process.argv[2], "utf8").trim().split("\n")) {
  const call = Object.fromEntries(new URLSearchParams(line));
  const stored = new Map([[KEY, call.subject], ["theme", "dark"]]);
  let wentTo = null;
  globalThis.localStorage = {
    getItem: (key) => stored.get(key) ?? null,
    removeItem: (key) => stored.delete(key),
  };
  globalThis.location = { replace: (url) => (wentTo = url) };
  const played = await play(call);
  console.log(JSON.stringify({ ...played, stored: stored.get(KEY) === call.subject, kept: stored.has("theme"), wentTo }));
}

async function play({ call, scope }) {
  try {
    const options = { origin: process.env.CURFEW_PUBLIC_URL, timeout: Number(process.env.TIMEOUT_MS), scope };
    return { outcome: await client[call](options) };
  } catch (error) {
    console.error(inspect(error, { depth: 9, showHidden: true }));
    if (error instanceof client.SessionMissing) return { missing: error.message };
    if (!(error instanceof client.NotConfirmed)) return { crash: String(error) };
    return { error: error.message, retryAfter: error.retryAfter ?? null, status: error.status, code: error.code };
  }
}
