from django.urls import path

from kb import views

urlpatterns = [
    path("", views.home, name="kb-home"),
    path("topics/", views.topics, name="kb-topics"),
    path("topics/<slug:slug>/", views.topic, name="kb-topic"),
    path("points/<slug:slug>/", views.point, name="kb-point"),
    path("search/", views.search_page, name="kb-search"),
    path("glossary/", views.glossary, name="kb-glossary"),
    path("references/", views.reference_list, name="kb-references"),
]
