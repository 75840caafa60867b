"""What an attacker or an unlucky user puts into a request: hypothesis strategies that the sweeps share."""

from __future__ import annotations

from hypothesis import strategies as st

from tests import official_sdks
from upload_url.policy import HEADER_NAME, is_never_bound, key_fault

#: Characters that some encoder, shell, parser or operating system trips over.
NASTY = " +%&?#=~'\"\\/;:,@!$()*[]{}<>|^`-._ß中文é😀\u202e\u200d\ufeff\u00a0\u0085\x7f\t\r\n\x00"

texts = st.text(st.sampled_from(NASTY) | st.characters(codec="utf-8"), max_size=60)
#: Keys, most of which the policy accepts.
keys = st.lists(texts, min_size=1, max_size=4).map("/".join)
good_keys = keys.filter(lambda key: key_fault(key) is None)

header_names = st.one_of(
    st.sampled_from(
        [
            "content-disposition",
            "Cache-Control",
            "EXPIRES",
            "content-language",
            "x-oss-storage-class",
            "x-oss-forbid-overwrite",
        ]
    ),
    st.text(HEADER_NAME, min_size=1, max_size=20),
    st.text(HEADER_NAME, min_size=1, max_size=20).map("x-oss-meta-".__add__),
    st.text(HEADER_NAME, min_size=1, max_size=20).map("X-Oss-".__add__),
).filter(lambda name: not is_never_bound(name.lower()))
#: Printable ASCII without blanks at the ends: what the policy lets through.
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40).filter(
    lambda value: value == value.strip()
)
good_headers = st.dictionaries(header_names, header_values, max_size=6).filter(
    lambda headers: len({name.lower() for name in headers}) == len(headers)
)
tokens = st.just("") | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=900)
media_types = st.sampled_from(
    [
        "image/png",
        "IMAGE/PNG",
        "image/svg+xml",
        "application/pdf",
        "text/plain; charset=utf-8",
        'video/mp4;codecs="a, b"',
    ]
)
#: What `official_sdks.three_urls` takes.
signings = st.fixed_dictionaries(
    {
        "key": good_keys,
        "headers": good_headers,
        "size": st.none() | st.integers(0, 5 * 1024**3),
        "content_type": st.none() | media_types,
        "token": tokens,
        "expires": st.integers(1, 604800),
        "endpoint": st.sampled_from(official_sdks.ENDPOINTS),
    }
)
