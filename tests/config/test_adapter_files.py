from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.config import adapter_from_dict, adapter_json_schema, load_adapter, shipped_adapters
from runner.endpoints.adapter import compile_adapter
from runner.endpoints.mapped_errors import ANSWERED
from runner.errors import ConfigError, request_errors

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST: dict[str, Any] = {
    "endpoints": ["chat"],
    "path": "/ask",
    "body": {"q": "{{ messages[-1].content }}"},
    "response": {"text": "answer"},
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(SMALLEST)
    for key, value in changes.items():
        *above, last = key.split("/")
        section: Any = made
        for part in above:
            section = section.setdefault(part, {})
        section[last] = value
    return made


DOCUMENTS: dict[str, Any] = {
    "list": {"path": "/kb/{{ knowledge_base }}", "items": "docs"},
    "get": {"path": "/kb/{{ knowledge_base }}/{{ id }}"},
    "add": {"path": "/kb/{{ knowledge_base }}", "file": "file", "fields": {"hash": "{{ sha256 }}"}},
    "delete": {"path": "/kb/{{ knowledge_base }}/{{ id }}"},
    "index": {"path": "/index"},
    "document": {"id": "id", "sha256": "hash"},
    "knowledge_bases": {"list": {"path": "/kb"}, "create": {"path": "/kb", "body": {"name": "{{ name }}"}}},
}


@pytest.fixture
def problems_of(tmp_path: Path) -> Callable[[str], list[str]]:
    def collect(text: str) -> list[str]:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_adapter(str(path))
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return collect


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("reponse", {}, 'reponse: unknown key (did you mean "response"?)'),
        ("response/txt", "a", 'response.txt: unknown key (did you mean "text"?)'),
        (
            "response/prompt_tokens",
            "a",
            "response.prompt_tokens: unknown key (it belongs under response.usage)",
        ),
        ("api_key", "x", "api_key: unknown key (a key never stands in a config: name its environment variable"),
        ("method", "post", 'method: expected POST, PUT, PATCH or GET, found "post"'),
        ("endpoints", [], "endpoints: expected a list that is not empty, found a list"),
        ("endpoints", ["responses"], 'endpoints.0: expected chat, completions or embeddings, found "responses"'),
        ("path", "ask", "path: expected a path such as /v1/answers, without a query (parameters go under query)"),
        ("path", "/ask?a=1", "path: expected a path such as /v1/answers, without a query (parameters go under query)"),
        ("path", "/{{ row.kb }}/ask", "path: reads row; only model and retrieval can be read here (what else changes"),
        ("path", "/{{ retrieval.kb }}/ask", "path: reads retrieval.kb, which is not there (these can be read: knowled"),
        ("path", "/{{ retrieval }}/ask", "path: reads retrieval as a whole (name what is meant: retrieval.knowledge_b"),
        ("path", "/{{model", "path: a {{ that no }} closes"),
        ("query", {"key": 1}, "query.key: expected a text, found 1"),
        ("query", {"api_key": "x"}, "query.api_key: the name of this parameter says that it carries a credential"),
        ("query", {"v": "{{ params.v }}"}, "query.v: reads params; only model and retrieval can be read here"),
        ("headers", {"Authorization": "x"}, "headers.Authorization: a header of this name carries a credential"),
        ("headers", {"a b": "x"}, "headers.a b: is not the name of an HTTP header"),
        ("headers", {"a": "x\ny"}, "headers.a: a line break or control character cannot stand in a header"),
        ("headers", {"x-org": "sk-abcdefghijkl0123"}, "headers.x-org: looks like a key"),
        ("body/q", "sk-abcdefghijkl0123", "body.q: looks like a key"),
        ("auth", {"type": "digest"}, 'auth.type: expected bearer, header, query, basic or none, found "digest"'),
        ("auth", {"type": "header"}, 'auth: missing key "name" (the header that carries the key'),
        ("auth", {"type": "query"}, 'auth: missing key "name" (the query that carries the key'),
        ("auth", {"type": "header", "name": "a b"}, "auth.name: is not the name of an HTTP header"),
        ("auth", {"type": "bearer", "name": "x"}, "auth.name: has no meaning with type bearer"),
        ("auth", {"type": "basic", "user": "a:b"}, "auth.user: has characters that no header can hold here"),
        ("capabilities", {"stream": True}, "capabilities.stream: expected false or openai, found true"),
        ("capabilities", {"stream": "sse"}, 'capabilities.stream: expected false or openai, found "sse"'),
        ("capabilities", {"logprbs": True}, 'capabilities.logprbs: unknown key (did you mean "logprobs"?)'),
        ("body", [], "body: expected a mapping, found a list"),
        ("body/q", "{{ mesages }}", 'body.q: reads mesages, which is not there (did you mean "messages"?)'),
        ("body/q", "{{ question }}", "body.q: reads question, which is not there (these can be read: model, messages"),
        ("body/q", "{{ row }}", "body.q: reads row as a whole (name the column: row.question)"),
        ("body/q", "{{ retrieval.docs }}", 'body.q: reads retrieval.docs, which is not there (did you mean "documents'),
        ("body/q", "{{ @ }}", "body.q: reads @, which is not there"),
        ("body/q", {"$mrge": "{{ params }}"}, 'body.q.$mrge: unknown instruction (did you mean "$merge"?)'),
        ("body/q", "{{ a..b }}", "body.q: not a JMESPath expression"),
        ("response", {}, 'response: missing key "text" (where the answer\'s text stands'),
        ("response/text", "a[", "response.text: not a JMESPath expression"),
        ("response/text", "{{ answer }}", "response.text: expected a JMESPath expression, found a template"),
        ("response/text", 5, "response.text: expected a text, found 5"),
        ("response/id", "lenght(a)", 'response.id: there is no function lenght() (did you mean "length"?)'),
        ("response/usage", {"raw": "a b"}, "response.usage.raw: not a JMESPath expression"),
        ("response/status", {"end": "done"}, "response.status.end: expected ok, truncated, refused or content_filter"),
        ("response/logprobs", {}, 'response.logprobs: missing key "entries"'),
        ("response/logprobs", {"entries": "a"}, 'response.logprobs: missing key "token"'),
        ("response/retrieved", {"id": "id"}, 'response.retrieved: missing key "list"'),
        ("errors/code", "a[", "errors.code: not a JMESPath expression"),
        ("errors/by_status", {"200": "server"}, "errors.by_status.200: expected an HTTP status from 400 to 599"),
        (
            "errors/by_status",
            {"418": "ratelimit"},
            'errors.by_status.418: there is no error kind "ratelimit" (did you mean "rate_limit"?)',
        ),
        ("errors/by_status", {"418": "cancelled"}, 'errors.by_status.418: there is no error kind "cancelled"'),
        ("errors/by_code", {"x": "auth"}, "errors.by_code: stands without `code`, which finds the code"),
        ("params/rename", {"messages": "x"}, "params.rename.messages: is no param: the body says where it goes"),
        ("params/only", "n", "params.only: expected a list, found"),
    ],
)
def test_a_wrong_key_is_named_with_its_place_and_a_hint(key: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adapter_from_dict(changed({key: value}), "mine")
    assert [str(found)[: len(problem)] for found in caught.value.problems] == [problem]


EMBEDDING = {
    "endpoints": ["embeddings"],
    "capabilities": {"array_input": True},
    "body": {"texts": "{{ input }}"},
    "response": {"embeddings": {"list": "data"}},
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"method": "GET"}, "capabilities.stream: has no meaning with this method (streams are asked for by POST)"),
        (
            {"endpoints": ["embeddings"], "response": {"embeddings": {"list": "a"}}},
            "capabilities.stream: is for adapters whose endpoints hold chat or completions",
        ),
    ],
)
def test_a_stream_is_asked_for_by_post_and_is_of_texts(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adapter_from_dict(changed({"capabilities": {"stream": "openai"}, **changes}), "mine")
    assert list(map(str, caught.value.problems)) == [problem]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"capabilities": {"array_input": "yes"}}, "capabilities.array_input: expected true or false, found"),
        ({"capabilities/most_inputs": 0}, "capabilities.most_inputs: expected 1 or more, found 0"),
        ({"capabilities": {"most_inputs": 4}}, "capabilities.most_inputs: has no meaning without array_input: true"),
        (
            {"endpoints": ["chat"], "response/text": "a"},
            "capabilities.array_input: is for adapters whose endpoints hold",
        ),
        ({"response": {}}, 'response: missing key "embeddings" (e.g. embeddings: {list: data'),
        ({"response/embeddings": {"vector": "v"}}, 'response.embeddings: missing key "list"'),
        ({"response/embeddings/list": "a["}, "response.embeddings.list: not a JMESPath expression"),
        ({"response/embeddings/vecter": "a"}, 'response.embeddings.vecter: unknown key (did you mean "vector"?)'),
        ({"body": {"a": 1}}, 'body: has no place for the inputs (e.g. texts: "{{ input }}")'),
        ({"body/more": "{{ input }}"}, "body.more: reads input a second time"),
        ({"body/more": ["{{ input[0] }}"]}, "body.more.0: reads input a second time"),
        ({"body/texts": "{{ to_array(input) }}"}, "body.texts: does more with input than to hold it (write"),
        ({"body/texts": "{{ input[0] }}"}, "body.texts: does more with input than to hold it (write"),
        ({"body/texts": "text: {{ input }}"}, "body.texts: does more with input than to hold it (write"),
        ({"body/texts": {"$merge": "{{ input }}"}}, "body.texts.$merge: does more with input than to hold it (write"),
        ({"body/$if": "{{ row.a }}"}, "body.texts: stands below an $if (with capabilities.array_input the inputs are"),
        (
            {"body/texts": {"$if": "{{ row.a }}", "in": ["{{ input }}"]}},
            "body.texts.in.0: stands below an $if (with capabilities.array_input the inputs are",
        ),
    ],
)
def test_an_array_of_inputs_has_one_place_in_the_body(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adapter_from_dict(changed({**copy.deepcopy(EMBEDDING), **changes}), "mine")
    assert [str(found)[: len(problem)] for found in caught.value.problems] == [problem]


def test_places_of_an_array_of_inputs_are_those_of_the_file(problems_of: Callable[[str], list[str]]) -> None:
    found = problems_of(
        "endpoints: [embeddings]\n"
        "path: /embed\n"
        "capabilities:\n"
        "  array_input: true\n"
        "body:\n"
        "  inputs:\n"
        '    - "query: {{ input }}"\n'
        '  first: "{{ input[0] }}"\n'
        "response:\n"
        "  embeddings: {list: data, index: 'a['}\n"
    )
    assert [one.split(": ")[:2] for one in found] == [
        ["mine.yaml:7:7", "body.inputs.0"],
        ["mine.yaml:8:3", "body.first"],
        ["mine.yaml:10:28", "response.embeddings.index"],
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"texts": "{{input}}"}, "texts"),
        ({"texts": " {{ input }} "}, "texts"),
        ({"deep": [{"in": "{{ input }}"}], "more": {"$if": "{{ row.a }}", "b": 1}}, "deep"),
        ({"$merge": "{{ params }}", "$$if": "{{ input }}"}, "$if"),
    ],
)
def test_an_array_of_inputs_may_stand_anywhere(body: dict[str, Any], field: str) -> None:
    made = compile_adapter(adapter_from_dict(changed({**copy.deepcopy(EMBEDDING), "body": body}), "mine"))
    assert (made.takes_array, made.most_inputs, made.input_field) == (True, None, field)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("lst", {}, 'lst: unknown key (did you mean "list"?)'),
        ("list", None, "list: expected a section with keys, found null"),
        (
            "list/path",
            "/kb/{{ id }}",
            "list.path: reads id, which is not there (these can be read: model, knowledge_base",
        ),
        ("list/path", "kb", "list.path: expected a path such as /v1/answers, without a query"),
        (
            "list/query",
            {"token": "x"},
            "list.query.token: the name of this parameter says that it carries a credential",
        ),
        (
            "list/query",
            {"a": "{{ curser }}"},
            'list.query.a: reads curser, which is not there (did you mean "cursor"?)',
        ),
        ("list/query", {"a": "{{ cursor }}"}, 'list: missing key "next" (where an answer says what'),
        ("list/next", "more", "list.next: no request asks for another page (e.g. query: {after:"),
        ("list/items", "docs[", "list.items: not a JMESPath expression"),
        ("list/method", "DELETE", 'list.method: expected GET or POST, found "DELETE"'),
        ("list/first_page", -1, "list.first_page: expected 0 or more, found -1"),
        ("list/body", [1], "list.body: with GET it becomes query parameters: expected a mapping"),
        ("get/item", "{{ doc }}", "get.item: expected a JMESPath expression, found a template"),
        ("add", {"path": "/a"}, "add: sends no content (file: NAME makes it a form"),
        ("add/body", {"a": 1}, "add.body: stands beside file (a form's other values go under fields)"),
        ("add/fields", {"a": "{{ text }}"}, "add.fields.a: reads text, which is not there"),
        ("add/fields", {"api_key": "a"}, "add.fields.api_key: the name of this parameter says that it carries a cred"),
        ("add/id", "{{ hash }}", "add.id: reads hash, which is not there"),
        ("add", {"path": "/a", "body": "{{ text }}", "file_name": "x"}, "add.file_name: has no meaning without file"),
        ("add/query", {"k": "sk-abcdefghijkl0123"}, "add.query.k: looks like a key"),
        ("delete/body", ["{{ ids }}"], 'delete.body.0: reads ids, which is not there (did you mean "id"?)'),
        ("delete/body", {"$mrge": 1}, "delete.body.$mrge: unknown instruction"),
        ("index/path", "/{{ id }}", "index.path: reads id, which is not there"),
        ("document", {"sha256": "h"}, 'document: missing key "id"'),
        ("document/sha256", None, 'document: missing key "sha256", by which content is known again (where the server'),
        ("document/states", {"a": "done"}, "document.states.a: expected completed, in_progress, failed or cancelled"),
        ("knowledge_bases/list", None, "knowledge_bases.create: stands without list, which says what is there"),
        ("knowledge_bases/name", "a b", "knowledge_bases.name: not a JMESPath expression"),
        ("knowledge_bases/create/body", {"n": "{{ id }}"}, "knowledge_bases.create.body.n: reads id, which is not"),
    ],
)
def test_a_wrong_key_of_documents_is_named_with_its_place_and_a_hint(key: str, value: Any, problem: str) -> None:
    values = {**copy.deepcopy(SMALLEST), "documents": copy.deepcopy(DOCUMENTS)}
    assert adapter_from_dict(values, "mine")["documents"]["list"]["method"] == "GET"
    *above, last = key.split("/")
    section: Any = values["documents"]
    for part in above:
        section = section[part]
    section[last] = value
    with pytest.raises(ConfigError) as caught:
        adapter_from_dict(values, "mine")
    whole = f"documents.{problem}"
    assert [str(found)[: len(whole)] for found in caught.value.problems] == [whole]


def test_knowledge_bases_that_no_request_names_are_refused() -> None:
    documents = {"list": {"path": "/all"}, "document": {"id": "id"}, "knowledge_bases": {"list": {"path": "/kb"}}}
    with pytest.raises(ConfigError, match=r"documents\.knowledge_bases: no request reads knowledge_base"):
        adapter_from_dict({**SMALLEST, "documents": documents}, "mine")


def test_a_digest_and_an_old_manifest_know_nothing_of_documents() -> None:
    plain, more = adapter_from_dict(SMALLEST, "a"), adapter_from_dict({**SMALLEST, "documents": DOCUMENTS}, "a")
    assert compile_adapter(plain).request_digest == compile_adapter(more).request_digest
    kept = {name: value for name, value in plain.items() if name != "documents"}
    assert adapter_from_dict(kept, "a") == plain


def test_every_problem_comes_at_once_in_the_order_of_the_file(problems_of: Callable[[str], list[str]]) -> None:
    found = problems_of(
        "endpoints: [chat]\n"
        "path: ask\n"
        "auth: {type: header}\n"
        "body:\n"
        "  q: '{{ question }}'\n"
        "  $merg: '{{ params }}'\n"
        "reponse: {text: a}\n"
        "errors:\n"
        "  by_status: {418: teapot}\n"
        "documents:\n"
        "  list: {path: x}\n"
        "  document: {idd: id}\n"
    )
    assert [one.split(": ", 2)[:2] for one in found] == [
        ["mine.yaml:1:1", 'missing key "response"'],
        ["mine.yaml:2:1", "path"],
        ["mine.yaml:3:1", "auth"],
        ["mine.yaml:5:3", "body.q"],
        ["mine.yaml:6:3", "body.$merg"],
        ["mine.yaml:7:1", "reponse"],
        ["mine.yaml:9:15", "errors.by_status.418"],
        ["mine.yaml:11:10", "documents.list.path"],
        ["mine.yaml:12:3", "documents.document"],
        ["mine.yaml:12:14", "documents.document.idd"],
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "mine.yaml:1:1: expected an adapter with the keys endpoints, path, body and response; it is empty"),
        ("- a", "mine.yaml:1:1: expected an adapter with the keys endpoints, path, body and response; found a list"),
        ("a: [", "mine.yaml:1:5: not valid YAML"),
        ("a: 1\na: 2\n", "mine.yaml:1:1: "),
    ],
)
def test_a_file_that_holds_no_adapter_is_refused(
    text: str, problem: str, problems_of: Callable[[str], list[str]]
) -> None:
    assert problems_of(text)[0].startswith(problem)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_adapter(str(tmp_path / "none.yaml"))
    assert "none.yaml cannot be read: No such file or directory" in str(caught.value)


def test_no_message_repeats_a_key() -> None:
    key = "sk-proj-abcdefghijklmnop0123456789"
    values = changed({"headers": {"x": key}, "body/q": f"{{{{ {key} }}}}", "auth": {"type": key}, "path": f"/{key}"})
    values[key] = key
    values["errors"] = {"by_status": {"418": key}}
    with pytest.raises(ConfigError) as caught:
        adapter_from_dict(values, "mine")
    assert key not in str(caught.value)


@pytest.mark.parametrize("name", shipped_adapters())
def test_every_shipped_adapter_is_valid_and_stays_what_it_is(name: str) -> None:
    spec = load_adapter(name)
    assert spec["name"] == name
    assert spec["description"]
    kept = adapter_from_dict(orjson.loads(orjson.dumps(spec)), "other")
    assert kept == spec
    assert compile_adapter(kept).request_digest == compile_adapter(spec).request_digest


def test_the_shipped_adapters_are_these() -> None:
    assert shipped_adapters() == (
        "anthropic-messages",
        "azure-openai",
        "cohere-embed",
        "completions-002",
        "completions-003",
        "ollama-chat",
        "openai-completions",
        "tgi-generate",
    )


def test_the_file_names_an_adapter_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_bytes(orjson.dumps(SMALLEST))
    assert load_adapter(str(path))["name"] == "mine"


def test_every_error_kind_that_may_be_named_exists() -> None:
    assert set(ANSWERED) <= set(request_errors())


def test_the_json_schema_describes_every_key() -> None:
    schema = adapter_json_schema()
    assert orjson.loads(orjson.dumps(schema)) == schema
    assert schema["title"] == "evalrunner adapter"
    assert schema["required"] == ["endpoints", "path", "body", "response"]
    for section in (schema, *schema["$defs"].values()):
        assert section["additionalProperties"] is False
        assert section["description"]
        assert all(key.get("description") for key in section["properties"].values())


def test_the_documented_examples_are_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
    whole, embeddings, documents = (block.split("```")[0] for block in page.split("```yaml")[1:])
    found = []
    for number, example in enumerate((whole + documents, embeddings)):
        path = tmp_path / f"example-{number}.yaml"
        path.write_text(example, encoding="utf-8")
        found.append(load_adapter(str(path)))
    assert found[0]["documents"]["document"]["sha256"] == "labels.checksum"
    made = [compile_adapter(one) for one in found]
    assert [(one.columns, one.takes_array) for one in made] == [(("language",), False), ((), True)]
    assert all(f"`{name}`" in page for name in shipped_adapters())
