"""Headers as documents, collections of samples and clients really write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.api.kit.media_types import (
    MediaType,
    SchemaName,
    parse_accept,
    parse_content_type,
    parse_schema,
    schema_names,
)

TAG = "https://ns.adobe.com/experience/offer-management/tag"
OFFER = "https://ns.adobe.com/experience/offer-management/personalized-offer"
INSTANCE = "application/schema-instance+json"
PATCH = "application/vnd.adobe.platform.xcore.patch.hal+json"


@pytest.mark.parametrize(
    ("header", "type_", "schemas"),
    [
        (f'{INSTANCE}; version=1;  schema="{TAG};version=0.1"', INSTANCE, [SchemaName(TAG, "0.1")]),
        (f"{INSTANCE}; version=1; schema='{TAG};version=0.1'", INSTANCE, [SchemaName(TAG, "0.1")]),
        (f"{PATCH};version=1;schema={TAG};version=0.1", PATCH, [SchemaName(TAG, "0.1")]),
        (f"{PATCH}; schema={TAG}; version=1", PATCH, [SchemaName(TAG)]),
        (f'{PATCH}; schema="{TAG}"', PATCH, [SchemaName(TAG)]),
        (f'  {PATCH.upper()} ;  SCHEMA = "{TAG}"  ', PATCH, [SchemaName(TAG)]),
        (f'Content-Type: {PATCH}; schema="{TAG}"', PATCH, [SchemaName(TAG)]),
        (f'content-type:Content-Type: {PATCH}; schema="{TAG}"', PATCH, [SchemaName(TAG)]),
        (
            f'{INSTANCE}; schema="{TAG};version=0.1 {OFFER} "',
            INSTANCE,
            [SchemaName(TAG, "0.1"), SchemaName(OFFER)],
        ),
        (
            f"{INSTANCE}; schema={TAG};version=0.1 {OFFER};version=0.5",
            INSTANCE,
            [SchemaName(TAG, "0.1"), SchemaName(OFFER, "0.5")],
        ),
        (f'{INSTANCE}; schema="{TAG}; version=0.1"', INSTANCE, [SchemaName(TAG, "0.1")]),
        (f'{INSTANCE}; schema="{TAG};version=0.1', INSTANCE, [SchemaName(TAG, "0.1")]),
        ("application/json", "application/json", []),
        ("application/json; charset=utf-8", "application/json", []),
        ("application/json, application/json", "application/json", []),
        ('application/json; schema=""', "application/json", []),
        ("", "", []),
        (None, "", []),
    ],
)
def test_a_content_type_is_read(header: str | None, type_: str, schemas: list[SchemaName]) -> None:
    """Quotes first, then semicolons; a version that hugs a bare schema is the schema's."""
    media = parse_content_type(header)
    assert media.type == type_
    assert schema_names(media) == schemas


def test_the_media_types_own_version_is_kept_apart() -> None:
    """`version` beside the schema is a parameter like any other; the first of two counts."""
    media = parse_content_type(f'{INSTANCE}; version=1; schema="{TAG};version=0.1"; Version=2; a="b\\"c" x; d')
    assert media.parameters == {
        "version": "1",
        "schema": f"{TAG};version=0.1",
        "a": 'b"c',
        "d": "",
    }


def test_an_accept_header_lists_media_types() -> None:
    """Commas inside quotes do not separate; a lone star is what a client really sends."""
    hal = "application/vnd.adobe.platform.xcore.hal+json"
    assert parse_accept(f'*,{hal}; schema="a,b", application/json;q=0.5,,') == (
        MediaType("*"),
        MediaType(hal, {"schema": "a,b"}),
        MediaType("application/json", {"q": "0.5"}),
    )
    assert parse_accept(None) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TAG, SchemaName(TAG)),
        (f"{TAG};version=0.5", SchemaName(TAG, "0.5")),
        (f' "{TAG} ; Version = 0.5" ', SchemaName(TAG, "0.5")),
        (f"{TAG};version=", SchemaName(TAG)),
        (f"{TAG};x=1;version=2", SchemaName(TAG, "2")),
        ("", SchemaName("")),
    ],
)
def test_a_schema_is_a_uri_and_perhaps_a_version(text: str, expected: SchemaName) -> None:
    """Query parameters carry the same texts without quotes."""
    assert parse_schema(text) == expected


@given(st.text(alphabet="a/;,=\"'\\ \tschemaversion0.1:\n\0é") | st.text())
def test_no_header_text_raises(header: str) -> None:
    """Not understood means not there."""
    for media in [parse_content_type(header), *parse_accept(header)]:
        assert all(isinstance(schema, SchemaName) for schema in schema_names(media))
    parse_schema(header)


@pytest.mark.parametrize("text", [";", '"', "'", ";a=", ' "\\', ",", "Accept:", "; version=", " "])
def test_long_nonsense_is_read_quickly(text: str) -> None:
    """A header of 64 KB is as far as servers go."""
    header = "a;schema=" + text * (65_536 // len(text))
    started = time.process_time()
    schema_names(parse_content_type(header))
    schema_names(parse_content_type(text * 20_000))
    assert time.process_time() - started < 1
