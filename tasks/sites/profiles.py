"""What an application needs: what of it is data, which files of ours it gets, how it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable

from tasks.errors import PlanRefused

_FILES = files("tasks.sites") / "profiles"


def _read(path: str) -> str:
    return _FILES.joinpath(path).read_text("utf-8")


# What `php -r` runs to take an environment and a script from standard input.
BOOTSTRAP = _read("bootstrap.php")


@dataclass(frozen=True, slots=True)
class Profile:
    """An application. `{uri}` in a value stands for the site's host name.

    `data` are directories in the site's data directory that PHP may write; `mounts` map URL prefixes to
    some of them. `excluded` are paths in the document root (`*` is any one name) that are data or secrets of
    one installation, and no part of a release. `link` is where the document root has to lead to the site's
    data directory. `settings` is the template of the settings file and `installer` the script that installs,
    or empty. `setup_pages` are where it sends its visitors when it lost its settings or its database.
    """

    name: str
    title: str
    data: tuple[str, ...] = ("files", "private")
    mounts: tuple[tuple[str, str], ...] = ()
    denied: tuple[str, ...] = ()
    php_denied: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    front_controller: str = "index.php"
    link: str | None = None
    settings: str = field(default="", repr=False)
    installer: str = field(default="", repr=False)
    health_path: str = "/"
    setup_pages: tuple[str, ...] = ()


_PROFILES = {
    profile.name: profile
    for profile in (
        Profile("php", "plain PHP"),
        Profile(
            "wordpress",
            "WordPress",
            mounts=(("/wp-content/uploads/", "files"),),
            excluded=("wp-content/uploads",),
            settings=_read("wordpress/settings.php"),
            installer=_read("wordpress/install.php"),
            setup_pages=("/wp-admin/setup-config.php", "/wp-admin/install.php"),
        ),
        Profile(
            "drupal",
            "Drupal",
            # Drupal finds a site by its directory, so `sites/<uri>` leads to the data directory; of all that
            # is in there, the web sees the public files only.
            data=("files", "private", "private/config", "private/files"),
            mounts=(("/sites/{uri}/files/", "files"),),
            # Other sites are linked there, too: denying only the own directory would run their uploads.
            denied=("/sites/",),
            php_denied=("/sites/all/", "/sites/default/"),
            excluded=("sites/*/files", "sites/*/private", "sites/*/settings.local.php"),
            link="sites/{uri}",
            settings=_read("drupal/settings.php"),
            installer=_read("drupal/install.php"),
        ),
    )
}


def profile_names() -> tuple[str, ...]:
    return tuple(sorted(_PROFILES))


def load_profile(name: str) -> Profile:
    """Return the profile called `name`; raises PlanRefused with the known names."""
    try:
        return _PROFILES[name]
    except KeyError:
        raise PlanRefused(
            f"there is no profile {name!a}", f"Use one of {', '.join(profile_names())}"
        ) from None


def overlay_files(profile: Profile, docroot: str = "") -> Mapping[str, bytes]:
    """Return the files that every release of the profile gets, by path in the release, sorted."""
    top = _FILES / profile.name / "overlay"
    prefix = f"{docroot}/" if docroot else ""
    found = dict(_walk(top, prefix)) if top.is_dir() else {}
    return dict(sorted(found.items()))


def _walk(directory: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in directory.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
