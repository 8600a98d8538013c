"""The shipped resources: each rule has its code, and a record with several faults is one reject with several errors."""

from __future__ import annotations

import json

import pytest

from tests.bulk.imports.conftest import Shop

ANN, BEN = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11", "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a12"
USER = {"id": ANN, "email": "ann@example.org", "name": "Ann", "role": "admin", "active": True}
ARTICLE = {"id": BEN, "slug": "a-b", "title": "T", "body": "B", "author_id": ANN, "tags": ["x"], "status": "draft"}
COMMENT = {"id": "cm_1", "article_id": BEN, "user_id": ANN, "body": "yes", "created_at": "2024-01-01T00:00:00Z"}


def codes(shop: Shop, resource: str, record: dict[str, object]) -> list[str]:
    """What is wrong with a record."""
    return shop.load(resource, json.dumps(record).encode(), "one.ndjson").codes.get(1, [])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"id": None}, []),
        ({"id": ""}, []),
        ({"id": "{0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11}"}, ["invalid_id_format"]),
        ({"email": None}, ["email_required"]),
        ({"email": "  "}, ["email_required"]),
        ({"email": "ann@"}, ["invalid_email_format"]),
        ({"email": "ann@example"}, ["invalid_email_format"]),
        ({"email": "a b@example.org"}, ["invalid_email_format"]),
        ({"email": "ann@example.org\n"}, ["invalid_email_format"]),
        ({"email": "a+b.c_d@sub-domain.example.co"}, []),
        ({"name": ""}, ["name_required"]),
        ({"name": "\t"}, ["name_required"]),
        ({"role": "boss"}, ["invalid_role"]),
        ({"role": "Admin"}, ["invalid_role"]),
        ({"role": None}, ["invalid_role"]),
        ({"active": None}, ["invalid_active"]),
        ({"active": "yes"}, ["invalid_active"]),
        ({"created_at": "now"}, ["invalid_timestamp"]),
        ({"created_at": "2024-02-30T00:00:00Z", "updated_at": "infinity"}, ["invalid_timestamp", "invalid_timestamp"]),
        ({"name": None, "role": "x", "email": "y"}, ["name_required", "invalid_email_format", "invalid_role"]),
    ],
)
def test_users(shop: Shop, change: dict[str, object], expected: list[str]) -> None:
    """A user needs an e-mail address, a name, a known role and a plain boolean."""
    assert sorted(codes(shop, "users", {**USER, **change})) == sorted(expected)
    assert shop.rows("SELECT FROM users") == [()] * (not expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"slug": "A-b"}, ["invalid_slug_format"]),
        ({"slug": "a--b"}, ["invalid_slug_format"]),
        ({"slug": ""}, ["slug_required"]),
        ({"title": None, "body": ""}, ["title_required", "body_required"]),
        ({"author_id": None}, ["author_id_required"]),
        ({"author_id": "x"}, ["invalid_author_id_format"]),
        ({"author_id": BEN}, ["author_not_found"]),
        ({"status": "gone"}, ["invalid_status"]),
        ({"status": None}, ["invalid_status"]),
        ({"published_at": "2024-01-01T00:00:00Z"}, ["draft_cannot_have_published_at"]),
        ({"published_at": "2024-01-01T00:00:00Z", "status": "published"}, []),
        ({"tags": ["a", None]}, ["invalid_tags"]),
        ({"tags": ["a", ""]}, ["invalid_tags"]),
        ({"tags": None}, []),
        ({"tags": []}, []),
        ({"author_id": BEN, "slug": "A"}, ["author_not_found", "invalid_slug_format"]),
    ],
)
def test_articles(shop: Shop, change: dict[str, object], expected: list[str]) -> None:
    """An article needs a kebab-case slug, a title, a body and an author; a draft is not published."""
    assert codes(shop, "users", USER) == []
    assert sorted(codes(shop, "articles", {**ARTICLE, **change})) == sorted(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"id": ANN}, []),
        ({"id": ""}, ["invalid_id_format"]),
        ({"id": None}, ["invalid_id_format"]),
        ({"id": "no spaces"}, ["invalid_id_format"]),
        ({"article_id": ANN}, ["article_not_found"]),
        ({"article_id": None, "user_id": ""}, ["article_id_required", "user_id_required"]),
        ({"article_id": "x", "user_id": "y"}, ["invalid_article_id_format", "invalid_user_id_format"]),
        ({"user_id": BEN}, ["user_not_found"]),
        ({"body": " "}, ["body_required"]),
        ({"body": "word " * 500}, []),
        ({"body": "word\n" * 501}, ["body_exceeds_500_words"]),
    ],
)
def test_comments(shop: Shop, change: dict[str, object], expected: list[str]) -> None:
    """A comment needs an article, a user and a body of 500 words at the most."""
    codes(shop, "users", USER)
    codes(shop, "articles", ARTICLE)
    assert sorted(codes(shop, "comments", {**COMMENT, **change})) == sorted(expected)


def test_posts_keep_their_json_as_it_is_spelt(shop: Shop) -> None:
    """A post has a uri and a moment; its JSON stays as it was written."""
    post = b'{"uri":"at://x","created_at":"2024-01-01T00:00:00.000000Z","embed_data":{"b": 1.0,"a":[ ]},"like_count":3}'
    shop.load("posts", post + b'\n{"uri":"","created_at":null,"like_count":-1}', "posts.ndjson")
    assert shop.rows("SELECT uri, embed_data::text, like_count, has_media FROM posts") == [
        ("at://x", '{"b": 1.0,"a":[ ]}', 3, False)
    ]


def test_what_the_file_says_of_time_is_kept(shop: Shop) -> None:
    """Moments of the file are the table's, in UTC; a missing one is the moment of the import."""
    shop.load(
        "users", b"email,name,role,active,created_at\nA@x.org,A,admin,true,2024-03-04 05:06:07.123456+02\n", "u.csv"
    )
    assert shop.rows(
        "SELECT email, created_at AT TIME ZONE 'UTC' = '2024-03-04 03:06:07.123456', updated_at IS NOT NULL FROM users"
    ) == [("A@x.org", True, True)]
