from __future__ import annotations

import base64
import hashlib

import pytest

from upload_url import errors, policy

ID = "0" * 32
DEFAULTS = {
    "prefix": "",
    "generated_keys": False,
    "expires": 600,
    "expires_max": 3600,
    "types": (),
    "max_bytes": None,
    "identity_header": "",
}


def policy_of(*, headers=(), forced_headers=(), **chosen):
    made = policy.Policy()
    for name, value in {**DEFAULTS, **chosen}.items():
        setattr(made, name, value)
    made.headers = headers
    made.header_beginnings = tuple(name[:-1] for name in headers if name.endswith("*"))
    made.forced_headers = {name.lower(): (name, value) for name, value in forced_headers}
    return made


ANY_HEADER = policy_of(headers=("*",))
MD5 = base64.b64encode(hashlib.md5(b"").digest()).decode()


def allow(fields, chosen=None, *, identity=None, sts=True):
    return policy.allow(fields, chosen or policy_of(), identity=identity, sts=sts, new_id=lambda: ID)


# -- fields


def test_an_empty_request_gets_a_made_key_and_the_default_life():
    upload = allow({})

    assert (upload.key, upload.headers, upload.size, upload.expires) == (ID, {}, None, 600)


@pytest.mark.parametrize("name", ["acl", "Key", "key ", "content_type", "", "identity", "x" * 5000])
def test_an_unknown_field_is_refused_by_name(name):
    with pytest.raises(errors.UnknownField) as refused:
        allow({name: "x"})

    assert refused.value.field.removesuffix("...") == name[:64]
    assert "contentType" in refused.value.allowed


@pytest.mark.parametrize("name", ["key", "filename", "contentType", "contentMd5"])
@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, ["a"]], ids=repr)
def test_a_text_field_of_another_type_is_refused(name, value):
    with pytest.raises(errors.InvalidField) as refused:
        allow({name: value})

    assert refused.value.field == name


@pytest.mark.parametrize("name", ["size", "expires"])
@pytest.mark.parametrize("value", [None, "5", "", 5.0, True, False, [], {}, float("nan")], ids=repr)
def test_a_number_field_of_another_type_is_refused(name, value):
    with pytest.raises(errors.InvalidField) as refused:
        allow({name: value})

    assert refused.value.field == name


@pytest.mark.parametrize("name", ["headers", "metadata"])
@pytest.mark.parametrize("value", [None, "a: b", [], [["a", "b"]], 5, True], ids=repr)
def test_a_table_of_another_type_is_refused(name, value):
    with pytest.raises(errors.InvalidField) as refused:
        allow({name: value})

    assert refused.value.field == name


@pytest.mark.parametrize("name", ["headers", "metadata"])
@pytest.mark.parametrize("value", [None, 5, True, ["a"], {"a": "b"}], ids=repr)
def test_a_table_with_another_value_than_text_is_refused(name, value):
    with pytest.raises(errors.InvalidField) as refused:
        allow({name: {"a": value}}, ANY_HEADER)

    assert refused.value.field == f"{name}.a"


# -- keys


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b.png",
        "?",
        "??a",
        "100%",
        "a b",
        "a+b",
        "#",
        "~",
        "'\"",
        "猫/图 1.png",
        "a\\b",
        "...",
        "a/..b",
        "👩\u200d🚀",
        "x" * 1023,
    ],
)
def test_a_good_key_is_taken_as_it_is(key):
    assert allow({"key": key}).key == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "\u00a0",
        "/a",
        "\\a",
        "a//b",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a/..",
        "a\nb",
        "a\rb",
        "a\x00",
        "a\x7f",
        "a\x85",
        "\x1b[0m",
        "x" * 1024,
        "猫" * 342,
        "a\ud800",
    ],
    ids=lambda key: ascii(key)[:12],
)
def test_a_key_that_oss_or_a_client_would_not_take_as_it_is_is_refused(key):
    with pytest.raises(errors.InvalidKey) as refused:
        allow({"key": key})

    assert refused.value.field == "key"
    assert refused.value.status == 400


@pytest.mark.parametrize("key", ["uploads", "upload/a", "Uploads/a", "a/uploads/b", "uploadsx/a"])
def test_a_key_outside_the_prefix_is_refused(key):
    with pytest.raises(errors.KeyNotAllowed) as refused:
        allow({"key": key}, policy_of(prefix="uploads/"))

    assert refused.value.allowed == ["uploads/*"]


def test_a_key_cannot_climb_out_of_the_prefix():
    with pytest.raises(errors.InvalidKey):
        allow({"key": "uploads/../secret"}, policy_of(prefix="uploads/"))


def test_a_key_inside_the_prefix_is_taken():
    assert allow({"key": "uploads/a"}, policy_of(prefix="uploads/")).key == "uploads/a"


def test_a_named_key_is_refused_where_keys_are_generated():
    with pytest.raises(errors.KeyNotAllowed) as refused:
        allow({"key": "uploads/a"}, policy_of(prefix="uploads/", generated_keys=True))

    assert refused.value.field == "key"


def test_key_and_filename_exclude_each_other():
    with pytest.raises(errors.InvalidField) as refused:
        allow({"key": "a", "filename": "a.png"})

    assert refused.value.field == "filename"


@pytest.mark.parametrize(
    ("filename", "extension"),
    [
        ("cat.png", ".png"),
        ("Cat.PNG", ".png"),
        ("a.tar.gz", ".gz"),
        ("C:\\photos\\cat.jpg", ".jpg"),
        ("photos/cat.jpg", ".jpg"),
        ("cat.jpg/dog", ""),
        ("cat.jpg\\dog", ""),
        (".htaccess", ""),
        ("a/.png", ""),
        ("cat", ""),
        ("cat.", ""),
        ("", ""),
        ("cat.p/g", ""),
        ("cat.p g", ""),
        ("cat.png\n", ""),
        ("cat.пнг", ""),
        ("cat.abcdefghij", ".abcdefghij"),
        ("cat.abcdefghijk", ""),
        ("../../etc/passwd.conf", ".conf"),
        ("猫.mp4", ".mp4"),
    ],
)
def test_a_made_key_keeps_only_a_plain_extension(filename, extension):
    upload = allow({"filename": filename}, policy_of(prefix="uploads/", generated_keys=True))

    assert upload.key == f"uploads/{ID}{extension}"


# -- identity


IDENTIFIED = policy_of(prefix="uploads/", identity_header="x-user-sub")


@pytest.mark.parametrize("identity", ["u", "google-oauth2|1234", "a@b.cd", "A:b+c_d-e.f", "...", "x" * 128])
def test_a_callers_identity_is_a_path_segment_after_the_prefix(identity):
    assert allow({}, IDENTIFIED, identity=identity).key == f"uploads/{identity}/{ID}"


def test_an_identified_caller_may_name_a_key_in_the_own_folder():
    assert allow({"key": "uploads/u/a"}, IDENTIFIED, identity="u").key == "uploads/u/a"


@pytest.mark.parametrize("key", ["uploads/a", "uploads/v/a", "uploads/u", "uploads/u2/a", "u/a"])
def test_an_identified_caller_may_not_write_elsewhere(key):
    with pytest.raises(errors.KeyNotAllowed):
        allow({"key": key}, IDENTIFIED, identity="u")


@pytest.mark.parametrize("identity", [None, ""], ids=repr)
def test_a_missing_identity_is_refused(identity):
    with pytest.raises(errors.IdentityMissing) as refused:
        allow({}, IDENTIFIED, identity=identity)

    assert refused.value.status == 401


@pytest.mark.parametrize(
    "identity",
    [
        "u,v",
        ",",
        "u,",
        ".",
        "..",
        "a/b",
        "../a",
        "a\\b",
        "a b",
        " a",
        "a\n",
        "a\x00",
        "é",
        "a%2fb",
        "x" * 129,
    ],
)
def test_an_odd_doubled_or_path_like_identity_is_refused(identity):
    with pytest.raises(errors.IdentityInvalid) as refused:
        allow({}, IDENTIFIED, identity=identity)

    assert refused.value.status == 401


def test_a_stranger_learns_nothing_of_the_request_before_being_identified():
    with pytest.raises(errors.IdentityMissing):
        allow({"no such field": 1}, IDENTIFIED)


def test_an_identity_that_nobody_asked_for_is_ignored():
    assert allow({}, policy_of(), identity="u").key == ID


# -- size and life


@pytest.mark.parametrize("size", [0, 1, 5 * 1024**3])
def test_a_size_is_bound_as_content_length(size):
    upload = allow({"size": size})

    assert upload.size == size
    assert upload.signed_headers() == {"Content-Length": str(size)}
    assert upload.headers == {}


@pytest.mark.parametrize(("size", "limit"), [(5 * 1024**3 + 1, None), (101, 100), (10**30, 100)])
def test_allow_refuses_a_size_over_the_limit(size, limit):
    with pytest.raises(errors.SizeNotAllowed) as refused:
        allow({"size": size}, policy_of(max_bytes=limit))

    assert refused.value.status == 413
    assert refused.value.limit == (limit or 5 * 1024**3)


def test_a_size_at_the_limit_is_taken():
    assert allow({"size": 100}, policy_of(max_bytes=100)).size == 100


def test_a_negative_size_is_refused():
    with pytest.raises(errors.InvalidField) as refused:
        allow({"size": -1})

    assert refused.value.field == "size"


def test_a_size_is_required_once_there_is_a_limit():
    with pytest.raises(errors.InvalidField) as refused:
        allow({}, policy_of(max_bytes=100))

    assert refused.value.field == "size"


@pytest.mark.parametrize("expires", [1, 3600])
def test_a_life_within_the_limit_is_taken(expires):
    assert allow({"expires": expires}).expires == expires


@pytest.mark.parametrize("expires", [0, -1, 3601, 10**30])
def test_a_life_out_of_range_is_refused(expires):
    with pytest.raises(errors.ExpiresOutOfRange) as refused:
        allow({"expires": expires})

    assert refused.value.limit == 3600


def test_sts_credentials_shorten_the_longest_life():
    chosen = policy_of(expires=604800, expires_max=604800)

    assert allow({}, chosen, sts=False).expires == 604800
    assert allow({}, chosen, sts=True).expires == 43200
    with pytest.raises(errors.ExpiresOutOfRange):
        allow({"expires": 43201}, chosen, sts=True)


# -- content type


@pytest.mark.parametrize(
    "content_type",
    [
        "image/png",
        "IMAGE/PNG",
        "application/vnd.api+json",
        "text/plain; charset=utf-8",
        "text/plain;charset=utf-8",
        'video/mp4; codecs="avc1.42E01E, mp4a.40.2"',
        "video/webm;codecs=vp8,opus",
        'a/b; c="\\""; d=e',
        "a/b ; c=d",
    ],
)
def test_a_media_type_is_bound_as_it_is(content_type):
    assert allow({"contentType": content_type}).headers == {"Content-Type": content_type}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        " ",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image/png/",
        "image/png/;a=b",
        "image;a=b",
        "/;a=b",
        "image /png",
        "image/png, text/html",
        "image/png;",
        "image/png; ",
        "image/png;charset",
        "image/png;=x",
        "image/png;x=",
        "image/png;x=,text/html",
        "image/png;x=a, text/html",
        'image/png;x="',
        'image/png;x="a"b',
        "image/png\r\nx-oss-object-acl: public-read",
        "image/png;x=\n",
        "image/p\u00f1g",
        "image/png;x=\u00f1",
        "*/*; q=\x00",
    ],
)
def test_a_malformed_media_type_is_refused(content_type):
    with pytest.raises(errors.InvalidField) as refused:
        allow({"contentType": content_type})

    assert refused.value.field == "contentType"


IMAGES = policy_of(types=("image/*", "application/pdf"))


@pytest.mark.parametrize(
    "content_type", ["image/png", "IMAGE/PNG", "application/pdf", "image/svg+xml; charset=utf-8"]
)
def test_a_listed_type_is_taken(content_type):
    assert allow({"contentType": content_type}, IMAGES).headers == {"Content-Type": content_type}


@pytest.mark.parametrize(
    "content_type", ["text/html", "imagex/png", "application/pdfx", "application/*", "x/image"]
)
def test_a_type_that_is_not_listed_is_refused(content_type):
    with pytest.raises(errors.ContentTypeNotAllowed) as refused:
        allow({"contentType": content_type}, IMAGES)

    assert refused.value.status == 403
    assert refused.value.allowed == ("image/*", "application/pdf")


def test_a_type_is_required_once_types_are_listed():
    with pytest.raises(errors.InvalidField) as refused:
        allow({}, IMAGES)

    assert refused.value.field == "contentType"


def test_a_type_among_the_headers_is_the_same_as_the_field():
    assert allow({"headers": {"content-TYPE": " image/png "}}, IMAGES).headers == {
        "Content-Type": "image/png"
    }


def test_a_type_among_the_headers_is_judged_like_the_field():
    with pytest.raises(errors.ContentTypeNotAllowed):
        allow({"headers": {"content-type": "text/html"}}, IMAGES)


def test_a_type_given_twice_alike_is_taken():
    upload = allow({"contentType": "a/b", "headers": {"content-type": "a/b"}})

    assert upload.headers == {"Content-Type": "a/b"}


@pytest.mark.parametrize(
    ("field", "name", "one", "other"),
    [
        ("contentType", "Content-Type", "a/b", "a/c"),
        ("contentMd5", "content-md5", MD5, "AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
)
def test_a_field_and_a_header_that_differ_are_refused(field, name, one, other):
    with pytest.raises(errors.InvalidField) as refused:
        allow({field: one, "headers": {name: other}})

    assert refused.value.field == field


# -- MD5


def test_an_md5_is_bound():
    assert allow({"contentMd5": MD5}).headers == {"Content-MD5": MD5}
    assert allow({"headers": {"content-md5": MD5}}).headers == {"Content-MD5": MD5}


@pytest.mark.parametrize(
    "md5",
    [
        "",
        "x",
        "d41d8cd98f00b204e9800998ecf8427e",
        MD5[:-1],
        MD5[:-2],
        MD5 + "=",
        "!" + MD5,
        MD5[:-3] + "h==",
        "é" * 24,
        MD5[:4] + "\n" + MD5[4:],
    ],
)
def test_what_is_no_md5_in_base64_is_refused(md5):
    with pytest.raises(errors.InvalidField) as refused:
        allow({"contentMd5": md5})

    assert refused.value.field == "contentMd5"


# -- headers


DEFAULT = policy_of(headers=("content-disposition", "cache-control", "x-oss-meta-*", "x-oss-storage-class"))


def test_listed_headers_are_bound_trimmed_and_in_the_callers_spelling():
    upload = allow({"headers": {"Content-Disposition": " attachment\t", "X-Oss-Meta-A": "b"}}, DEFAULT)

    assert upload.headers == {"Content-Disposition": "attachment", "X-Oss-Meta-A": "b"}


def test_metadata_is_bound_as_x_oss_meta():
    assert allow({"metadata": {"color": "blue"}}, DEFAULT).headers == {"x-oss-meta-color": "blue"}


@pytest.mark.parametrize(
    "name",
    [
        "x-oss-object-acl",
        "x-oss-callback",
        "x-oss-met",
        "x-oss-meta",
        "x-oss-metax",
        "x-oss-storage-class2",
        "etag",
    ],
)
def test_a_header_that_is_not_listed_is_refused(name):
    with pytest.raises(errors.HeaderNotAllowed) as refused:
        allow({"headers": {name: "x"}}, DEFAULT)

    assert refused.value.status == 403
    assert refused.value.field == f"headers.{name}"
    assert refused.value.allowed == DEFAULT.headers


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "Host",
        "content-length",
        "authorization",
        "x-oss-date",
        "x-oss-security-token",
        "x-oss-content-sha256",
        "x-oss-signature",
        "x-oss-signature-version",
        "X-OSS-Signature-Anything",
        "X-Oss-Copy-Source",
        "x-oss-copy-source-range",
        "x-oss-credential",
        "x-oss-expires",
        "x-oss-additional-headers",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ],
)
def test_some_headers_are_bound_by_nobody_whatever_is_listed(name):
    with pytest.raises(errors.HeaderNotAllowed) as refused:
        allow({"headers": {name: "x"}}, ANY_HEADER)

    assert refused.value.field == f"headers.{name}"


@pytest.mark.parametrize(
    "name", ["", "a b", "a_b", "a:b", "a/b", "a\r\nb", "é", "a\x00", "Ｋ", "(", "x-oss-meta-", "X-Oss-Meta-"]
)
def test_a_malformed_header_name_is_refused(name):
    with pytest.raises(errors.InvalidHeader):
        allow({"headers": {name: "x"}}, ANY_HEADER)


@pytest.mark.parametrize("name", ["", "a b", "a_b", "a\r\nx-oss-object-acl", "é"])
def test_a_malformed_metadata_name_is_refused(name):
    with pytest.raises(errors.InvalidHeader) as refused:
        allow({"metadata": {name: "x"}}, ANY_HEADER)

    assert refused.value.field == f"metadata.{name}"


@pytest.mark.parametrize(
    "value", ["", " ", "\t", "a\r\nb", "a\n", "\ra", "a\x00", "a\x7f", "é", "猫", "\u2028", "a\tb"], ids=ascii
)
def test_a_header_value_that_is_empty_or_not_printable_ascii_is_refused(value):
    with pytest.raises(errors.InvalidHeader) as refused:
        allow({"headers": {"cache-control": value}}, DEFAULT)

    assert refused.value.field == "headers.cache-control"


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"a": "1", "A": "1"}},
        {"headers": {"x-oss-meta-a": "1"}, "metadata": {"a": "1"}},
        {"metadata": {"a": "1", "A": "2"}},
        {"headers": {"content-type": "a/b", "Content-Type": "a/b"}},
        {"headers": {"content-type": "a/b", "Content-Type": "a/b"}, "contentType": "a/b"},
    ],
    ids=str,
)
def test_names_that_are_equal_in_lower_case_are_refused(fields):
    with pytest.raises(errors.InvalidHeader):
        allow(fields, ANY_HEADER)


def test_all_headers_together_have_at_most_8_kb():
    name = "x-oss-meta-a"

    assert allow({"headers": {name: "x" * (8192 - len(name))}}, DEFAULT)
    with pytest.raises(errors.InvalidHeader) as refused:
        allow({"headers": {name: "x" * (8193 - len(name))}}, DEFAULT)
    assert refused.value.limit == 8192


FORCED = policy_of(headers=DEFAULT.headers, forced_headers=[("X-Oss-Forbid-Overwrite", "true")])


def test_forced_headers_are_bound_to_every_upload():
    assert allow({}, FORCED).headers == {"X-Oss-Forbid-Overwrite": "true"}


def test_a_caller_may_repeat_a_forced_header_with_its_value():
    assert allow({"headers": {"x-oss-forbid-overwrite": "true"}}, FORCED).headers == {
        "x-oss-forbid-overwrite": "true"
    }


@pytest.mark.parametrize("value", ["false", "True", "true; x"])
def test_a_caller_may_not_change_a_forced_header(value):
    with pytest.raises(errors.HeaderNotAllowed) as refused:
        allow({"headers": {"x-oss-forbid-overwrite": value}}, FORCED)

    assert refused.value.field == "headers.x-oss-forbid-overwrite"


def test_forced_headers_count_in_the_8_kb():
    forced = policy_of(headers=("*",), forced_headers=[("x-oss-callback", "x" * 5000)])

    with pytest.raises(errors.InvalidHeader):
        allow({"metadata": {"a": "x" * 5000}}, forced)


# -- boundaries and words that nothing above holds


def test_the_longest_life_of_all_is_a_week():
    week = 604800
    lasting = policy_of(expires_max=10**6)

    assert allow({"expires": week}, lasting, sts=False).expires == week
    with pytest.raises(errors.ExpiresOutOfRange):
        allow({"expires": week + 1}, lasting, sts=False)


def test_without_a_size_no_length_is_signed():
    assert allow({}).signed_headers() == {}
    assert allow({"size": 0}).signed_headers() == {"Content-Length": "0"}


@pytest.mark.parametrize(
    ("filename", "extension"), [("a.c", ".c"), ("a\\.png", ""), ("a/.png", ""), ("a.", ""), ("a.b/c", "")]
)
def test_an_extension_may_be_one_character_and_is_of_a_name(filename, extension):
    assert allow({"filename": filename}).key == ID + extension


@pytest.mark.parametrize("key", ["a \u200d", "a\xa0\u200d"])
def test_blanks_beside_joiners_are_no_control_characters(key):
    assert allow({"key": key}).key == key


@pytest.mark.parametrize("key", ["a\x1f", "a\x80", "a\x9f"])
def test_the_last_control_characters_are_ones(key):
    with pytest.raises(errors.InvalidKey):
        allow({"key": key})


@pytest.mark.parametrize(("length", "shown"), [(64, "x" * 64), (65, "x" * 64 + "...")])
def test_a_name_is_repeated_up_to_64_characters(length, shown):
    with pytest.raises(errors.UnknownField) as refused:
        allow({"x" * length: 1})

    assert refused.value.field == shown


def test_a_second_identity_is_called_one():
    with pytest.raises(errors.IdentityInvalid, match="given twice"):
        allow({}, policy_of(identity_header="x"), identity="u,v")


def test_a_slash_at_the_ends_of_a_value_is_part_of_it():
    headers = {"cache-control": "/a/"}

    assert allow({"headers": headers}, ANY_HEADER).headers == headers


@pytest.mark.parametrize(
    ("name", "advice"),
    [("content-length", "size binds the length"), ("host", "the signature's, the connection's or a copy's")],
)
def test_who_may_not_bind_a_header_is_told_why(name, advice):
    with pytest.raises(errors.HeaderNotAllowed, match=advice):
        allow({"headers": {name: "1"}}, ANY_HEADER)


@pytest.mark.parametrize(
    ("fields", "chosen", "field"),
    [
        ({"key": "/"}, policy_of(), "key"),
        ({"key": "a"}, policy_of(prefix="u/"), "key"),
        ({"key": "a"}, policy_of(generated_keys=True), "key"),
        ({"key": "a", "filename": "b"}, policy_of(), "filename"),
        ({"size": -1}, policy_of(), "size"),
        ({"size": 2}, policy_of(max_bytes=1), "size"),
        ({}, policy_of(max_bytes=1), "size"),
        ({"expires": 0}, policy_of(), "expires"),
        ({"contentType": "x"}, policy_of(), "contentType"),
        ({"contentType": "a/b"}, policy_of(types=("c/d",)), "contentType"),
        ({"headers": {"content-type": "x"}}, policy_of(), "contentType"),
        ({}, policy_of(types=("c/d",)), "contentType"),
        ({"contentMd5": "x"}, policy_of(), "contentMd5"),
        ({"headers": {"content-md5": "x"}}, policy_of(), "contentMd5"),
    ],
    ids=str,
)
def test_a_refusal_names_the_field(fields, chosen, field):
    with pytest.raises(errors.Refusal) as refused:
        allow(fields, chosen)

    assert refused.value.field == field


@pytest.mark.parametrize("name", ["x-oss-meta", "x-oss-met", "x-oss-metax", "y-x-oss-meta-a"])
def test_a_star_stands_for_what_follows_and_nothing_before_it(name):
    with pytest.raises(errors.HeaderNotAllowed):
        allow({"headers": {name: "1"}}, policy_of(headers=("x-oss-meta-*",)))
