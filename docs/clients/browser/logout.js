/*
 * Logging out in a browser, for a page that keeps its token in `localStorage`.
 *
 *     import { logout, NotConfirmed } from "./logout.js";
 *
 *     button.onclick = () => logout().catch((error) => {
 *       if (!(error instanceof NotConfirmed)) throw error;
 *       message.textContent = error.message;    // the token stays stored, so that the user can try again
 *     });
 *
 * With the token in an `HttpOnly` cookie, scripts cannot read it: call a route of your backend instead.
 */

/** 200: no Envoy admits the token any more. */
export const LOGGED_OUT = "logged_out";

/** 401 token_revoked: the token was logged out before. After `logoutAllDevices`, this says nothing about the other devices. */
export const ALREADY_LOGGED_OUT = "already_logged_out";

/** The token has expired or is invalid, or there is none: there was nothing to log out. */
export const REFUSED = "refused";

/** How much `logout` logs out: the token, all of its session, all of the user's but this session, all of the user's. */
const SCOPES = ["token", "session", "others", "global"];
const ATTEMPTS = 3;
const LONGEST_WAIT_S = 10;
const AGAIN = [429, 502, 503, 504];

/** Nobody has confirmed the logout: the token may still be valid. */
export class NotConfirmed extends Error {
  constructor(what, { status, problem, retryAfter }) {
    const again = makesSenseAgain(status) ? " Try again." : "";
    super(`${what} (${status ? `${status} ${problem}`.trim() : "no answer"}).${again}`);
    this.name = "NotConfirmed";
    /** The status of the last answer, 0 if there was none. Every redirect counts as 302. */
    this.status = status;
    /** Its stable code, such as `unavailable`, or null. */
    this.code = problem || null;
    /** After how many seconds another attempt makes sense, if the answer said so. */
    this.retryAfter = retryAfter;
  }
}

/** 400 session_missing: `scope: "session"` with a token that names no session. Nothing was logged out. */
export class SessionMissing extends Error {
  constructor() {
    super("The token names no session: nothing was logged out");
    this.name = "SessionMissing";
  }
}

/**
 * Logs out the stored token, forgets it and leaves for the login page. Rejects with `NotConfirmed`.
 *
 * With `scope`, it logs out `"token"`, `"session"`, `"others"` or `"global"`. After `"others"` the user stays logged in: the
 * token stays stored, and the browser where it is. `"session"` may reject with `SessionMissing`.
 */
export async function logout({ scope, ...options } = {}) {
  if (scope === undefined) return leave("/api/v2/logout", options);
  if (!SCOPES.includes(scope)) throw new TypeError("logout: no such scope");
  return leave(`/api/v2/logout?scope=${scope}`, options, scope);
}

/** The same for all tokens of the user. */
export function logoutAllDevices(options) {
  return leave("/api/v2/logout-all-device", options);
}

/**
 * - `key`: the name under which the token is stored
 * - `origin`: where the logout endpoints are, if they are not where the page is
 * - `login`: where the browser goes afterwards; the page is told the outcome as `?logout=…`
 * - `timeout`: of each attempt, in milliseconds
 */
async function leave(path, { key = "access_token", origin = "", login = "/login", timeout = 15_000 } = {}, scope) {
  const stored = localStorage.getItem(key);
  const token = bare(stored ?? "");
  const outcome = isToken(token) ? judge(await post(origin + path, token, timeout), scope) : REFUSED;
  if (scope === "others" && outcome === LOGGED_OUT) return outcome;
  // Another tab may have logged in meanwhile.
  if (localStorage.getItem(key) === stored) localStorage.removeItem(key);
  location.replace(`${login}?logout=${outcome}`);
  return outcome;
}

/** Without white space around it, and without `Bearer` before it. */
function bare(text) {
  return text.replace(/^\s*(bearer\s+)?/i, "").trimEnd();
}

/** Only these characters are in a token. Others would not fit into a header. */
function isToken(token) {
  return /^[A-Za-z0-9._~+/=-]+$/.test(token);
}

function judge(answer, scope) {
  const { status, problem, message } = answer;
  // An answer of another program, such as a page for every path, is no confirmation.
  if (status === 200 && message.startsWith("Successfully Logged Out")) {
    if (isOfScope(answer, scope)) return LOGGED_OUT;
    throw new NotConfirmed("The logout is NOT confirmed, because the answer is for another scope", answer);
  }
  if (status === 401 && problem === "token_revoked") return ALREADY_LOGGED_OUT;
  if (status === 401 && problem.startsWith("token_")) return REFUSED;
  if (status === 400 && problem === "session_missing") throw new SessionMissing();
  throw new NotConfirmed("The logout is NOT confirmed, and the token may still be valid", answer);
}

/** An older control plane ignores the scope, and logs out the token alone. */
function isOfScope(answer, scope) {
  return scope === undefined || answer.scope === (scope === "token" ? undefined : scope);
}

function makesSenseAgain(status) {
  return status === 0 || AGAIN.includes(status);
}

async function post(url, token, timeout) {
  for (let attempt = 1; ; attempt++) {
    const answer = await send(url, token, timeout);
    const wait = answer.retryAfter ?? 1;
    if (!makesSenseAgain(answer.status) || attempt === ATTEMPTS || wait > LONGEST_WAIT_S) return answer;
    await new Promise((done) => setTimeout(done, 1000 * wait));
  }
}

/** The answer, with status 0 if there is none. */
async function send(url, token, timeout) {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      redirect: "manual", // a login page behind a redirect would answer 200
      signal: AbortSignal.timeout(timeout),
    });
    const seconds = answer.headers.get("Retry-After");
    const body = await answer.json().catch(() => ({}));
    return {
      // A redirect that is not followed has no status here.
      status: answer.type === "opaqueredirect" ? 302 : answer.status,
      problem: typeof body?.code === "string" ? body.code : "",
      message: String(body?.message ?? ""),
      scope: body?.scope,
      retryAfter: /^\d+$/.test(seconds ?? "") ? Number(seconds) : undefined,
    };
  } catch {
    return { status: 0, problem: "", message: "" };
  }
}
