from accounts import views
from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

urlpatterns = [
    path("login", TokenObtainPairView.as_view()),
    path("refresh", TokenRefreshView.as_view()),
    path("logout", views.logout),
    path("logout-all-devices", views.logout_all_devices),
    path("change-password", views.change_password),
]
