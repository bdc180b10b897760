"""What a registered site keeps others from: its names, and its platform from becoming another one."""

from collections.abc import Iterator
from typing import Any

import pytest

from blocks import Cluster, Platform, Site, WebServer, site_block_name
from flows.create_platform import create_platform, refuse_change
from flows.registry import refuse_taken_names
from tasks.errors import PlanRefused
from tests.flows.registered import a_site, save_cluster, save_site

BLOG, URI, ALIAS, OLD = "registry-blog", "registry.example.org", "weblog.example.org", "old.example.org"
NEW = "new.registry.example.org"


@pytest.fixture(scope="module")
def cluster(prefect_server: str) -> Iterator[Cluster]:
    """The cluster of a WordPress that has a site; other tests see nothing of the site afterwards."""
    cluster = save_cluster("registry-web")
    Platform(target=cluster, source="/srv/blog", docroot="/web/", profile="wordpress").save(BLOG)
    save_site(URI, BLOG, aliases=[ALIAS], redirects=[OLD])
    yield cluster
    Site.unregister(site_block_name(URI))


@pytest.mark.parametrize("taken", [URI, ALIAS, OLD])
def test_every_name_of_a_site_is_taken(cluster: Cluster, taken: str) -> None:
    wanted: list[dict[str, Any]] = [{"uri": NEW, "aliases": [taken]}, {"uri": NEW, "redirects": [taken]}]
    if taken != URI:
        wanted.append({"uri": taken})
    for names in wanted:
        with pytest.raises(PlanRefused, match=f"the name {taken} already belongs to the site {URI}"):
            refuse_taken_names(a_site(**names))


def test_a_site_may_change_its_own_names(cluster: Cluster) -> None:
    refuse_taken_names(a_site(uri=URI, aliases=[OLD], redirects=[ALIAS]))
    refuse_taken_names(a_site(uri=NEW, aliases=["other.registry.example.org"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "php", "docroot": "web"}, "has the profile wordpress, .* asked for is php"),
        ({"profile": "wordpress", "docroot": ""}, "has the document root web, .* asked for is .the top."),
    ],
    ids=["profile", "document root"],
)
def test_a_platform_with_sites_stays_what_they_run_on(
    cluster: Cluster, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanRefused, match=message) as refused:
        refuse_change(BLOG, cluster, **change)
    assert URI in str(refused.value)
    assert "run deploy-platform" in str(refused.value)


def test_a_platform_with_sites_stays_where_they_are(cluster: Cluster) -> None:
    elsewhere = Cluster(servers=cluster.servers)
    elsewhere.take_name("registry-other")
    # It may have the name of the cluster, and is another target all the same.
    server = WebServer.get(cluster.servers[0], "a test")
    server.take_name(cluster.name)
    for target, asked in ((elsewhere, "cluster registry-other"), (server, "web-server registry-web")):
        with pytest.raises(PlanRefused, match=f"the target cluster registry-web, .* asked for is {asked}"):
            refuse_change(BLOG, target, "wordpress", "web")


def test_a_platform_without_sites_may_become_another(cluster: Cluster) -> None:
    Platform(target=cluster, source="/srv/bare", profile="wordpress").save("registry-bare", overwrite=True)
    assert refuse_change("registry-bare", cluster, "php", "web") is not None
    assert refuse_change("registry-unknown", cluster, "php", "") is None
    assert refuse_change(BLOG, cluster, "wordpress", "web") is not None


def test_the_form_as_it_is_preset_does_not_take_the_profile_from_a_wordpress(cluster: Cluster) -> None:
    state = create_platform(platform=BLOG, target=cluster, source="/srv/blog", return_state=True)
    assert state.is_failed()
    assert "has the profile wordpress" in str(state.message)
    registered = Platform.get(BLOG, "a test")
    assert (registered.profile, registered.docroot) == ("wordpress", "/web/")
