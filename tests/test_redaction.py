from __future__ import annotations

import base64
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.redaction import MASK, Redactor

KEY = "sk-proj-Ab3/x+Yz09=_q"
QUOTED_KEY = "pa\"ss\\wo/rd&<1>'s"


def echoes(key: str) -> dict[str, str]:
    """Return the forms in which a server or a library may show a key again."""
    escaped = json.dumps(key)[1:-1]
    spaced = f"Bearer {key}".encode()
    return {
        "plain": key,
        "JSON": escaped,
        "JSON of PHP": escaped.replace("/", "\\/"),
        "JSON of .NET": "".join(f"\\u{ord(c):04X}" if c in "+\"&<>'`" else c for c in key.replace("\\", "\\\\")),
        "JSON of Go": "".join(f"\\u{ord(c):04x}" if c in "&<>" else c for c in escaped),
        "URL": quote(key, safe=""),
        "URL path": quote(key),
        "URL in small letters": "".join(f"%{ord(c):02x}" if c in "/+=&\"\\<>'" else c for c in key),
        "HTML": "".join(f"&#{ord(c)};" if c in "+=&<>\"'" else c for c in key),
        "JSON, every letter": "".join(f"\\u{ord(c):04x}" for c in key),
        "HTML, every letter": "".join(f"&#{ord(c)};" for c in key),
        "URL, every letter": "".join(f"%{ord(c):02X}" for c in key),
        "Base64": base64.b64encode(key.encode()).decode(),
        "Base64 without padding": base64.b64encode(key.encode()).decode().rstrip("="),
        "Base64 for URLs": base64.urlsafe_b64encode(key.encode()).decode(),
        "Base64 of the header": base64.b64encode(spaced).decode(),
        "Base64 of a login": base64.b64encode(f"u:{key}".encode()).decode(),
        "Base64 of a longer login": base64.b64encode(f"us:{key}@host".encode()).decode(),
    }


@pytest.mark.parametrize("form", echoes(KEY))
@pytest.mark.parametrize("key", [KEY, QUOTED_KEY])
def test_a_key_is_masked_in_every_form_it_may_come_back_in(key: str, form: str) -> None:
    echo = echoes(key)[form]
    redactor = Redactor([key])
    text = redactor.text(f"before {echo} after")
    assert MASK in text
    assert (text.startswith("before "), text.endswith(" after")) == (True, True)
    # What is left around the mask (the first and last characters of Base64) gives nothing of the key away.
    assert len(text) - len("before  after") - len(MASK) <= len(base64.b64encode(b"Bearer ")) + 8
    assert redactor.body(f"before {echo} after".encode()) == text.encode()


def test_text_without_a_key_stays_as_it_is() -> None:
    redactor = Redactor([KEY])
    body = json.dumps({"text": "nothing of it", "n": 1}).encode()
    assert redactor.body(body) is body
    assert redactor.text(body.decode()) == body.decode()


def test_a_body_with_a_masked_key_is_still_json() -> None:
    body = json.dumps({"error": {"message": f"wrong key: {KEY}.", "also": QUOTED_KEY}})
    assert json.loads(Redactor([KEY, QUOTED_KEY]).body(body.encode())) == {
        "error": {"message": f"wrong key: {MASK}.", "also": MASK}
    }


def test_the_longer_of_two_keys_goes_first() -> None:
    assert Redactor([KEY, f"{KEY}-admin"]).text(f"{KEY}-admin") == MASK


@pytest.mark.parametrize("key", ["none", "EMPTY", "sk-1234", ""])
def test_a_stand_in_for_a_key_is_no_secret(key: str) -> None:
    assert Redactor([key]).text("none of this is EMPTY, sk-1234") == "none of this is EMPTY, sk-1234"


def test_without_secrets_nothing_is_touched() -> None:
    assert Redactor().text(KEY) == KEY
    assert Redactor().body(KEY.encode()) == KEY.encode()


printable = st.text(alphabet=string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=80)


around = st.text(alphabet=string.ascii_letters + " .:,", max_size=20)


@given(key=printable, before=around, after=around)
def test_no_key_survives_in_json_text_or_url(key: str, before: str, after: str) -> None:
    redactor = Redactor([key])
    # A text that holds the mask's own letters may spell a key by chance.
    if key in MASK or key in before + after or key in f"{before}{MASK}{after}":
        return
    for shown in (f"{before}{key}{after}", f"{before}{quote(key, safe='')}{after}"):
        masked = redactor.text(shown)
        assert key not in masked
        assert quote(key, safe="") not in masked
    answer = redactor.body(json.dumps({"message": f"{before}{key}{after}"}).encode())
    assert key not in str(json.loads(answer)["message"])


@given(key=printable, lead=st.binary(max_size=9), tail=st.binary(max_size=9))
def test_no_whole_key_can_be_decoded_out_of_base64(key: str, lead: bytes, tail: bytes) -> None:
    encoded = base64.b64encode(lead + key.encode() + tail).decode()
    masked = Redactor([key]).text(encoded)
    assert masked != encoded
    left = masked.partition(MASK)[0] + masked.rpartition(MASK)[2]
    assert len(left) <= len(encoded) - len(key)
