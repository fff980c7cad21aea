/*
 * Curfew for a Node.js backend (20 or newer), without dependencies.
 *
 *     export const curfew = new Curfew({
 *       publicUrl: process.env.CURFEW_PUBLIC_URL,        // Envoy, such as https://edge.example.com
 *       internalUrl: process.env.CURFEW_INTERNAL_URL,    // the internal listener, such as http://curfew.example.com:8081
 *       secret: process.env.CURFEW_INTERNAL_SECRET,
 *       appId: process.env.CURFEW_APP_ID,
 *       appKey: process.env.CURFEW_APP_KEY,
 *     });
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

/** Nobody has confirmed the call. After a logout, the token may still be valid. */
export class NotConfirmed extends Error {
  constructor(what, { status, problem, retryAfter }) {
    const again = makesSenseAgain(status) ? " Try again." : "";
    super(`${what} (${status ? `${status} ${problem}`.trim() : "no answer"}).${again}`);
    this.name = "NotConfirmed";
    /** The status of the last answer, 0 if there was none. */
    this.status = status;
    /** Its stable code, such as `unavailable`, or null. */
    this.code = problem || null;
    /** After how many seconds another attempt makes sense, if the answer said so. */
    this.retryAfter = retryAfter;
  }
}

/** 400 session_missing: the scope `session` with a token that names no session. Nothing was logged out. */
export class SessionMissing extends Error {
  constructor() {
    super("The token names no session: nothing was logged out");
    this.name = "SessionMissing";
  }
}

export class Curfew {
  #settings; // private, so that a log line with this object shows no secrets

  constructor({ publicUrl, internalUrl, secret, appId, appKey, timeout = 15_000 }) {
    this.#settings = { publicUrl, internalUrl, secret, appId, appKey, timeout };
  }

  /**
   * Logs out one token, or with `scope` another part: `"token"`, `"session"`, `"others"` or `"global"`. After `"others"` this
   * token is still good: keep it. Rejects with `NotConfirmed` if that did not happen, or if nobody knows; `"session"` may
   * reject with `SessionMissing`.
   */
  async logout(token, { scope } = {}) {
    if (scope === undefined) return this.#logoutWith("/api/v2/logout", token);
    if (!SCOPES.includes(scope)) throw new TypeError("logout: no such scope");
    return this.#logoutWith(`/api/v2/logout?scope=${scope}`, token, scope);
  }

  /** Logs out all tokens of the token's user. */
  logoutAllDevices(token) {
    return this.#logoutWith("/api/v2/logout-all-device", token);
  }

  /** Logs out a user everywhere, without a token: password change, block, deletion. Returns the answer: `tokens`, `known`. */
  async logoutUser(userId) {
    if (String(userId ?? "").trim() === "") throw new TypeError("logoutUser: no user is given");
    const { internalUrl, appId, appKey } = this.#settings;
    const body = { user_id: String(userId), app_id: appId, app_key: appKey };
    const answer = await this.#post(`${internalUrl}/api/v2/lgt-all`, { body });
    if (!saysLoggedOut(answer)) throw new NotConfirmed("The logout of the user is NOT confirmed", answer);
    return answer.body;
  }

  /**
   * At login and refresh, before the token is handed out. Rejects if the token is not registered, or is logged out
   * already: then do not hand it out.
   */
  async register(token, { userAgent = "", ip } = {}) {
    const { internalUrl, secret } = this.#settings;
    const device = { token, user_agent: userAgent.slice(0, 170), ip };
    const answer = await this.#post(`${internalUrl}/internal/v1/tokens`, { bearer: secret, body: { tokens: [device] } });
    if (answer.status !== 200 || answer.body.revoked !== 0) {
      const dead = answer.status === 200 && answer.body.revoked > 0;
      throw new NotConfirmed(dead ? "The token is logged out already: issue another one" : "The token is NOT registered", answer);
    }
  }

  async #logoutWith(path, text, scope) {
    const token = bare(text);
    if (!isToken(token)) return REFUSED;
    const answer = await this.#post(this.#settings.publicUrl + path, { bearer: token });
    if (saysLoggedOut(answer)) {
      if (isOfScope(answer, scope)) return LOGGED_OUT;
      throw new NotConfirmed("The logout is NOT confirmed, because the answer is for another scope", answer);
    }
    if (answer.status === 401 && answer.problem === "token_revoked") return ALREADY_LOGGED_OUT;
    if (answer.status === 401 && answer.problem.startsWith("token_")) return REFUSED;
    if (answer.status === 400 && answer.problem === "session_missing") throw new SessionMissing();
    throw new NotConfirmed("The logout is NOT confirmed, and the token may still be valid", answer);
  }

  async #post(url, call) {
    for (let attempt = 1; ; attempt++) {
      const answer = await send(url, call, this.#settings.timeout);
      const wait = answer.retryAfter ?? 1;
      if (!makesSenseAgain(answer.status) || attempt === ATTEMPTS || wait > LONGEST_WAIT_S) return answer;
      await new Promise((done) => setTimeout(done, 1000 * wait));
    }
  }
}

function makesSenseAgain(status) {
  return status === 0 || AGAIN.includes(status);
}

/** Without white space around it, and without `Bearer` before it. */
function bare(text) {
  return typeof text === "string" ? text.replace(/^\s*(bearer\s+)?/i, "").trimEnd() : "";
}

/** Only these characters are in a token. Others would not fit into a header. */
function isToken(token) {
  return /^[A-Za-z0-9._~+/=-]+$/.test(token);
}

/** The answer of another program, such as a page for every path, is no confirmation. */
function saysLoggedOut({ status, body }) {
  return status === 200 && String(body.message ?? "").startsWith("Successfully Logged Out");
}

/** An older control plane ignores the scope, and logs out the token alone. */
function isOfScope({ body }, scope) {
  return scope === undefined || body.scope === (scope === "token" ? undefined : scope);
}

/** The answer, with status 0 if there is none. */
async function send(url, { bearer, body }, timeout) {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        ...(bearer && { Authorization: `Bearer ${bearer}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
      body: body && JSON.stringify(body),
      redirect: "manual", // a login page behind a redirect would answer 200
      signal: AbortSignal.timeout(timeout),
    });
    const seconds = answer.headers.get("Retry-After");
    const json = (await answer.json().catch(() => null)) ?? {};
    return {
      status: answer.status,
      problem: typeof json.code === "string" ? json.code : "",
      body: json,
      retryAfter: /^\d+$/.test(seconds ?? "") ? Number(seconds) : undefined,
    };
  } catch {
    return { status: 0, problem: "", body: {} };
  }
}
