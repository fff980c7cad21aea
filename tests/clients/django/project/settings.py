"""A Django project with the files of docs/clients/django/ as its application `accounts`."""

import os
from datetime import timedelta

CURFEW_PUBLIC_URL = os.environ["CURFEW_PUBLIC_URL"]
CURFEW_INTERNAL_URL = os.environ["CURFEW_INTERNAL_URL"]
CURFEW_INTERNAL_SECRET = os.environ["CURFEW_INTERNAL_SECRET"]
CURFEW_APP_ID = os.environ["CURFEW_APP_ID"]
CURFEW_APP_KEY = os.environ["CURFEW_APP_KEY"]
CURFEW_TIMEOUT = int(os.environ["TIMEOUT_MS"]) / 1000

SECRET_KEY = os.environ["JWT_SECRET"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
SIMPLE_JWT = {
    "TOKEN_OBTAIN_SERIALIZER": "accounts.views.LoginSerializer",
    "TOKEN_REFRESH_SERIALIZER": "accounts.views.RefreshSerializer",
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
}
ROOT_URLCONF = "project.urls"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
