"""Login, refresh, logout and password change with djangorestframework-simplejwt: accounts/views.py.

In settings.py, beside what Simple JWT asks for:

    INSTALLED_APPS += ["rest_framework_simplejwt.token_blacklist"]
    SIMPLE_JWT = {
        "TOKEN_OBTAIN_SERIALIZER": "accounts.views.LoginSerializer",
        "TOKEN_REFRESH_SERIALIZER": "accounts.views.RefreshSerializer",
        ...
    }
"""

from django.views.decorators.debug import sensitive_variables
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer, TokenRefreshSerializer
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from . import curfew


class Unconfirmed(APIException):
    """503 with Retry-After: the client comes again with the same tokens."""

    status_code = 503

    def __init__(self, error):
        super().__init__(str(error))
        self.wait = error.retry_after or 1  # becomes Retry-After


def confirmed(call, *arguments):
    try:
        return call(*arguments)
    except curfew.NotConfirmed as error:
        raise Unconfirmed(error) from None


class LoginSerializer(TokenObtainPairSerializer):
    def validate(self, attrs):
        data = super().validate(attrs)
        confirmed(curfew.register, data["access"], self.context["request"])
        return data


class RotatedToken(RefreshToken):
    """A refresh token that does not end where Simple JWT rotates it."""

    def blacklist(self):
        """RefreshSerializer ends it when the new access token is registered."""


class RefreshSerializer(TokenRefreshSerializer):
    """Ends the old refresh token after the registration, so that after a 503 the client can come again with it."""

    token_class = RotatedToken

    def validate(self, attrs):
        data = super().validate(attrs)
        confirmed(curfew.register, data["access"], self.context["request"])
        old = RefreshToken(attrs["refresh"])  # 401 if a logout has ended it during the registration
        if api_settings.ROTATE_REFRESH_TOKENS and api_settings.BLACKLIST_AFTER_ROTATION:
            old.blacklist()
        return data


# Without authentication: a second attempt may come with a token that Simple JWT does not take any more.
@api_view(["POST"])
@authentication_classes([])
@permission_classes([AllowAny])
@sensitive_variables()
def logout(request):
    end_refresh_token(request.data.get("refresh"))
    return Response({"outcome": confirmed(curfew.logout, access_token(request))})


@api_view(["POST"])
@authentication_classes([])
@permission_classes([AllowAny])
@sensitive_variables()
def logout_all_devices(request):
    token = access_token(request)
    user_id = user_of(AccessToken, token)
    if user_id is None:  # it has expired, or is no token of ours
        user_id = user_of(RefreshToken, request.data.get("refresh"))
    if user_id is not None:
        end_all_refresh_tokens(user_id)
    outcome = confirmed(curfew.logout_all_devices, token)
    if outcome == curfew.REFUSED:
        if user_id is None:
            return nothing_logged_out()
        confirmed(curfew.logout_user, user_id)
        outcome = curfew.LOGGED_OUT
    return Response({"outcome": outcome})


@api_view(["POST"])
@permission_classes([IsAuthenticated])
@sensitive_variables()
def change_password(request):
    request.user.set_password(request.data["password"])
    request.user.save()
    end_all_refresh_tokens(request.user.pk)
    confirmed(curfew.logout_user, request.user.pk)
    refresh = RefreshToken.for_user(request.user)
    access = str(refresh.access_token)  # once: each time it is asked for, it is another token
    # Registered, because it is issued in the second of the logout.
    confirmed(curfew.register, access, request)
    return Response({"refresh": str(refresh), "access": access})


def access_token(request):
    """The token of `Authorization: Bearer …`; with an HttpOnly cookie it is request.COOKIES.get("token")."""
    return request.headers.get("Authorization", "").rpartition(" ")[2]


def nothing_logged_out():
    """401: neither token is valid. If only the refresh token was, a first attempt that got 503 has ended it."""
    detail = "Nothing is logged out: the token has expired or is invalid. Log in and try again."
    body = {"outcome": curfew.REFUSED, "detail": detail}
    return Response(body, status=401, headers={"WWW-Authenticate": "Bearer"})


@sensitive_variables()
def user_of(kind, token):
    """The user of a valid token of this kind, or None."""
    try:
        return kind(token).get(api_settings.USER_ID_CLAIM) if token else None
    except TokenError:
        return None


@sensitive_variables()
def end_refresh_token(token):
    """Before the logout: otherwise a refresh in between brings a new access token."""
    try:
        if token:
            RefreshToken(token).blacklist()
    except TokenError:
        pass  # it has ended already: this is a second attempt


def end_all_refresh_tokens(user_id):
    for token in OutstandingToken.objects.filter(user_id=user_id):
        BlacklistedToken.objects.get_or_create(token=token)
