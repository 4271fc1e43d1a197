"""What the roles of a model say of how their scans belong together.

`roles` gives each role its kind: "joined" (paired with the first role), "independent" (a stream of
its own), or the name of another role, whose labels these are: one with each of its scans, or none
in the whole table. The first role makes the rows of a table, whatever its kind.
"""

from __future__ import annotations

from collections.abc import Container, Mapping


def labels(roles: Mapping[str, str]) -> dict[str, str]:
    """By role of labels, the role of the scans that they are of."""
    return {role: kind for role, kind in roles.items() if kind in roles}


def streams(roles: Mapping[str, str]) -> list[str]:
    """The roles whose scans belong to no row; their labels are not among them."""
    return [role for role in list(roles)[1:] if roles[role] == "independent"]


def in_rows(roles: Mapping[str, str]) -> list[str]:
    """The roles of which a row has one scan each, labels among them."""
    of, alone = labels(roles), streams(roles)
    return [role for role in roles if of.get(role, role) not in alone]


def missing(roles: Mapping[str, str], given: Container[str]) -> list[str]:
    """The roles that have to be given and are not; labels need not."""
    return [role for role in roles if role not in given and role not in labels(roles)]
