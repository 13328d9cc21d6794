"""The filters that put files into requests: what they give, what they refuse, what they note."""

from __future__ import annotations

import tracemalloc
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest

from runner.endpoints import compile_template
from runner.errors import TemplateError
from runner.pipeline.requests import attachments as module
from runner.pipeline.requests.attachments import MOST_ROW_BYTES, Attachments, untouched
from runner.pipeline.requests.localfiles import LocalFile, content_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PICTURE = b"\x89PNG picture"
ENCODED = b64encode(PICTURE).decode()


@pytest.fixture
def files(tmp_path: Path) -> Attachments:
    for name in ("a.png", "b.JPEG", "sound.wav", "plain", "x.tar.gz", "data.xyz", "doc.pdf"):
        (tmp_path / name).write_bytes(PICTURE)
    (tmp_path / "empty.png").touch()
    (tmp_path / "doc.txt").write_bytes("\ufeffGrüße {{ not }} rendered".encode())
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    return Attachments(tmp_path.resolve())


def render(files: Attachments, template: str, **values: Any) -> Any:
    return compile_template(template, "request.messages", files.reading).render(values)


def digests(files: Attachments, template: Any, **values: Any) -> bytes:
    compiled = compile_template(template, "request.messages", files.noting)
    return files.digests_by(compiled.render)(values)


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [
        ("{{ v | data_url }}", "a.png", f"data:image/png;base64,{ENCODED}"),
        ("{{ v | data_url }}", "b.JPEG", f"data:image/jpeg;base64,{ENCODED}"),
        ("{{ v | data_url }}", "doc.pdf", f"data:application/pdf;base64,{ENCODED}"),
        ("{{ v | data_url }}", "empty.png", "data:image/png;base64,"),
        ("{{ v | data_url('image/webp') }}", "a.png", f"data:image/webp;base64,{ENCODED}"),
        ("{{ v | data_url('image/webp') }}", "plain", f"data:image/webp;base64,{ENCODED}"),
        ("{{ v | data_url(media_type='a/b;c=d') }}", "plain", f"data:a/b;c=d;base64,{ENCODED}"),
        ("{{ v | base64 }}", "sound.wav", ENCODED),
        ("{{ v | base64 }}", "plain", ENCODED),
        ("{{ v | file_text }}", "doc.txt", "Grüße {{ not }} rendered"),
        ("<{{ v | file_text | upper }}>", "doc.txt", "<GRÜSSE {{ NOT }} RENDERED>"),
        ("{{ ('a' ~ v) | base64 }}", ".png", ENCODED),
        ("{% filter base64 %}{{ v }}{% endfilter %}", "plain", ENCODED),
        ("{{ [v, v] | map('base64') | join(' ') }}", "plain", f"{ENCODED} {ENCODED}"),
        ("{% if v %}{{ v | base64 }}{% else %}no picture{% endif %}", None, "no picture"),
        *((f"{{{{ v | {name} }}}}", url, url) for name in ("data_url", "base64") for url in (
            "https://example.org/a.png", "HTTP://example.org/a", "data:image/png;base64,AAAA", "data:,")),
    ],
)  # fmt: skip
def test_what_the_filters_give(files: Attachments, template: str, value: Any, text: str) -> None:
    assert render(files, template, v=value) == text


@pytest.mark.parametrize(
    ("template", "value", "reason"),
    [
        ("{{ v | data_url }}", "missing.png", r"'missing\.png' does not exist"),
        ("{{ v | base64 }}", "../a.png", "lies outside"),
        ("{{ v | file_text }}", "/etc/passwd", "lies outside"),
        ("{{ v | data_url }}", "plain", "its suffix does not say"),
        ("{{ v | data_url }}", "data.xyz", "its suffix does not say"),
        ("{{ v | data_url }}", "x.tar.gz", "its suffix does not say"),
        ("{{ v | data_url(m) }}", "a.png", "is no media type"),
        ("{{ v | data_url('') }}", "a.png", "is no media type"),
        ("{{ v | data_url('image') }}", "a.png", "is no media type"),
        ("{{ v | data_url('image/png,<b>') }}", "a.png", "is no media type"),
        ("{{ v | data_url('image/png;base64,AAAA') }}", "a.png", "is no media type"),
        ("{{ v | data_url('image/png\n') }}", "a.png", "is no media type"),
        ("{{ v | data_url(7) }}", "a.png", "is no media type"),
        ("{{ v | file_text }}", "latin.txt", r"is no UTF-8 text \(byte 2\)"),
        ("{{ v | file_text }}", "https://example.org/doc.txt", "file_text reads files only"),
        ("{{ v | data_url }}", None, "found null"),
        ("{{ v | data_url }}", 7, "found int '7'"),
        ("{{ v | base64 }}", ["a.png"], "found list"),
        ("{{ nothing | data_url }}", "a.png", "'nothing' is undefined"),
        ("{{ v.deep.er | base64 }}", {}, "has no attribute 'deep'"),
        ("{{ v | data_url(1, 2, 3) }}", "a.png", "the template failed"),
    ],
)
def test_what_the_filters_refuse_names_the_key_and_the_reason(
    files: Attachments, template: str, value: Any, reason: str
) -> None:
    for filters in (files.reading, files.noting):
        compiled = compile_template(template, "request.messages", filters)
        with pytest.raises(TemplateError, match=rf"^request\.messages: .*{reason}"):
            compiled.render({"v": value, "m": "text/html,<script>"})


def test_a_hostile_name_is_shown_short_and_inert(files: Attachments) -> None:
    with pytest.raises(TemplateError) as caught:
        render(files, "{{ v | base64 }}", v="\x1b[2J\n" + "x" * 5000)
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_without_a_folder_urls_pass_and_files_do_not() -> None:
    files = Attachments(None, "a dataset that came by standard input lies in no folder")
    assert render(files, "{{ v | data_url }}", v="https://example.org/a.png") == "https://example.org/a.png"
    with pytest.raises(TemplateError, match="standard input lies in no folder"):
        render(files, "{{ v | data_url }}", v="a.png")
    with pytest.raises(TemplateError, match="standard input lies in no folder"):
        digests(files, "{{ v | data_url }}", v="a.png")


def test_a_constant_name_is_read_for_each_row_and_not_when_the_template_is_compiled(
    files: Attachments, tmp_path: Path
) -> None:
    (tmp_path / "late.png").write_bytes(b"early")
    template = compile_template("{{ 'late.png' | data_url }}", "t", files.reading)
    (tmp_path / "late.png").unlink()
    assert template.filtered
    assert not template.constant
    with pytest.raises(TemplateError, match="does not exist"):
        template.render({})
    (tmp_path / "late.png").write_bytes(PICTURE)
    assert template.render({}) == f"data:image/png;base64,{ENCODED}"


@pytest.mark.parametrize(
    "text", ["{{ v }}", "Q: {{ v }}", "{{ v | upper }}", "decode base64: {{ v }}", "{{ data_url }}", "{# x | base64 #}"]
)
def test_a_template_without_them_is_what_it_was(files: Attachments, text: str) -> None:
    plain, given = compile_template(text, "t"), compile_template(text, "t", files.reading)
    assert (plain.columns, plain.certain, plain.filtered) == (given.columns, given.certain, given.filtered)
    assert not given.filtered
    row = {"v": "a", "data_url": "b"}
    assert given.render(row) == plain.render(row)


def test_filters_are_found_deep_in_a_body_and_only_where_they_were_given(files: Attachments) -> None:
    body = {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "{{ v | data_url }}"}}]}]}
    assert compile_template(body, "request", files.reading).filtered
    with pytest.raises(TemplateError, match="data_url"):
        compile_template(body, "request")


def test_a_name_put_together_does_not_reach_the_filters(files: Attachments) -> None:
    with pytest.raises(TemplateError):
        render(files, "{{ [v] | map('data' ~ '_url') | join }}", v="a.png")


def test_untouched_filters_look_at_nothing() -> None:
    template = compile_template("{{ v | data_url('image/png') }}{{ v | file_text }}{{ w | base64 }}", "t", untouched())
    template.render({"v": "no/such.file", "w": ""})
    with pytest.raises(TemplateError, match="'w' is undefined"):
        template.render({"v": "no/such.file"})


# ---------------------------------------------------------------- digests


def test_digests_are_those_of_all_files_used_in_their_order(files: Attachments, tmp_path: Path) -> None:
    (tmp_path / "other.png").write_bytes(b"other")
    template = [{"a": "{{ a | data_url }}"}, "{% for v in more %}{{ v | base64 }}{% endfor %}", "{{ t | file_text }}"]
    found = digests(files, template, a="a.png", more=["other.png", "a.png", "https://example.org/x"], t="doc.txt")
    text = (tmp_path / "doc.txt").read_bytes()
    assert found == b"".join(map(content_digest, [PICTURE, b"other", PICTURE, text]))
    assert digests(files, template, a="https://example.org/a", more=[], t="doc.txt") == content_digest(text)


def test_what_a_template_leaves_out_is_not_looked_for(files: Attachments) -> None:
    assert digests(files, "{% if v %}{{ v | base64 }}{% endif %}", v="") == b""


def test_a_decision_by_a_files_text_is_followed(files: Attachments, tmp_path: Path) -> None:
    template = "{% if 'picture' in (t | file_text) %}{{ v | base64 }}{% endif %}"
    (tmp_path / "t.txt").write_text("no")
    assert len(digests(files, template, t="t.txt", v="missing.png")) == 16
    (tmp_path / "t.txt").write_text("picture")
    with pytest.raises(TemplateError, match="does not exist"):
        digests(files, template, t="t.txt", v="missing.png")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    real: Callable[[LocalFile], bytes] = LocalFile.digest

    def counting(file: LocalFile) -> bytes:
        sizes.append(file.size_bytes)
        return real(file)

    monkeypatch.setattr(LocalFile, "digest", counting)
    return sizes


def test_a_picture_of_many_rows_is_hashed_once(files: Attachments, hashed: list[int], tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("a.png")
    compiled = files.digests_by(compile_template("{{ v | data_url }}", "t", files.noting).render)
    found = {compiled({"v": name}) for name in ("a.png", "./a.png", "link.png", "a.png")}
    assert found == {content_digest(PICTURE)}
    assert hashed == [len(PICTURE)]
    (tmp_path / "a.png").write_bytes(b"changed")
    assert compiled({"v": "a.png"}) == content_digest(b"changed")


def test_only_so_many_digests_are_remembered(
    files: Attachments, hashed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(b"%d" % number)
        digests(files, "{{ v | data_url }}", v=f"{number}.png")
    assert len(files._digests) == 3
    digests(files, "{{ v | data_url }}", v="9.png")
    assert len(hashed) == 10


def test_all_files_of_a_request_have_a_limit_together_and_the_next_row_starts_anew(
    files: Attachments, tmp_path: Path
) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MOST_ROW_BYTES // 4)
    template = "{% for _ in range(count) %}{{ v | data_url }}{% endfor %}"
    for _ in range(2):
        assert len(digests(files, template, v="large.png", count=4)) == 64
    with pytest.raises(TemplateError, match="64 MiB are the most for all files of a request"):
        digests(files, template, v="large.png", count=5)
    (tmp_path / "large.txt").write_bytes(b"x" * (MOST_ROW_BYTES // 4))
    with pytest.raises(TemplateError, match="64 MiB are the most"):
        digests(files, "{% for _ in range(9) %}{{ v | file_text | first }}{% endfor %}", v="large.txt")


def test_noting_a_large_file_does_not_hold_it(files: Attachments, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(16 << 20))
    compiled = files.digests_by(compile_template("{{ v | data_url }}", "t", files.noting).render)
    tracemalloc.start()
    try:
        compiled({"v": "large.png"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_a_file_of_the_largest_size_fits_into_a_text(files: Attachments, tmp_path: Path) -> None:
    content = bytes(range(256)) * (20 << 12)
    (tmp_path / "large.png").write_bytes(content)
    text = render(files, "{{ v | data_url }}", v="large.png")
    assert b64decode(text.partition(",")[2]) == content
