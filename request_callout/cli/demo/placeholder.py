"""The small data set of the stand-in for jsonplaceholder: users, and posts that name their author in ``userId``.

The first user and that user's posts are the ones that the orchestration tutorial shows; the others are there so that
a filter has something to leave out. ``SLIDES`` is the document of the stand-in for httpbin.
"""

from __future__ import annotations

from typing import Any


def _user(number: int, name: str, username: str, city: str) -> dict[str, Any]:
    handle = username.lower()
    return {
        "id": number,
        "name": name,
        "username": username,
        "email": f"{handle}@example.org",
        "address": {
            "street": "Harbour Road",
            "suite": f"Flat {number}",
            "city": city,
            "zipcode": f"1000{number}",
            "geo": {"lat": "53.5511", "lng": "9.9937"},
        },
        "phone": f"555-010{number}",
        "website": f"{handle}.example.org",
        "company": {
            "name": f"{name.rsplit(maxsplit=1)[-1]} and Daughters",
            "catchPhrase": "Small parts, well made",
            "bs": "ship spare parts",
        },
    }


USERS: tuple[dict[str, Any], ...] = (
    {
        "id": 1,
        "name": "Leanne Graham",
        "username": "Bret",
        "email": "Sincere@april.biz",
        "address": {
            "street": "Kulas Light",
            "suite": "Apt. 556",
            "city": "Gwenborough",
            "zipcode": "92998-3874",
            "geo": {"lat": "-37.3159", "lng": "81.1496"},
        },
        "phone": "1-770-736-8031 x56442",
        "website": "hildegard.org",
        "company": {
            "name": "Romaguera-Crona",
            "catchPhrase": "Multi-layered client-server neural-net",
            "bs": "harness real-time e-markets",
        },
    },
    _user(2, "Noor Haddad", "Noor", "Bremen"),
    _user(3, "Ida Lund", "Ida", "Aarhus"),
)

POSTS: tuple[dict[str, Any], ...] = (
    {
        "userId": 1,
        "id": 1,
        "title": "sunt aut facere repellat provident occaecati excepturi optio reprehenderit",
        "body": "quia et suscipit\nsuscipit recusandae consequuntur expedita et cum\n"
        "reprehenderit molestiae ut ut quas totam\nnostrum rerum est autem sunt rem eveniet architecto",
    },
    {
        "userId": 1,
        "id": 2,
        "title": "qui est esse",
        "body": "est rerum tempore vitae\nsequi sint nihil reprehenderit dolor beatae ea dolores neque\n"
        "fugiat blanditiis voluptate porro vel nihil molestiae ut reiciendis\n"
        "qui aperiam non debitis possimus qui neque nisi nulla",
    },
    {"userId": 2, "id": 3, "title": "on ropes", "body": "A rope is kept dry, coiled, and out of the sun."},
    {"userId": 2, "id": 4, "title": "on knots", "body": "Learn four of them well.\nForget the rest."},
    {"userId": 3, "id": 5, "title": "low tide", "body": "The boats lie on their sides until noon."},
)

SLIDES = b"""<?xml version="1.0" encoding="us-ascii"?>
<slideshow title="Calls on the way" author="demo">
  <!-- two slides -->
  <slide type="all"><title>One request, many answers</title></slide>
  <slide type="all"><title>Overview</title><item>Why <em>side by side</em></item><item/></slide>
</slideshow>
"""
