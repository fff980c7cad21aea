"""Curfew for Django: accounts/curfew.py. It needs no package beside Django.

In settings.py:

    CURFEW_PUBLIC_URL = os.environ["CURFEW_PUBLIC_URL"]      # Envoy, such as https://edge.example.com
    CURFEW_INTERNAL_URL = os.environ["CURFEW_INTERNAL_URL"]  # the internal listener, http://curfew.example.com:8081
    CURFEW_INTERNAL_SECRET = os.environ["CURFEW_INTERNAL_SECRET"]
    CURFEW_APP_ID = os.environ["CURFEW_APP_ID"]
    CURFEW_APP_KEY = os.environ["CURFEW_APP_KEY"]
"""

import json
import re
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

LOGGED_OUT = "logged_out"
"""200: no Envoy admits the token any more."""

ALREADY_LOGGED_OUT = "already_logged_out"
"""401 token_revoked: it was logged out before. After logout_all_devices, this says nothing about the other devices."""

REFUSED = "refused"
"""The token has expired or is invalid, or there is none: there was nothing to log out."""

SCOPES = ("token", "session", "others", "global")
"""How much logout logs out: the token, all of its session, all of the user's but this session, all of the user's."""

ATTEMPTS = 3
LONGEST_WAIT_S = 10
AGAIN = (429, 502, 503, 504)


class NotConfirmed(Exception):
    """Nobody has confirmed the call. After a logout, the token may still be valid."""

    def __init__(self, what, answer):
        reason = f"{answer.status} {answer.problem}".strip() if answer.status else "no answer"
        super().__init__(f"{what} ({reason})." + (" Try again." if answer.makes_sense_again() else ""))
        self.status = answer.status
        """The status of the last answer, 0 if there was none."""
        self.code = answer.problem or None
        """Its stable code, such as unavailable, or None."""
        self.retry_after = answer.retry_after
        """After how many seconds another attempt makes sense, if the answer said so."""


class SessionMissing(Exception):
    """400 session_missing: the scope "session" with a token that names no session. Nothing was logged out."""

    def __init__(self):
        super().__init__("The token names no session: nothing was logged out")


@sensitive_variables()
def logout(token, scope=None):
    """Logs out one token. Raises NotConfirmed if that did not happen, or if nobody knows.

    With a scope it logs out another part: "token", "session", "others" or "global". After "others" this token is still good:
    keep it. "session" may raise SessionMissing.
    """
    if scope is None:
        return _logout_with("/api/v2/logout", token)
    if scope not in SCOPES:
        raise ValueError("logout: no such scope")
    return _logout_with(f"/api/v2/logout?scope={scope}", token, scope)


@sensitive_variables()
def logout_all_devices(token):
    """Logs out all tokens of the token's user."""
    return _logout_with("/api/v2/logout-all-device", token)


@sensitive_variables()
def logout_user(user_id):
    """Logs out a user everywhere, without a token: password change, block, deletion. Returns the answer: tokens, known."""
    if user_id is None or not str(user_id).strip():
        raise ValueError("logout_user: no user is given")
    body = {"user_id": str(user_id), "app_id": settings.CURFEW_APP_ID, "app_key": settings.CURFEW_APP_KEY}
    answer = _post(f"{settings.CURFEW_INTERNAL_URL}/api/v2/lgt-all", body=body)
    if not answer.says_logged_out():
        raise NotConfirmed("The logout of the user is NOT confirmed", answer)
    return answer.body


@sensitive_variables()
def register(token, request):
    """At login and refresh, before the token is handed out.

    Raises NotConfirmed if it is not registered, or is logged out already: then do not hand it out.
    """
    device = {"token": str(token), "user_agent": request.headers.get("User-Agent", "")[:170]}
    url, secret = f"{settings.CURFEW_INTERNAL_URL}/internal/v1/tokens", settings.CURFEW_INTERNAL_SECRET
    answer = _post(url, bearer=secret, body={"tokens": [device]})
    revoked = answer.body.get("revoked") if answer.status == 200 else None
    if revoked != 0:
        dead = "The token is logged out already: issue another one"
        raise NotConfirmed(dead if revoked else "The token is NOT registered", answer)


@sensitive_variables()
def _logout_with(path, text, scope=None):
    # Without white space around it, and without "Bearer" before it.
    token = re.sub(r"\A\s*(bearer\s+)?", "", text or "", flags=re.IGNORECASE).rstrip()
    # Only these characters are in a token. Others would not fit into a header.
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):
        return REFUSED
    answer = _post(settings.CURFEW_PUBLIC_URL + path, bearer=token)
    if answer.says_logged_out():
        if answer.is_of_scope(scope):
            return LOGGED_OUT
        raise NotConfirmed("The logout is NOT confirmed, because the answer is for another scope", answer)
    if answer.status == 401 and answer.problem == "token_revoked":
        return ALREADY_LOGGED_OUT
    if answer.status == 401 and answer.problem.startswith("token_"):
        return REFUSED
    if answer.status == 400 and answer.problem == "session_missing":
        raise SessionMissing
    raise NotConfirmed("The logout is NOT confirmed, and the token may still be valid", answer)


class _Answer:
    """An answer, with status 0 if there is none."""

    def __init__(self, status=0, headers=None, text=b""):
        self.status = status
        seconds = (headers or {}).get("Retry-After") or ""
        self.retry_after = int(seconds) if re.fullmatch("[0-9]{1,9}", seconds) else None
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        self.body = body if isinstance(body, dict) else {}
        code = self.body.get("code")
        self.problem = code if isinstance(code, str) else ""

    def says_logged_out(self):
        # The answer of another program, such as a page for every path, is no confirmation.
        return self.status == 200 and str(self.body.get("message", "")).startswith("Successfully Logged Out")

    def is_of_scope(self, scope):
        # An older control plane ignores the scope, and logs out the token alone.
        return scope is None or self.body.get("scope") == (None if scope == "token" else scope)

    def makes_sense_again(self):
        return self.status == 0 or self.status in AGAIN


class _NoRedirects(HTTPRedirectHandler):
    """A login page behind a redirect would answer 200."""

    def redirect_request(self, *_):
        return None


_opener = build_opener(_NoRedirects)


@sensitive_variables()
def _post(url, bearer=None, body=None):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = b"" if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers=headers, method="POST")
    attempt = 1
    while True:
        answer = _send(request)
        wait = 1 if answer.retry_after is None else answer.retry_after
        if not answer.makes_sense_again() or attempt == ATTEMPTS or wait > LONGEST_WAIT_S:
            return answer
        time.sleep(wait)
        attempt += 1


@sensitive_variables()
def _send(request):
    try:
        with _opener.open(request, timeout=getattr(settings, "CURFEW_TIMEOUT", 15)) as answer:
            return _Answer(answer.status, answer.headers, answer.read())
    except HTTPError as answer:  # the answers that are not 2xx
        with answer:
            return _Answer(answer.code, answer.headers, answer.read())
    except (OSError, HTTPException):
        return _Answer()
