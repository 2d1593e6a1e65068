from django.urls import path

from quiz.plan import views

urlpatterns = [
    path("", views.plan, name="plan"),
    path("wish/", views.wish, name="plan-wish"),
    path("forget/", views.forget, name="plan-forget"),
    path("use/", views.use, name="plan-use"),
    path("cut/", views.cut, name="plan-cut"),
]
