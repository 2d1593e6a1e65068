"""A run belongs to who asked for it: others get the same answer as for a run that does not exist."""

import pytest
from django.conf import settings
from django.urls import reverse

from labs.models import Artifact, Run
from tests.builders import make_run, with_losses

pytestmark = pytest.mark.django_db

READ = ["labs-run", "labs-progress"]


@pytest.fixture
def run(alice) -> Run:
    return make_run(alice, status=Run.QUEUED)


@pytest.fixture
def kept(run) -> Artifact:
    """A file of alice's run."""
    folder = settings.RUNS_DIR / str(run.pk) / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter.safetensors").write_bytes(b"weights")
    return Artifact.objects.create(run=run, name="adapter.safetensors", size=7, sha256="a" * 64)


@pytest.mark.parametrize("name", READ)
def test_the_owner_and_staff_see_a_run(as_alice, as_staff, run, name):
    for client in (as_alice, as_staff):
        assert client.get(reverse(name, args=[run.pk])).status_code == 200


@pytest.mark.parametrize("name", READ)
def test_others_see_nothing(as_bob, as_charlie, run, name):
    for client in (as_bob, as_charlie):
        response = client.get(reverse(name, args=[run.pk]))
        missing = client.get(reverse(name, args=[run.pk + 1000]))
        assert response.status_code == missing.status_code == 404
        assert "alice" not in response.content.decode()


@pytest.mark.parametrize("name", READ)
def test_everybody_sees_a_reference_run(as_bob, as_charlie, name):
    run = with_losses(make_run(), 1.0, 1.1)
    for client in (as_bob, as_charlie):
        assert client.get(reverse(name, args=[run.pk])).status_code in (200, 286)


def test_only_the_owner_and_staff_cancel(as_alice, as_bob, as_charlie, as_staff, run):
    address = reverse("labs-cancel", args=[run.pk])
    assert as_bob.post(address).status_code == 404
    assert as_charlie.post(address).url == f"/login/?next={address}"
    run.refresh_from_db()
    assert run.status == Run.QUEUED
    assert as_alice.post(address).url == run.get_absolute_url()
    run.refresh_from_db()
    assert run.status == Run.CANCELLED
    other = make_run(run.owner, status=Run.QUEUED)
    assert as_staff.post(reverse("labs-cancel", args=[other.pk])).status_code == 302


def test_a_reference_run_cannot_be_cancelled(as_staff):
    assert as_staff.post(reverse("labs-cancel", args=[make_run().pk])).status_code == 404


def test_the_owner_downloads_a_file(as_alice, run, kept):
    response = as_alice.get(reverse("labs-artifact", args=[run.pk, kept.name]))
    assert b"".join(response.streaming_content) == b"weights"
    assert response["Content-Disposition"] == 'attachment; filename="adapter.safetensors"'


def test_others_download_nothing(as_bob, as_charlie, run, kept):
    for client in (as_bob, as_charlie):
        assert client.get(reverse("labs-artifact", args=[run.pk, kept.name])).status_code == 404


def test_a_file_that_is_gone_or_was_never_kept_is_not_found(as_alice, run, kept):
    (settings.RUNS_DIR / str(run.pk) / "artifacts" / kept.name).unlink()
    for name in (kept.name, "log.txt", "..", "%2e%2e%2fsecret_key"):
        assert as_alice.get(f"/runs/{run.pk}/artifacts/{name}/").status_code == 404


def test_a_list_of_runs_shows_ones_own_and_the_reference(as_alice, as_bob, as_staff, run):
    reference = make_run()
    seen = {
        name: [r.pk for r in client.get("/runs/").context["page"]]
        for name, client in {"alice": as_alice, "bob": as_bob, "staff": as_staff}.items()
    }
    assert seen == {
        "alice": [reference.pk, run.pk],
        "bob": [reference.pk],
        "staff": [reference.pk, run.pk],
    }


def test_a_claims_page_shows_only_runs_that_one_may_see(as_alice, as_bob):
    from tests.builders import make_measured_claim

    claim = make_measured_claim()
    own = make_run(as_alice.get("/runs/").context["user"])
    assert own.get_absolute_url() in as_alice.get(claim.get_absolute_url()).content.decode()
    assert own.get_absolute_url() not in as_bob.get(claim.get_absolute_url()).content.decode()


def test_only_staff_read_tracebacks(as_alice, as_staff, run):
    Run.objects.update(
        status=Run.FAILED, reason_code="own", reason_args={"en": "Out of memory."}, traceback="File /secret/path.py"
    )
    assert "Out of memory." in as_alice.get(run.get_absolute_url()).content.decode()
    assert "/secret/path.py" not in as_alice.get(run.get_absolute_url()).content.decode()
    assert "/secret/path.py" in as_staff.get(run.get_absolute_url()).content.decode()
