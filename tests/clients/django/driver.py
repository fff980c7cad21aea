"""Plays calls of docs/clients/django/curfew.py.

The argument is a file with one call a line, as a query string: the function's name, the scope if there is one, and the token
or user. One line of JSON is printed for each.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django

django.setup()

from accounts import curfew
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

CALLS = {
    "logout": curfew.logout,
    "logoutAllDevices": curfew.logout_all_devices,
    "logoutUser": curfew.logout_user,
    "logoutNobody": lambda _: curfew.logout_user(None),
    "register": lambda token: curfew.register(token, RequestFactory().post("/", headers={"user-agent": "a device"})),
}


def play(call):
    try:
        more = {"scope": call["scope"]} if "scope" in call else {}
        outcome = CALLS[call["call"]](call["subject"], **more)
        return {"outcome": "done" if outcome is None else outcome}
    except Exception as error:
        # What Django mails to administrators: every local variable of every function.
        frames = ExceptionReporter(None, type(error), error, error.__traceback__).get_traceback_frames()
        own = [frame["vars"] for frame in frames if frame["filename"].endswith("curfew.py")]
        print(error, own, file=sys.stderr)
        if isinstance(error, curfew.SessionMissing):
            return {"missing": str(error)}
        if not isinstance(error, curfew.NotConfirmed):
            return {"crash": repr(error)}
        return {"error": str(error), "retryAfter": error.retry_after, "status": error.status, "code": error.code}


def main():
    lines = open(sys.argv[1]).read().split()
    calls = [dict(parse_qsl(line, keep_blank_values=True)) for line in lines]
    with ThreadPoolExecutor(len(calls)) as pool:
        for played in pool.map(play, calls):
            print(json.dumps(played))


main()
