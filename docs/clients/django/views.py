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


class RefreshSerializer(TokenRefreshSerializer):
    def validate(self, attrs):
        data = super().validate(attrs)
        confirmed(curfew.register, data["access"], self.context["request"])
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
    try:
        end_all_refresh_tokens(AccessToken(token)[api_settings.USER_ID_CLAIM])
    except TokenError:
        pass  # it is no token of ours, or has expired: Curfew says which
    return Response({"outcome": confirmed(curfew.logout_all_devices, token)})


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
