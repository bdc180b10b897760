"""Manifests of any kind, for property tests."""

from hypothesis import strategies as st

from tasks.code.manifest import Entry, Manifest, new_hash

names = st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_"))
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
digests = st.binary(max_size=8).map(lambda b: new_hash(b).hexdigest())
entries = st.one_of(
    paths.map(lambda path: Entry(path, "d", 0o755)),
    st.tuples(paths, st.sampled_from([0o644, 0o755]), st.integers(0, 1 << 40), digests).map(
        lambda f: Entry(f[0], "f", f[1], f[2], f[3])
    ),
    st.tuples(paths, paths).map(lambda link: Entry(link[0], "l", target=link[1])),
)
manifests = st.lists(entries, unique_by=lambda e: e.path).map(Manifest)
