"""The API's description (OpenAPI 3.1), made from the table of operations and the records that they read and write.

Exact: no member more than the records have, and every status by which an operation is answered.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from failwell.core.release import VERSION
from failwell.web import problems, shapes
from failwell.web.acting import Denial
from failwell.web.bodies import RawObject
from failwell.web.problems import Problem
from failwell.web.routes import JSON, OPERATIONS, Operation

_REFERENCE = "#/components/schemas/{name}"
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_SIGNED = {
    "signature": {
        "type": "apiKey", "in": "header", "name": "Signature",
        "description": "RFC 9421 with the caller's own Ed25519 key: docs/http.md.",
    },
    "certificate": {"type": "mutualTLS", "description": "An agent's own certificate."},
}  # fmt: skip


@functools.cache
def described(operations: Sequence[Operation] = OPERATIONS) -> bytes:
    """The description, as JSON."""
    kinds = [kind for each in operations for kind in (each.asks, each.query, each.answers) if kind is not str]
    kinds += [Problem, Denial, shapes.Left]
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_hook, ref_template=_REFERENCE)
    known = dict(zip(map(_key, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, known, components)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Failwell", "version": VERSION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                "description": "What stands between agents and their tools, over HTTP. docs/http.md tells the whole.",
            },
            "paths": paths,
            "components": {"schemas": _open(components), "securitySchemes": _SIGNED},
        }
    )  # fmt: skip


def _operation(each: Operation, known: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {str(each.status.value): _answer(each, known)}
    if each.name == "giveOrders":
        answers["202"] = _content(HTTPStatus.ACCEPTED, JSON, known[_key(shapes.Left)])
    for status in each.problems:
        answers[str(status.value)] = _problem(each, status, known)
    told: dict[str, Any] = {
        "operationId": each.name, "summary": each.words, "security": _security(each), "responses": answers,
        "parameters": [*map(_in_path, each.parameters), *_in_query(each, components)],
    }  # fmt: skip
    if each.method == "POST":
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": known[_key(each.asks)]}}}
    return told


def _security(each: Operation) -> list[dict[str, list[str]]]:
    ways: list[dict[str, list[str]]] = [{"signature": []}, {"certificate": []}] if each.who or each.optional else []
    return [*ways, {}] if not each.who else ways


def _answer(each: Operation, known: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "string"} if each.answers is str else known[_key(each.answers)]
    return _content(each.status, each.media_type.partition(";")[0], schema)


def _problem(each: Operation, status: HTTPStatus, known: dict[str, Any]) -> dict[str, Any]:
    schema = known[_key(Problem)]
    if each.denies and status == HTTPStatus.FORBIDDEN:
        schema = {"anyOf": [known[_key(Denial)], schema]}
    told = _content(status, problems.MEDIA_TYPE, schema)
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        told["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return told


def _content(status: HTTPStatus, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": status.phrase, "content": {media_type: {"schema": schema}}}


def _in_path(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255} if name == "agent" else _NUMBER
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(each: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    fields = components[each.query.__name__].get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]


def _key(kind: Any) -> str:
    return str(kind)


def _hook(kind: type) -> dict[str, Any]:
    if kind is RawObject:
        return {"type": "object", "description": "The tool's arguments, as its contract types them."}
    raise NotImplementedError(kind)


def _open(components: dict[str, Any]) -> dict[str, Any]:
    """Records of rooms below that are read leniently are written exactly all the same."""
    return {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in components.items()
    }
