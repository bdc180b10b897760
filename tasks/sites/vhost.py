"""A site as its web servers have to serve it."""

from __future__ import annotations

from pydantic import SecretStr

from tasks.sites.plan import Credentials, Site
from tasks.sites.profiles import Profile
from tasks.web.vhost import DataMount, Vhost


def environment_for(site: Site, credentials: Credentials | None) -> tuple[tuple[str, str | SecretStr], ...]:
    """Return what PHP gets to know about its site, in `$_SERVER`.

    An IPv6 address of the database is in brackets, as PHP's mysqli and PDO want it (mysqlnd).
    """
    values: list[tuple[str, str | SecretStr]] = [
        ("PACKMASTER_SITE", site.uri),
        ("PACKMASTER_DATA", site.directory),
    ]
    if credentials is not None:
        values += [
            ("DB_HOST", f"[{credentials.host}]" if ":" in credentials.host else credentials.host),
            ("DB_PORT", str(credentials.port)),
            ("DB_NAME", credentials.database),
            ("DB_USER", credentials.user),
            ("DB_PASSWORD", credentials.password),
        ]
    return tuple(values)


def vhost_for(site: Site, profile: Profile, credentials: Credentials | None) -> Vhost:
    """Return the vhost of `site`: the code through `current`, its data, its database as environment."""

    def of_site(prefixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(prefix.replace("{uri}", site.uri) for prefix in prefixes)

    return Vhost(
        site=site.uri,
        platform=site.platform,
        docroot=site.docroot_in(),
        aliases=site.aliases,
        redirects=site.redirects,
        data=tuple(
            DataMount(url.replace("{uri}", site.uri), f"{site.directory}/{directory}")
            for url, directory in profile.mounts
        ),
        environment=environment_for(site, credentials),
        front_controller=profile.front_controller,
        denied=of_site(profile.denied),
        php_denied=of_site(profile.php_denied),
        enabled=site.enabled,
    )
