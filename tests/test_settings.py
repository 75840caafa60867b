from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from upload_url import errors, settings

BASE = {"OSS_BUCKET": "my-bucket", "OSS_REGION": "cn-hangzhou"}


def load(**variables):
    return settings.load({**BASE, **variables})


def faults(**variables):
    with pytest.raises(errors.Misconfigured) as refused:
        load(**variables)
    return refused.value.log


def test_bucket_and_region_are_enough():
    loaded = load()

    assert (loaded.bucket, loaded.region, loaded.signer, loaded.origins) == (
        "my-bucket",
        "cn-hangzhou",
        "native",
        (),
    )
    assert loaded.base_url == "https://my-bucket.oss-cn-hangzhou.aliyuncs.com"
    assert loaded.policy.prefix == ""
    assert not loaded.policy.generated_keys
    assert (loaded.policy.expires, loaded.policy.expires_max) == (600, 3600)
    assert (loaded.policy.types, loaded.policy.max_bytes, loaded.policy.identity_header) == ((), None, "")
    assert loaded.policy.forced_headers == {}


@pytest.mark.parametrize("name", settings.NAMES)
def test_an_empty_variable_counts_as_unset(name):
    without = {key: value for key, value in BASE.items() if key != name}

    try:
        expected = settings.load(without, "cn-hangzhou").base_url
    except errors.Misconfigured as refused:
        expected = refused.log
    try:
        found = settings.load({**without, name: ""}, "cn-hangzhou").base_url
    except errors.Misconfigured as refused:
        found = refused.log

    assert found == expected


def test_all_faults_are_reported_together():
    with pytest.raises(errors.Misconfigured) as refused:
        settings.load(
            {
                "OSS_REGION": "oss-cn-hangzhou",
                "OSS_ENDPOINT": "ftp://x",
                "OSS_SIGNER": "boto",
                "UPLOAD_PREFIX": "/a",
                "UPLOAD_EXPIRES": "soon",
                "UPLOAD_TYPES": "image",
                "UPLOAD_MAX_BYTES": "1k",
                "UPLOAD_FORCED_HEADERS": "[]",
                "CORS_ORIGINS": "example.com",
            }
        )

    assert [fault.split(" ")[0].rstrip(":") for fault in refused.value.log] == [
        "OSS_BUCKET",
        "OSS_REGION",
        "OSS_ENDPOINT",
        "OSS_SIGNER",
        "CORS_ORIGINS",
        "UPLOAD_PREFIX",
        "UPLOAD_EXPIRES",
        "UPLOAD_TYPES",
        "UPLOAD_MAX_BYTES",
        "UPLOAD_FORCED_HEADERS",
    ]
    assert "oss-cn" not in str(refused.value)


@pytest.mark.parametrize(
    "bucket", ["ab", "x" * 64, "My-Bucket", "a_b", "a.b", "-ab", "ab-", "a b", "bücket", "a/b"]
)
def test_what_is_no_bucket_name_is_a_fault(bucket):
    assert faults(OSS_BUCKET=bucket)[0].startswith("OSS_BUCKET: ")


@pytest.mark.parametrize("bucket", ["abc", "x" * 63, "a-1", "0ab"])
def test_a_bucket_name_is_taken(bucket):
    assert load(OSS_BUCKET=bucket).bucket == bucket


def test_the_region_is_that_of_the_variable_then_of_fc_then_of_the_context():
    assert settings.load({**BASE, "FC_REGION": "cn-beijing"}, "cn-shanghai").region == "cn-hangzhou"
    assert (
        settings.load({"OSS_BUCKET": "abc", "FC_REGION": "cn-beijing"}, "cn-shanghai").region == "cn-beijing"
    )
    assert settings.load({"OSS_BUCKET": "abc"}, "cn-shanghai").region == "cn-shanghai"
    with pytest.raises(errors.Misconfigured):
        settings.load({"OSS_BUCKET": "abc"})


def test_a_region_with_oss_in_front_is_a_named_mistake():
    assert faults(OSS_REGION="oss-cn-hangzhou") == [
        "OSS_REGION: write cn-hangzhou for oss-cn-hangzhou; oss- is part of host names only."
    ]


@pytest.mark.parametrize(
    "region", ["cn_hangzhou", "CN-HANGZHOU", "cn-hangzhou.aliyuncs.com", "https://x", "a b", "ü"]
)
def test_what_is_no_region_is_a_fault(region):
    assert faults(OSS_REGION=region)[0].startswith("OSS_REGION: ")


@pytest.mark.parametrize(
    ("endpoint", "base_url", "address", "custom_domain"),
    [
        (
            "public",
            "https://my-bucket.oss-cn-hangzhou.aliyuncs.com",
            "https://oss-cn-hangzhou.aliyuncs.com",
            False,
        ),
        (
            "internal",
            "https://my-bucket.oss-cn-hangzhou-internal.aliyuncs.com",
            "https://oss-cn-hangzhou-internal.aliyuncs.com",
            False,
        ),
        (
            "accelerate",
            "https://my-bucket.oss-accelerate.aliyuncs.com",
            "https://oss-accelerate.aliyuncs.com",
            False,
        ),
        (
            "accelerate-overseas",
            "https://my-bucket.oss-accelerate-overseas.aliyuncs.com",
            "https://oss-accelerate-overseas.aliyuncs.com",
            False,
        ),
        (
            "dual-stack",
            "https://my-bucket.cn-hangzhou.oss.aliyuncs.com",
            "https://cn-hangzhou.oss.aliyuncs.com",
            False,
        ),
        (
            "https://oss-cn-hzfinance.aliyuncs.com",
            "https://my-bucket.oss-cn-hzfinance.aliyuncs.com",
            "https://oss-cn-hzfinance.aliyuncs.com",
            False,
        ),
        (
            "HTTPS://OSS-cn-hzfinance.aliyuncs.com/",
            "https://my-bucket.oss-cn-hzfinance.aliyuncs.com",
            "https://oss-cn-hzfinance.aliyuncs.com",
            False,
        ),
        ("https://upload.example.com", "https://upload.example.com", "https://upload.example.com", True),
        (
            "https://my-bucket.example.com:8443",
            "https://my-bucket.example.com:8443",
            "https://my-bucket.example.com:8443",
            True,
        ),
        (
            "https://aliyuncs.com.example.com",
            "https://aliyuncs.com.example.com",
            "https://aliyuncs.com.example.com",
            True,
        ),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/my-bucket", "http://127.0.0.1:9000", False),
        ("https://10.0.0.1", "https://10.0.0.1/my-bucket", "https://10.0.0.1", False),
        ("http://localhost:9000/", "http://localhost:9000/my-bucket", "http://localhost:9000", False),
    ],
)
def test_an_endpoint_gives_the_base_url(endpoint, base_url, address, custom_domain):
    loaded = load(OSS_ENDPOINT=endpoint)

    assert (loaded.base_url, loaded.endpoint, loaded.custom_domain) == (base_url, address, custom_domain)
    assert loaded.region == "cn-hangzhou"


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("extern", "neither one of public"),
        ("oss-cn-hangzhou.aliyuncs.com", "neither one of public"),
        ("ftp://example.com", "neither one of public"),
        ("http://example.com", "write https://"),
        ("http://oss-cn-hangzhou.aliyuncs.com", "write https://"),
        ("http://1.2.3.4.5", "write https://"),
        ("http://256.0.0.1", "write https://"),
        ("https://example.com/path", "must end after its host"),
        ("https://127.0.0.1/my-bucket", "must end after its host"),
        ("https://user@example.com", "must end after its host"),
        ("https://example.com?x=1", "must end after its host"),
        ("https://example.com#x", "must end after its host"),
        ("https://example.com:port", "must end after its host"),
        ("https://example.com:0", "must end after its host"),
        ("https://example.com:65536", "must end after its host"),
        ("https://example.com:9999999", "must end after its host"),
        ("https://example.com:", "must end after its host"),
        ("https://", "must end after its host"),
        ("https://.aliyuncs.com", "must end after its host"),
        ("https://a..b", "must end after its host"),
        ("https://ex ample.com", "must end after its host"),
        ("https://ex\nample.com", "must end after its host"),
        ("https://[::1]:9000", "must end after its host"),
        (
            "https://my-bucket.oss-cn-hangzhou.aliyuncs.com",
            "leave the bucket out: https://oss-cn-hangzhou.aliyuncs.com",
        ),
        ("https://s3.oss-cn-hangzhou.aliyuncs.com", "another signature"),
    ],
)
def test_an_endpoint_that_cannot_work_is_a_named_mistake(endpoint, says):
    (fault,) = faults(OSS_ENDPOINT=endpoint)

    assert fault.startswith("OSS_ENDPOINT: ")
    assert says in fault


@pytest.mark.parametrize("endpoint", ["public", "internal", "dual-stack"])
def test_a_finance_region_needs_an_address(endpoint):
    (fault,) = faults(OSS_REGION="cn-hangzhou-finance", OSS_ENDPOINT=endpoint)

    assert "write the address" in fault


def test_a_finance_region_with_an_address_is_signed_for_that_region():
    loaded = load(OSS_REGION="cn-hangzhou-finance", OSS_ENDPOINT="https://oss-cn-hzfinance.aliyuncs.com")

    assert loaded.region == "cn-hangzhou-finance"
    assert loaded.base_url == "https://my-bucket.oss-cn-hzfinance.aliyuncs.com"


def test_a_government_region_follows_the_pattern():
    assert (
        load(OSS_REGION="cn-north-2-gov-1").base_url == "https://my-bucket.oss-cn-north-2-gov-1.aliyuncs.com"
    )


@pytest.mark.parametrize("endpoint", ["internal", "accelerate", "accelerate-overseas", "dual-stack"])
def test_a_bucket_without_a_region_of_its_own_has_the_public_endpoint_only(endpoint):
    assert (
        load(OSS_REGION="rg-china-mainland").base_url
        == "https://my-bucket.oss-rg-china-mainland.aliyuncs.com"
    )
    (fault,) = faults(OSS_REGION="rg-china-mainland", OSS_ENDPOINT=endpoint)
    assert fault == f"OSS_ENDPOINT: rg-china-mainland has no {endpoint} endpoint."


@pytest.mark.parametrize("prefix", ["uploads/", "a/b c/", "图/", "x" * 850 + "/"])
def test_a_prefix_is_taken(prefix):
    assert load(UPLOAD_PREFIX=prefix).policy.prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["uploads", "/uploads/", "/", "\\a/", "a//b/", "../a/", "a/../", "a/./", "a\n/", "x" * 851 + "/", " "],
)
def test_a_prefix_that_no_key_can_have_is_a_fault(prefix):
    (fault,) = faults(UPLOAD_PREFIX=prefix)

    assert fault.startswith("UPLOAD_PREFIX")


def test_keys_are_the_callers_or_generated():
    assert not load(UPLOAD_KEYS="client").policy.generated_keys
    assert load(UPLOAD_KEYS="generated").policy.generated_keys
    assert faults(UPLOAD_KEYS="random") == ["UPLOAD_KEYS: random is none of client, generated."]


def test_the_signer_is_one_of_two():
    assert load(OSS_SIGNER="oss2").signer == "oss2"
    assert faults(OSS_SIGNER="OSS2") == ["OSS_SIGNER: OSS2 is none of native, oss2."]


def test_lives_are_seconds_and_clamped_to_seven_days():
    loaded = load(UPLOAD_EXPIRES="700000", UPLOAD_EXPIRES_MAX="700001").policy

    assert (loaded.expires, loaded.expires_max) == (604800, 604800)


@pytest.mark.parametrize("name", ["UPLOAD_EXPIRES", "UPLOAD_EXPIRES_MAX", "UPLOAD_MAX_BYTES"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "10m", "1e3", "٣", "ten", "9" * 5000])
def test_what_is_no_number_above_zero_is_a_fault(name, value):
    assert faults(**{name: value})[0].startswith(f"{name}: ")


def test_a_default_life_above_the_longest_is_a_fault():
    assert faults(UPLOAD_EXPIRES="3601") == ["UPLOAD_EXPIRES (3601) is above UPLOAD_EXPIRES_MAX (3600)."]


def test_a_size_limit_is_at_most_what_oss_takes():
    assert load(UPLOAD_MAX_BYTES=str(5 * 1024**3)).policy.max_bytes == 5 * 1024**3
    assert "at most 5368709120 bytes" in faults(UPLOAD_MAX_BYTES=str(5 * 1024**3 + 1))[0]


def test_types_are_a_comma_list_in_any_case():
    assert load(UPLOAD_TYPES=" image/*, Application/PDF ,").policy.types == ("image/*", "application/pdf")


@pytest.mark.parametrize(
    "types",
    [
        "image",
        "image/",
        "/png",
        "image/p*",
        "*/*",
        "*",
        "*/png",
        "a/b/c",
        "image/png;q=1",
        "image/**",
        "image/*x",
        "a b/c",
    ],
)
def test_what_is_no_media_type_is_a_fault(types):
    assert faults(UPLOAD_TYPES=types)[0].startswith("UPLOAD_TYPES: ")


def test_headers_are_a_comma_list_that_replaces_the_default():
    assert load(UPLOAD_HEADERS="X-Oss-Object-Acl, x-oss-meta-*").policy.headers == (
        "x-oss-object-acl",
        "x-oss-meta-*",
    )


@pytest.mark.parametrize("headers", ["a b", "x-*-y", "a_b", "é", "**", "a:b"])
def test_what_is_no_header_name_is_a_fault(headers):
    assert faults(UPLOAD_HEADERS=headers)[0].startswith("UPLOAD_HEADERS: ")


def test_a_star_makes_a_beginning_of_a_header_name():
    assert load().policy.header_beginnings == ("x-oss-meta-",)
    assert load(UPLOAD_HEADERS="X-A-*, *, b").policy.header_beginnings == ("x-a-", "")


def test_forced_headers_are_a_json_object():
    loaded = load(UPLOAD_FORCED_HEADERS='{"x-oss-forbid-overwrite":"true", "X-Oss-Callback": " e30= "}')

    assert loaded.policy.forced_headers == {
        "x-oss-forbid-overwrite": ("x-oss-forbid-overwrite", "true"),
        "x-oss-callback": ("X-Oss-Callback", "e30="),
    }


@pytest.mark.parametrize(
    "forced",
    [
        "x",
        "[]",
        "[[1,2]]",
        "null",
        '"a"',
        "{",
        "{'a':'b'}",
        "[" * 100_000,
        '{"a":1}',
        '{"a":null}',
        '{"a":{"b":"c"}}',
        '{"a":""}',
        '{"a":"\\r\\nb: c"}',
        '{"a":"é"}',
        '{"":"a"}',
        '{"a b":"c"}',
        '{"a":"b","A":"b"}',
        '{"host":"a"}',
        '{"Content-Type":"a/b"}',
        '{"content-md5":"a"}',
        '{"content-length":"5"}',
        '{"authorization":"a"}',
        '{"x-oss-signature":"a"}',
        '{"x-oss-callback":"' + "x" * 8192 + '"}',
    ],
    ids=lambda text: text[:30],
)
def test_headers_that_cannot_be_forced_are_a_fault(forced):
    assert faults(UPLOAD_FORCED_HEADERS=forced)[0].startswith("UPLOAD_FORCED_HEADERS")


def test_the_identity_header_is_a_name():
    assert load(UPLOAD_IDENTITY_HEADER="X-User-Sub").policy.identity_header == "x-user-sub"
    assert faults(UPLOAD_IDENTITY_HEADER="header:sub:x-user-sub")[0].startswith("UPLOAD_IDENTITY_HEADER: ")


def test_origins_are_a_comma_list_or_all():
    assert load(CORS_ORIGINS="https://a.example, HTTP://LOCALHOST:3000,capacitor://localhost").origins == (
        "https://a.example",
        "http://localhost:3000",
        "capacitor://localhost",
    )
    assert load(CORS_ORIGINS="*").origins == ("*",)
    assert load(CORS_ORIGINS="http://[::1]:3000").origins == ("http://[::1]:3000",)


@pytest.mark.parametrize(
    "listed",
    [
        "example.com",
        "https://a.example/",
        "https://a.example/x",
        "https://*.example.com",
        "null",
        "*,https://a.example",
        "https://",
        "://a",
        "https://a b",
        "https://a\r\nb",
        "a_b://c",
    ],
    ids=ascii,
)
def test_what_is_no_origin_is_a_fault(listed):
    assert faults(CORS_ORIGINS=listed)[0].startswith("CORS_ORIGINS: ")


def test_a_misspelt_setting_is_a_fault():
    assert faults(UPLOAD_MAX_BYTE="5") == ["UPLOAD_MAX_BYTE is no setting of this function."]


def test_the_uploaders_own_variables_are_none_of_the_functions_business():
    theirs = {"UPLOAD_ENDPOINT": "http://127.0.0.1:9000/", "UPLOAD_AUTHORIZATION": "Bearer a.b.c"}

    assert load(**theirs).signer == "native"


def test_names_are_all_that_is_read():
    source = Path(settings.__file__).read_text()
    body = source[source.index("class Settings") :]

    read = set(re.findall(r'"((?:OSS|UPLOAD|CORS)_[A-Z_]+)"', body))

    assert read == set(settings.NAMES)


# -- boundaries and words that nothing above holds


def test_without_any_region_the_fault_says_so():
    with pytest.raises(errors.Misconfigured) as refused:
        settings.load({"OSS_BUCKET": "my-bucket"})

    assert "OSS_REGION is not set" in refused.value.log[0]


@pytest.mark.parametrize("endpoint", ["https", "http", "https:/x"])
def test_a_scheme_alone_is_neither_a_name_nor_an_address(endpoint):
    assert "neither one of public, internal" in faults(OSS_ENDPOINT=endpoint)[0]


def test_a_finance_region_may_be_accelerated():
    assert load(OSS_REGION="cn-hzfinance", OSS_ENDPOINT="accelerate").base_url.startswith(
        "https://my-bucket.oss-acc"
    )


@pytest.mark.parametrize("name", ["UPLOAD_EXPIRES", "UPLOAD_EXPIRES_MAX", "UPLOAD_MAX_BYTES"])
def test_one_is_a_number_above_zero(name):
    assert load(**{"UPLOAD_EXPIRES": "1", name: "1"})


def test_a_number_has_at_most_18_digits():
    assert load(UPLOAD_EXPIRES_MAX="9" * 18).policy.expires_max == 604800
    assert "is not a number of seconds" in faults(UPLOAD_EXPIRES_MAX="9" * 19)[0]


def test_every_forced_header_that_is_wrong_is_named():
    found = faults(UPLOAD_FORCED_HEADERS='{"a":5,"host":"b","c":null}')

    assert [fault.split()[-1] for fault in found] == ["string.", "forced.", "string."]


def test_forced_headers_have_8_kb_and_no_byte_more():
    fits = "x" * (8192 - len("cache-control"))

    assert load(UPLOAD_FORCED_HEADERS=json.dumps({"cache-control": fits}))
    assert "8192 bytes" in faults(UPLOAD_FORCED_HEADERS=json.dumps({"cache-control": fits + "x"}))[0]


def test_a_forced_value_is_trimmed_of_blanks_alone():
    assert load(UPLOAD_FORCED_HEADERS='{"a":" /b/ "}').policy.forced_headers == {"a": ("a", "/b/")}


@pytest.mark.parametrize("port", ["1", "65535"])
def test_the_first_and_the_last_port_are_ports(port):
    assert load(OSS_ENDPOINT=f"https://a.example:{port}").base_url.endswith(f":{port}")


@pytest.mark.parametrize(
    "port", ["0", "65536", "00065536", "000080", "\uff18\uff10", "\u00b2", "8O", "-1", "+1", "1_0", ""]
)
def test_what_is_no_port_is_a_fault(port):
    assert "must end after its host" in faults(OSS_ENDPOINT=f"https://a.example:{port}")[0]


@pytest.mark.parametrize(
    "host", ["256.0.0.1", "1.2.3", "1.2.3.4.5", "0000999.0.0.1", "0010.0.0.1", "\u00b2.0.0.1", "\uff11.0.0.1"]
)
def test_what_is_no_address_of_numbers_needs_https(host):
    assert len(faults(OSS_ENDPOINT=f"http://{host}")) == 1


def test_the_last_address_is_one():
    assert load(OSS_ENDPOINT="http://255.255.255.255").base_url == "http://255.255.255.255/my-bucket"


def test_a_domain_of_ones_own_may_begin_with_s3_or_with_the_bucket():
    assert load(OSS_ENDPOINT="https://s3.example.com").custom_domain
    assert load(OSS_ENDPOINT="https://my-bucket.example.com").custom_domain


@pytest.mark.parametrize("origin", ["a/b://c", "https://a/", "https://a b", "https://", "://a"])
def test_what_has_a_path_or_blank_is_no_origin(origin):
    assert len(faults(CORS_ORIGINS=origin)) >= 1


@pytest.mark.parametrize(
    ("name", "unit"),
    [("UPLOAD_EXPIRES", "seconds"), ("UPLOAD_EXPIRES_MAX", "seconds"), ("UPLOAD_MAX_BYTES", "bytes")],
)
def test_what_is_no_number_is_one_fault_that_names_the_unit(name, unit):
    assert faults(**{name: "many"}) == [f"{name}: many is not a number of {unit} above 0."]


def test_the_headers_that_callers_may_bind_if_nothing_is_set():
    assert load().policy.headers == (
        "content-disposition",
        "content-encoding",
        "content-language",
        "cache-control",
        "expires",
        "x-oss-meta-*",
        "x-oss-storage-class",
        "x-oss-forbid-overwrite",
    )
